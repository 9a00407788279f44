//! How frames get into segments.

use std::mem;

use raftery_defects::{Defect, is_on};
use raftery_fs::{Fs, FsFile};
use raftery_raft::{Entry, HardState};

use super::{SECTOR_BYTES, Spare, Wal};
use crate::WalError;
use crate::entry::encoded_len;
use crate::frame::{
    Encoder, HEADER_BYTES, Kind, PAYLOAD_BYTES_MAX, STATE_FRAME_BYTES, State, frame_bytes,
};
use crate::replay::follows;
use crate::segment::{DATA_START, Preparation, SEGMENT_MULTIPLE};

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

    pub(super) fn write_batch(
        &mut self,
        hard_state: HardState,
        entries: &[Entry],
    ) -> Result<(), WalError> {
        let last = follows(self.last.index, entries)?.unwrap_or(self.last);
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
        self.last = last;
        let count = u32::try_from(entries.len()).expect("a batch of 4 billion entries");
        let state = self.state(count);
        self.write(state.watermark, |frames| {
            frames.state(Kind::Batch, &state);
            for entry in entries {
                frames.entry(entry);
            }
        })?;
        self.last_batch = self.next_sequence - 1;
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
            entries,
        }
    }

    /// Writes frames behind the last one, in one piece.
    pub(super) fn write(
        &mut self,
        watermark: u64,
        frames: impl FnOnce(&mut Encoder<'_>),
    ) -> Result<(), WalError> {
        let Self {
            buffer,
            segment,
            offset,
            next_sequence,
            ..
        } = self;
        let mut encoder = Encoder::new(buffer, segment.salt, *offset, *next_sequence);
        frames(&mut encoder);
        *next_sequence = encoder.next_sequence();
        segment
            .file
            .write_at(*offset, buffer)
            .map_err(WalError::io("write", &segment.path))?;
        *offset += buffer.len() as u64;
        self.vouched = watermark;
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
            self.write(state.watermark, |frames| frames.state(Kind::Seal, &state))?;
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
        self.write(state.watermark, |frames| frames.state(Kind::End, &state))?;
        self.sync_segment()?;
        self.segment = next;
        self.offset = DATA_START;
        Ok(())
    }

    pub(super) fn start_next(&self, bytes: u64) -> Result<Preparation<F>, WalError> {
        let number = self.segment.number + 1;
        Preparation::start(&self.fs, &self.dir, self.segment.identity, number, bytes)
    }

    pub(super) fn sync_segment(&mut self) -> Result<(), WalError> {
        if self.durable + 1 < self.next_sequence {
            self.segment
                .file
                .sync_data()
                .map_err(WalError::sync(&self.segment.path))?;
            self.durable = self.next_sequence - 1;
            self.covered = self.vouched;
            self.acknowledged = self.appended;
        }
        Ok(())
    }
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
