//! What the frames add up to.

use raftery_defects::{Defect, is_on};
use raftery_raft::{Entry, HardState, LogId, LogIndex};

use crate::WalError;
use crate::entry::{self, EntryError};
use crate::frame::{Frames, Kind, State};
use crate::kept::Kept;
use crate::segment::DATA_START;

/// The log as far as it was read.
///
/// Invariants, once the whole log was read and [`Replay::settle`]d:
/// - `entries[i]` has index `base.index + 1 + i`
/// - `last` is the last of `entries`, or `base`
/// - `watermark <= sequence`
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) hard_state: HardState,
    /// What the log begins behind.
    pub(crate) base: LogId,
    pub(crate) entries: Vec<Entry>,
    pub(crate) last: LogId,
    pub(crate) repair_until: Option<LogId>,
    /// Of the last frame; `None` before the first.
    pub(crate) sequence: Option<u64>,
    /// Last frame of the last batch.
    pub(crate) last_batch: u64,
    /// Highest frame that a later one vouches for.
    pub(crate) watermark: u64,
    pub(crate) kept: Kept,
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
    /// Number that it should have at least.
    pub(crate) sequence: u64,
    pub(crate) unit_offset: u64,
    pub(crate) unit_sequence: u64,
}

impl Replay {
    /// Takes over every whole unit of segment `number`, in order.
    pub(crate) fn segment(&mut self, number: u64, frames: &Frames<'_>) -> Result<Stop, WalError> {
        let mut offset = DATA_START;
        loop {
            let unit_offset = offset;
            let expected = self.sequence.map(|sequence| sequence + 1);
            let Some(frame) = frames.at(offset, expected)? else {
                let sequence = expected.unwrap_or(0);
                return Ok(Stop::Bad(Bad {
                    offset,
                    sequence,
                    unit_offset,
                    unit_sequence: sequence,
                }));
            };
            let unit_sequence = frame.sequence;
            offset = frame.next;
            let mut sequence = unit_sequence;
            let malformed = |reason| malformed(frames, unit_offset, reason);
            if unit_offset == DATA_START && frame.kind != Kind::Seal {
                return Err(malformed(
                    "a segment begins with something else than a seal",
                ));
            }
            match frame.kind {
                Kind::Pad => {}
                Kind::Entry => return Err(malformed("an entry of no batch")),
                Kind::Batch | Kind::Reset | Kind::Seal | Kind::End => {
                    let is_batch = matches!(frame.kind, Kind::Batch | Kind::Reset);
                    let state = State::decode(frame.payload)
                        .filter(|state| state.entries == 0 || is_batch)
                        .filter(|state| state.watermark < unit_sequence)
                        .ok_or_else(|| malformed("not a state"))?;
                    if unit_offset == DATA_START {
                        self.begin(number, &state);
                    }
                    let mut entries = Vec::new();
                    for _ in 0..state.entries {
                        sequence += 1;
                        // An opening may have begun to write over a torn batch, so that its
                        // seal stands in an entry's place.
                        let frame = frames.at(offset, Some(sequence))?;
                        let Some(frame) = frame.filter(|frame| frame.sequence == sequence) else {
                            if is_on(Defect::RecoverHalfBatch) && !entries.is_empty() {
                                self.half_a_unit(&state, entries);
                            }
                            return Ok(Stop::Bad(Bad {
                                offset,
                                sequence,
                                unit_offset,
                                unit_sequence,
                            }));
                        };
                        if frame.kind != Kind::Entry {
                            return Err(malformed("not an entry of the batch"));
                        }
                        let entry = entry::decode(frame.payload);
                        entries.push(entry.map_err(|error| refused(frames, offset, error))?);
                        offset = frame.next;
                    }
                    self.unit(frame.kind, &state, entries).map_err(malformed)?;
                    if is_batch {
                        self.last_batch = sequence;
                    }
                    if frame.kind == Kind::End {
                        self.sequence = Some(sequence);
                        return Ok(Stop::End);
                    }
                }
            }
            self.sequence = Some(sequence);
        }
    }

    /// A segment's first frame; that of the lowest says what the log begins behind.
    fn begin(&mut self, number: u64, state: &State) {
        if self.kept.lowest().is_none() {
            self.base = state.last;
            self.last = state.last;
        }
        self.kept.push(number, state.last);
    }

    /// Takes over what a torn batch has left: a defect.
    fn half_a_unit(&mut self, state: &State, entries: Vec<Entry>) {
        self.last = entries.last().map_or(self.last, |entry| entry.id);
        self.replace(entries);
        let commit = state.hard_state.commit.min(self.last.index);
        self.hard_state = HardState {
            commit,
            ..state.hard_state
        };
    }

    fn unit(&mut self, kind: Kind, state: &State, entries: Vec<Entry>) -> Result<(), &'static str> {
        if kind == Kind::Reset {
            self.base = state.base;
            self.last = state.base;
            self.entries.clear();
            self.kept.reset();
        }
        if let Some(last) = follows(self.last.index, &entries).map_err(|_| "a gap in the log")? {
            self.replace(entries);
            self.last = last;
        }
        if state.last != self.last {
            return Err("the log doesn't end where it says");
        }
        self.hard_state = state.hard_state;
        self.repair_until = state.repair_until;
        if is_on(Defect::ForgetVote) {
            self.hard_state.vote = None;
        }
        self.watermark = self.watermark.max(state.watermark);
        Ok(())
    }

    /// Takes over entries that follow the log or replace its end. The base may be what a seal
    /// called the end of the log before these entries replaced it: a cut only knows that the
    /// index is committed, and leaves the segment that has the replacement.
    fn replace(&mut self, entries: Vec<Entry>) {
        let behind_base = |index: LogIndex| index.0.checked_sub(self.base.index.0 + 1);
        let kept = behind_base(entries[0].id.index).unwrap_or(0);
        self.entries
            .truncate(usize::try_from(kept).expect("indexes a vector"));
        for entry in entries {
            if entry.id.index == self.base.index {
                self.base = entry.id;
            }
            if entry.id.index > self.base.index {
                self.entries.push(entry);
            }
        }
    }

    /// The end is reached. A log that ends before its base has lost what was written behind
    /// that, without a trace: it is empty, and whoever knows more has to say so.
    pub(crate) fn settle(&mut self) {
        if self.last.index < self.base.index {
            self.base = self.last;
            self.entries.clear();
        }
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
