//! What segments become: released, recycled, prepared.
//!
//! Each release is a rename of its own, synced before the next: whatever a crash does to names,
//! the segments that are left have numbers without a gap. A file gets its next life only after
//! that sync, so no segment's name ever leads to another one's contents.

use std::mem;

use raftery_fs::Fs;
use raftery_raft::LogIndex;

use super::{Housekeeping, Spare, Wal};
use crate::WalError;
use crate::prepare::{Plan, Preparation, discard, remove_if_there};
use crate::segment::{file_name, recycled_name};

/// Released segments kept for their next life; those beyond are removed.
const RECYCLED_MAX: usize = 2;

impl<F: Fs> Wal<F> {
    /// Releases the segments that hold nothing above `up_to`, which must be committed and in the
    /// log: recovery will start behind them. What was appended before is synced first.
    ///
    /// # Errors
    /// What the file system refuses, except for want of space: then some are left for
    /// [`Wal::housekeep`].
    pub fn cut(&mut self, up_to: LogIndex) -> Result<(), WalError> {
        self.plan_cut(up_to);
        self.guarded(|wal| {
            while let Some(number) = wal.kept.releasable(wal.cut_to) {
                match wal.release(number) {
                    Err(error) if error.is_out_of_space() => break,
                    done => done?,
                }
            }
            Ok(())
        })
    }

    /// Like [`Wal::cut`], but leaves the work to [`Wal::housekeep`].
    pub(crate) fn plan_cut(&mut self, up_to: LogIndex) {
        self.cut_to = self.cut_to.max(up_to);
    }

    /// Whether a segment is to be released, or the next one isn't ready.
    pub fn wants_housekeeping(&self) -> bool {
        let is_ready = matches!(self.spare, Spare::Ready(_));
        !is_ready || self.kept.releasable(self.cut_to).is_some()
    }

    /// One small step, at most two syncs: releases a segment, or prepares a little of the next
    /// one. To be called while nothing else waits.
    ///
    /// # Errors
    /// What the file system refuses, except for want of space.
    pub fn housekeep(&mut self) -> Result<Housekeeping, WalError> {
        self.guarded(|wal| {
            if !wal.wants_housekeeping() {
                return Ok(Housekeeping::Done);
            }
            let step = match wal.kept.releasable(wal.cut_to) {
                Some(number) => wal.release(number),
                None => wal.prepare(),
            };
            match step {
                Err(error) if error.is_out_of_space() => {
                    discard(&wal.fs, &wal.dir)?;
                    Ok(Housekeeping::OutOfSpace(error))
                }
                Err(error) => Err(error),
                Ok(()) if wal.wants_housekeeping() => Ok(Housekeeping::More),
                Ok(()) => Ok(Housekeeping::Done),
            }
        })
    }

    /// Takes the lowest segment out of the log. The seal or the reset that makes it useless is
    /// durable first.
    fn release(&mut self, number: u64) -> Result<(), WalError> {
        self.sync_segment()?;
        let path = self.dir.join(file_name(number));
        let is_recycled = self.recycled.len() < RECYCLED_MAX;
        if is_recycled {
            self.fs
                .rename(&path, &self.dir.join(recycled_name(number)))
                .map_err(WalError::io("rename", &path))?;
        } else {
            self.fs
                .remove_file(&path)
                .map_err(WalError::io("remove", &path))?;
        }
        self.fs
            .sync_dir(&self.dir)
            .map_err(WalError::sync(&self.dir))?;
        self.kept.pop();
        if is_recycled {
            self.recycled.push(number);
        }
        Ok(())
    }

    /// Prepares a little of the next segment.
    fn prepare(&mut self) -> Result<(), WalError> {
        let mut preparation = match mem::replace(&mut self.spare, Spare::None) {
            Spare::Preparing(preparation) => preparation,
            Spare::None | Spare::Ready(_) => self.start_next(self.options.segment_bytes)?,
        };
        self.spare = if preparation.is_zeroed() {
            Spare::Ready(preparation.finish(&self.fs, &self.dir)?)
        } else {
            preparation.step()?;
            Spare::Preparing(preparation)
        };
        Ok(())
    }

    /// Begins the segment behind this one, with a released file if one has the length.
    pub(super) fn start_next(&mut self, bytes: u64) -> Result<Preparation<F>, WalError> {
        let plan = Plan {
            identity: self.segment.identity,
            number: self.segment.number + 1,
            bytes,
        };
        while bytes == self.options.segment_bytes {
            let Some(old) = self.recycled.pop() else {
                break;
            };
            if let Some(preparation) = Preparation::recycle(&self.fs, &self.dir, plan, old)? {
                return Ok(preparation);
            }
            remove_if_there(&self.fs, &self.dir.join(recycled_name(old)))?;
        }
        Preparation::start(&self.fs, &self.dir, plan)
    }
}
