//! What the frames add up to.

use raftery_defects::{Defect, is_on};
use raftery_raft::{Entry, HardState, LogId, LogIndex};

use crate::WalError;
use crate::entry::{self, EntryError};
use crate::frame::{Frames, Kind, State};
use crate::segment::DATA_START;

/// The log as far as it was read.
///
/// Invariants:
/// - `entries[i]` has index `i + 1`
/// - `last` is the last of `entries`, or zero
/// - `watermark < next_sequence`
pub(crate) struct Replay {
    pub(crate) hard_state: HardState,
    pub(crate) entries: Vec<Entry>,
    pub(crate) last: LogId,
    /// Number that the next frame must have.
    pub(crate) next_sequence: u64,
    /// Last frame of the last batch.
    pub(crate) last_batch: u64,
    /// Highest frame that a later one vouches for.
    pub(crate) watermark: u64,
}

/// Where reading a segment stopped.
pub(crate) enum Stop {
    /// The log goes on in the next segment.
    End,
    /// There is no valid frame here. Perhaps nothing was ever written, perhaps it is damaged.
    Bad(Bad),
}

/// A frame that is not there, and the unit that it would belong to.
pub(crate) struct Bad {
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
    pub(crate) unit_offset: u64,
    pub(crate) unit_sequence: u64,
}

impl Replay {
    pub(crate) fn new() -> Self {
        Self {
            hard_state: HardState::default(),
            entries: Vec::new(),
            last: LogId::default(),
            next_sequence: 1,
            last_batch: 0,
            watermark: 0,
        }
    }

    /// Takes over every whole unit of a segment, in order.
    pub(crate) fn segment(&mut self, frames: &Frames<'_>) -> Result<Stop, WalError> {
        let mut offset = DATA_START;
        loop {
            let (unit_offset, unit_sequence) = (offset, self.next_sequence);
            let bad = |offset, sequence| Bad {
                offset,
                sequence,
                unit_offset,
                unit_sequence,
            };
            let Some(frame) = frames.at(offset, unit_sequence)? else {
                return Ok(Stop::Bad(bad(offset, unit_sequence)));
            };
            offset = frame.next;
            let mut sequence = unit_sequence + 1;
            match frame.kind {
                Kind::Pad => {}
                Kind::Entry => return Err(malformed(frames, unit_offset, "an entry of no batch")),
                Kind::Batch | Kind::Seal | Kind::End => {
                    let state = State::decode(frame.payload)
                        .filter(|state| state.entries == 0 || frame.kind == Kind::Batch)
                        .ok_or_else(|| malformed(frames, unit_offset, "not a state"))?;
                    let mut entries = Vec::new();
                    for _ in 0..state.entries {
                        let Some(frame) = frames.at(offset, sequence)? else {
                            if is_on(Defect::RecoverHalfBatch) && !entries.is_empty() {
                                self.half_a_unit(&state, entries);
                            }
                            return Ok(Stop::Bad(bad(offset, sequence)));
                        };
                        if frame.kind != Kind::Entry {
                            return Err(malformed(frames, offset, "not an entry of the batch"));
                        }
                        let entry = entry::decode(frame.payload);
                        entries.push(entry.map_err(|error| refused(frames, offset, error))?);
                        offset = frame.next;
                        sequence += 1;
                    }
                    self.unit(&state, entries, unit_sequence)
                        .map_err(|reason| malformed(frames, unit_offset, reason))?;
                    if frame.kind == Kind::Batch {
                        self.last_batch = sequence - 1;
                    }
                    if frame.kind == Kind::End {
                        self.next_sequence = sequence;
                        return Ok(Stop::End);
                    }
                }
            }
            self.next_sequence = sequence;
        }
    }

    /// Takes over what a torn batch has left: a defect.
    fn half_a_unit(&mut self, state: &State, entries: Vec<Entry>) {
        let first = entries[0].id.index;
        self.entries
            .truncate(usize::try_from(first.prev().0).expect("indexes a vector"));
        self.entries.extend(entries);
        self.last = self.entries.last().map_or(self.last, |entry| entry.id);
        let commit = state.hard_state.commit.min(self.last.index);
        self.hard_state = HardState {
            commit,
            ..state.hard_state
        };
    }

    fn unit(&mut self, state: &State, entries: Vec<Entry>, at: u64) -> Result<(), &'static str> {
        if state.watermark >= at {
            return Err("it vouches for itself");
        }
        if let Some(last) = follows(self.last.index, &entries).map_err(|_| "a gap in the log")? {
            let kept = usize::try_from(entries[0].id.index.prev().0).expect("indexes a vector");
            self.entries.truncate(kept);
            self.entries.extend(entries);
            self.last = last;
        }
        if state.last != self.last {
            return Err("the log doesn't end where it says");
        }
        self.hard_state = state.hard_state;
        if is_on(Defect::ForgetVote) {
            self.hard_state.vote = None;
        }
        self.watermark = self.watermark.max(state.watermark);
        Ok(())
    }
}

/// Where the log ends after these entries, if there are any. They must be contiguous, and begin
/// at most one behind `last`.
pub(crate) fn follows(last: LogIndex, entries: &[Entry]) -> Result<Option<LogId>, WalError> {
    let Some(first) = entries.first() else {
        return Ok(None);
    };
    if first.id.index == LogIndex(0) || first.id.index > last.next() {
        return Err(WalError::NotContiguous {
            index: first.id.index,
            last,
        });
    }
    for pair in entries.windows(2) {
        if pair[1].id.index != pair[0].id.index.next() {
            let last = pair[0].id.index;
            return Err(WalError::NotContiguous {
                index: pair[1].id.index,
                last,
            });
        }
    }
    Ok(entries.last().map(|entry| entry.id))
}

fn malformed(frames: &Frames<'_>, offset: u64, reason: &'static str) -> WalError {
    WalError::Malformed {
        file: frames.path.to_path_buf(),
        offset,
        reason,
    }
}

fn refused(frames: &Frames<'_>, offset: u64, error: EntryError) -> WalError {
    let (what, value) = match error {
        EntryError::UnknownVersion(version) => ("entry version", version),
        EntryError::UnknownKind(kind) => ("entry kind", kind),
        EntryError::Malformed => return malformed(frames, offset, "not an entry"),
    };
    let file = frames.path.to_path_buf();
    WalError::Unsupported {
        file,
        offset,
        what,
        value: u32::from(value),
    }
}
