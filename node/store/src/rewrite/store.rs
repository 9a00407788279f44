//! What a rewrite asks of the store: what to rewrite, what of it is needed, and where it is now.

use std::sync::Arc;

use raftery_defects::{Defect, is_on};
use raftery_fs::Fs;

use super::{Input, Move, Output, Rewrite, Stage, Verdict, Window};
use crate::error::StoreIoError;
use crate::history::{Location, Slot};
use crate::key::Key;
use crate::log::{Held, Log};
use crate::record::{Record, Space, record_bytes};
use crate::segment::{DATA_START, SegmentId};
use crate::store::Store;

/// Locations that change under one exclusive borrow.
const MOVES_MAX: usize = 1024;
/// Neighbours of less than this part of a segment are joined.
const SMALL_PART: u64 = 8;

impl<F: Fs> Store<F> {
    /// The next rewrite that is worth it: old segments of which too little is alive, or small
    /// neighbours. One at a time: `None` while there is one, and while [`Store::sweep`] has
    /// something to do, since what it frees needn't be copied.
    pub fn next_rewrite(&mut self) -> Option<Rewrite<F>> {
        let log = &self.log;
        if Arc::strong_count(&log.rewriting) > 1 || self.index.is_sweep_pending() {
            return None;
        }
        let run = self.worth_rewriting()?;
        let input = |slot: &Slot| {
            let held = log.table.get(*slot);
            Input {
                slot: *slot,
                segment: Arc::clone(&held.segment),
                sealed: held.sealed(),
            }
        };
        let inputs: Vec<Input<F>> = log.order[run.clone()].iter().map(input).collect();
        let generations = inputs.iter().map(|input| input.sealed.id.generation);
        let id = SegmentId {
            number: inputs.last()?.sealed.id.number,
            generation: generations.max()? + 1,
        };
        let mut rewrite = Rewrite {
            fs: Arc::clone(&log.fs),
            dir: log.dir.clone(),
            life: log.life,
            is_over: Arc::clone(&log.is_over),
            manifest: Arc::clone(&self.manifest),
            _only_one: Arc::clone(&log.rewriting),
            inputs,
            is_oldest: run.start == 0,
            stage: Stage::Done,
            output: Output {
                id,
                segment: None,
                bytes: DATA_START,
                next_sequence: 1,
                record_bytes: 0,
                buried_bytes: 0,
                moves: Vec::new(),
                slot: None,
            },
        };
        rewrite.stage = Stage::Read(rewrite.beginning(0));
        Some(rewrite)
    }

    /// Places in the order of the log that one rewrite should make a segment of.
    fn worth_rewriting(&self) -> Option<std::ops::Range<usize>> {
        let log = &self.log;
        let held = |at: usize| log.order.get(at).map(|slot| log.table.get(*slot));
        let listed = |at: usize| held(at).filter(|held| held.segment.id.number < log.listed_before);
        let is_dying = |at: usize| {
            listed(at).is_some_and(|held| {
                let weight = weight(held);
                needed(held, at == 0) * 100 < weight * self.options.live_percent_min
            })
        };
        let small_bytes = log.segment_bytes / SMALL_PART;
        let is_small = |at: usize| listed(at).is_some_and(|held| held.bytes < small_bytes);
        let start =
            (0..log.order.len()).find(|at| is_dying(*at) || (is_small(*at) && is_small(at + 1)))?;
        let mut end = start;
        let mut bytes = 0;
        while is_dying(end) || is_small(end) {
            bytes += listed(end).map_or(0, |held| needed(held, end == 0));
            if end > start && bytes > log.segment_bytes {
                break;
            }
            end += 1;
        }
        Some(start..end)
    }

    /// Tells which of the records that were read are still named.
    pub fn judge(&self, rewrite: &mut Rewrite<F>) {
        let is_oldest = rewrite.is_oldest;
        let is_over = rewrite.life != self.log.life;
        if let Stage::Judge(window, _) = &mut rewrite.stage {
            if is_over {
                rewrite.stage = Stage::Done;
            } else {
                self.judge_window(window, is_oldest);
            }
        }
    }

    fn judge_window(&self, window: &mut Window, is_oldest: bool) {
        for candidate in &mut window.records {
            let at = usize::try_from(candidate.offset - window.start).expect("in the window");
            let record = Record::parse(&window.data[at..]);
            let (record, _) = record.expect("it was parsed when the window was read");
            let location = Location::new(window.slot, candidate.offset);
            let (key, write) = match record.space {
                Space::Keys => self.index.find(record.key, record.revision).unzip(),
                Space::Blobs => (None, self.blobs.find(record.key)),
            };
            candidate.verdict = match write.filter(|write| write.location == location) {
                Some(_) => Verdict::Live {
                    space: record.space,
                    key: key.map_or_else(|| Key::from(record.key), Key::clone),
                    revision: record.revision,
                    is_tombstone: record.put.is_none(),
                },
                None if record.put.is_none() && !is_oldest && !is_on(Defect::DropTombstone) => {
                    Verdict::Buries
                }
                None => Verdict::Dead,
            };
        }
    }

    /// Says what must be durable before the old segments may go; later points the index at the
    /// new one, a bounded number of locations at a time.
    ///
    /// # Errors
    /// When the buffer can't be written.
    pub fn switch(&mut self, rewrite: &mut Rewrite<F>) -> Result<(), StoreIoError> {
        if rewrite.life != self.log.life {
            rewrite.stage = Stage::Done;
            return Ok(());
        }
        match rewrite.stage {
            Stage::Copied => {
                // The compactions that let records die may be in the buffer still.
                self.log.flush()?;
                rewrite.stage = Stage::Swap(self.sync_point());
            }
            Stage::Move(synced, moved) => {
                if moved == 0 {
                    self.log.on_synced(synced);
                    self.log.adopt(rewrite);
                }
                let end = rewrite.output.moves.len().min(moved + MOVES_MAX);
                if let Some(slot) = rewrite.output.slot {
                    for change in &rewrite.output.moves[moved..end] {
                        self.relocate(change, slot);
                    }
                }
                rewrite.stage = Stage::Move(synced, end);
                if end == rewrite.output.moves.len() {
                    for input in &rewrite.inputs {
                        self.log.table.remove(input.slot);
                    }
                    rewrite.stage = Stage::Remove;
                }
            }
            Stage::Read(_) | Stage::Judge(..) | Stage::Swap(_) | Stage::Remove | Stage::Done => {}
        }
        Ok(())
    }

    fn relocate(&mut self, change: &Move, slot: Slot) {
        let Move {
            space,
            key,
            revision,
            from,
            to,
            is_tombstone,
        } = change;
        let found = match space {
            Space::Keys => self.index.find_mut(key, *revision),
            Space::Blobs => self.blobs.find_mut(key),
        };
        let Some(write) = found.filter(|write| write.location == *from) else {
            // Compacted, or dropped, meanwhile. A tombstone may bury something older in either segment.
            if *is_tombstone {
                let held = self.log.table.get_mut(slot);
                held.buried_bytes += record_bytes(key.len(), 0) as u64;
            }
            return;
        };
        write.location = Location::new(slot, *to);
        let bytes = write.record_bytes(key);
        self.log.table.get_mut(from.slot).live_bytes -= bytes;
        self.log.table.get_mut(slot).live_bytes += bytes;
    }
}

impl<F: Fs> Log<F> {
    /// Puts the new segment in the place of the old ones, which stay in the table until nothing
    /// names them.
    fn adopt(&mut self, rewrite: &mut Rewrite<F>) {
        let output = &mut rewrite.output;
        output.slot = output.segment.as_ref().map(|segment| {
            self.table.add(Held {
                segment: Arc::clone(segment),
                bytes: output.bytes,
                record_bytes: output.record_bytes,
                live_bytes: 0,
                buried_bytes: output.buried_bytes,
            })
        });
        let old: Vec<Slot> = rewrite.inputs.iter().map(|input| input.slot).collect();
        let first = self.order.iter().position(|slot| Some(slot) == old.first());
        let first = first.expect("only a rewrite takes segments away, and there is one at a time");
        self.order.splice(first..first + old.len(), output.slot);
    }
}

/// What a rewrite could free something of.
fn weight<F: Fs>(held: &Held<F>) -> u64 {
    if held.segment.id.generation == 0 {
        held.bytes - DATA_START
    } else {
        // Its frames are as few as can be.
        held.record_bytes
    }
}

/// What a rewrite would keep.
fn needed<F: Fs>(held: &Held<F>, is_oldest: bool) -> u64 {
    if is_oldest {
        held.live_bytes
    } else {
        held.live_bytes + held.buried_bytes
    }
}
