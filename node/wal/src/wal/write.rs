//! How frames get into segments.

use std::mem;

use raftery_defects::{Defect, is_on};
use raftery_fs::{Fs, FsFile};
use raftery_raft::{Entry, HardState, LogId};

use super::{SECTOR_BYTES, Spare, Wal};
use crate::WalError;
use crate::entry::encoded_len;
use crate::frame::{
    Encoder, HEADER_BYTES, Kind, PAYLOAD_BYTES_MAX, STATE_FRAME_BYTES, State, frame_bytes,
};
use crate::replay::follows;
use crate::segment::{DATA_START, SEGMENT_MULTIPLE};

/// Frames that wait for one write at most, and memory that is kept for the next.
const BUFFER_BYTES_MAX: usize = 1 << 20;
const PAGE: usize = SEGMENT_MULTIPLE as usize;

impl<F: Fs> Wal<F> {
    pub(super) fn guarded<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<T, WalError>,
    ) -> Result<T, WalError> {
        if self.has_failed {
            return Err(WalError::Failed);
        }
        let result = call(self);
        self.has_failed = result.is_err();
        result
    }

    /// Writes a unit that Raft handed over. Entries of a leader, or of a snapshot, that reach
    /// what a repair is waiting for end it; older ones that are still there prove nothing, since
    /// a snapshot may have replaced later ones of a higher term.
    pub(super) fn write_batch(
        &mut self,
        hard_state: HardState,
        base: Option<LogId>,
        entries: &[Entry],
    ) -> Result<(), WalError> {
        let reached = entries.last().map(|entry| entry.id).or(base);
        if self
            .repair_until
            .is_some_and(|until| reached >= Some(until))
        {
            self.repair_until = None;
        }
        self.write_unit(hard_state, base, entries)
    }

    pub(super) fn write_unit(
        &mut self,
        hard_state: HardState,
        base: Option<LogId>,
        entries: &[Entry],
    ) -> Result<(), WalError> {
        let begins = base.unwrap_or(self.base);
        let ended = base.unwrap_or(self.last);
        if let Some(first) = entries
            .first()
            .filter(|first| first.id.index <= begins.index)
        {
            return Err(WalError::NotContiguous {
                index: first.id.index,
                last: begins.index,
            });
        }
        let last = follows(ended.index, entries)?.unwrap_or(ended);
        let mut bytes = STATE_FRAME_BYTES;
        for entry in entries {
            let len = encoded_len(entry);
            if len > PAYLOAD_BYTES_MAX {
                let (index, bytes_max) = (entry.id.index, PAYLOAD_BYTES_MAX as u64);
                return Err(WalError::EntryTooLarge {
                    index,
                    bytes: len as u64,
                    bytes_max,
                });
            }
            bytes += frame_bytes(len);
        }
        self.make_room(bytes)?;
        self.hard_state = hard_state;
        self.base = begins;
        self.last = last;
        let count = u32::try_from(entries.len()).expect("a batch of 4 billion entries");
        let mut state = self.state(count);
        let kind = match base {
            Some(base) => {
                state.base = base;
                self.kept.reset();
                Kind::Reset
            }
            None => Kind::Batch,
        };
        self.write(state.watermark, |frames| {
            frames.state(kind, &state);
            for entry in entries {
                frames.entry(entry);
            }
        });
        self.last_batch = self.last_sequence;
        Ok(())
    }

    pub(super) fn state(&self, entries: u32) -> State {
        State {
            hard_state: self.hard_state,
            watermark: if is_on(Defect::VouchForUnsynced) {
                self.next_sequence - 1
            } else {
                self.durable
            },
            last: self.last,
            repair_until: self.repair_until,
            base: LogId::default(),
            entries,
        }
    }

    /// Puts frames behind the last one.
    pub(super) fn write(&mut self, watermark: u64, frames: impl FnOnce(&mut Encoder<'_>)) {
        let mut encoder = Encoder {
            buffer: &mut self.buffer,
            salt: self.segment.salt,
            offset: self.page,
            sequence: self.next_sequence,
        };
        frames(&mut encoder);
        self.next_sequence = encoder.sequence;
        self.last_sequence = self.next_sequence - 1;
        self.offset = self.page + self.buffer.len() as u64;
        self.vouched = watermark;
    }

    /// Gives the file what it doesn't have yet, in one piece.
    pub(super) fn flush(&mut self) -> Result<(), WalError> {
        if self.flushed == self.offset {
            return Ok(());
        }
        self.fill_page();
        self.segment
            .file
            .write_at(self.page, &self.buffer)
            .map_err(WalError::io("write", &self.segment.path))?;
        self.is_dirty = true;
        self.keep_last_page();
        Ok(())
    }

    /// Whole pages are written, the rest of the last one as zeros: what goes past the system's
    /// cache has to be whole blocks, and in the cache a part of a recycled file's old page could
    /// only be changed once that was read.
    fn fill_page(&mut self) {
        self.buffer
            .resize(self.buffer.len().next_multiple_of(PAGE), 0);
    }

    /// All is written; what stands in the last page will be written again with what follows it.
    fn keep_last_page(&mut self) {
        self.flushed = self.offset;
        let page = page_of(self.offset);
        let place = |at: u64| usize::try_from(at - self.page).expect("it is in memory");
        let (from, to) = (place(page), place(self.offset));
        self.buffer.copy_within(from..to, 0);
        self.buffer.truncate(to - from);
        self.buffer.shrink_to(BUFFER_BYTES_MAX);
        self.page = page;
    }

    pub(super) fn flush_if_large(&mut self) -> Result<(), WalError> {
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Sees to it that `bytes` and an end frame fit behind `offset`, in the next segment if
    /// need be.
    pub(super) fn make_room(&mut self, bytes: u64) -> Result<(), WalError> {
        let ends = STATE_FRAME_BYTES;
        let start = if self.offset == DATA_START {
            STATE_FRAME_BYTES
        } else {
            0
        };
        if self.offset + start + bytes + ends > self.segment.bytes {
            self.next_segment(DATA_START + STATE_FRAME_BYTES + bytes + ends)?;
        }
        if self.offset == DATA_START {
            let state = self.state(0);
            self.write(state.watermark, |frames| frames.state(Kind::Seal, &state));
            self.kept.push(self.segment.number, self.last);
        }
        Ok(())
    }

    /// Ends this segment and goes on in the next one, which has at least `bytes`. The successor
    /// exists durably before the end says so, and all before it is durable before the successor
    /// gets a frame: a torn tail is always in the last segment.
    fn next_segment(&mut self, bytes: u64) -> Result<(), WalError> {
        let next = match mem::replace(&mut self.spare, Spare::None) {
            Spare::Ready(segment) if segment.bytes >= bytes => segment,
            Spare::Preparing(preparation) if preparation.bytes() >= bytes => {
                preparation.finish(&self.fs, &self.dir)?
            }
            // Too small ones are replaced.
            Spare::None | Spare::Ready(_) | Spare::Preparing(_) => {
                let bytes = bytes.next_multiple_of(SEGMENT_MULTIPLE);
                self.start_next(bytes.max(self.options.segment_bytes))?
                    .finish(&self.fs, &self.dir)?
            }
        };
        let state = self.state(0);
        self.write(state.watermark, |frames| frames.state(Kind::End, &state));
        self.sync_segment()?;
        self.segment = next;
        self.buffer.clear();
        self.offset = DATA_START;
        self.page = DATA_START;
        self.flushed = DATA_START;
        Ok(())
    }

    /// Mostly all that a sync has to cover fits one write, which is durable when it returns.
    pub(super) fn sync_segment(&mut self) -> Result<(), WalError> {
        if self.durable == self.last_sequence {
            return Ok(());
        }
        if self.is_dirty {
            self.flush()?;
            self.segment.file.sync_data()
        } else {
            self.fill_page();
            self.segment.file.write_and_sync_at(self.page, &self.buffer)
        }
        .map_err(WalError::sync(&self.segment.path))?;
        self.is_dirty = false;
        self.keep_last_page();
        self.durable = self.last_sequence;
        self.covered = self.vouched;
        self.acknowledged = self.appended;
        Ok(())
    }
}

/// Where the page of `offset` begins.
pub(super) fn page_of(offset: u64) -> u64 {
    offset - offset % SEGMENT_MULTIPLE
}

/// Bytes from `offset` to a sector's beginning: 0, or enough for a frame.
pub(super) fn pad_bytes(offset: u64) -> usize {
    let gap = offset.next_multiple_of(SECTOR_BYTES) - offset;
    let gap = if (1..HEADER_BYTES as u64).contains(&gap) {
        gap + SECTOR_BYTES
    } else {
        gap
    };
    usize::try_from(gap).expect("at most two sectors")
}

#[cfg(test)]
mod write_test;
