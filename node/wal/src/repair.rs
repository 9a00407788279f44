//! Going on after damage.
//!
//! A damaged log is never changed. It is renamed as a whole, and a new one takes its place:
//!
//! ```text
//!   wal.repair.tmp ──▶ wal.repair       once it is whole and durable
//!   wal            ──▶ wal.damaged-1    kept for whoever wants to know
//!   wal.repair     ──▶ wal
//! ```
//!
//! The new log holds the readable part, term and vote of the highest valid header, and in each of
//! its states the entry that the member's log has to reach before it counts again. Where a crash
//! leaves no `wal` but a `wal.repair`, that one takes its place at the next start.

use std::path::Path;

use raftery_defects::{Defect, is_on};
use raftery_fs::Fs;
use raftery_raft::{HardState, LogId};

use crate::create::{Making, beside, is_missing, remove};
use crate::recover::{Damaged, parent};
use crate::segment::Segment;
use crate::{Damage, Recovered, WalError};

/// Ending of the name of the new log while it is being made.
pub(crate) const MAKING: &str = ".repair.tmp";
/// And once it is whole.
const READY: &str = ".repair";

impl<F: Fs> Damaged<F> {
    pub(crate) fn into_damage(self) -> Damage {
        Damage {
            hard_state: self.hard_state(),
            identity: self.identity,
            base: self.prefix.base,
            last: self.prefix.last,
            repair_until: self.ended_at(),
            cause: self.cause,
        }
    }

    /// What the new log holds, and the old one's lock.
    pub(crate) fn into_recovered(self) -> (Recovered, Option<Segment<F>>) {
        let ended_at = self.ended_at();
        let recovered = Recovered {
            identity: self.identity,
            hard_state: self.hard_state(),
            base: self.prefix.base,
            // When only seals were damaged, no entry is missing.
            repair_until: (self.prefix.last != ended_at && !is_on(Defect::ForgetRepair))
                .then_some(ended_at),
            entries: self.prefix.entries,
            torn_tail: None,
        };
        (recovered, self.lock)
    }

    /// The highest valid header knows what was promised last; what was read is no higher. Its
    /// commit index is about a log that isn't there: what is unreadable may have replaced the end
    /// of what was read, so only what was committed then is known to be. The leader will say
    /// the rest again.
    fn hard_state(&self) -> HardState {
        let (read, told) = (self.prefix.hard_state, self.newest.hard_state);
        let (term, vote) = if is_on(Defect::ForgetVoteOfDamaged) {
            (read.term, read.vote)
        } else if told.term > read.term {
            (told.term, told.vote)
        } else if told.term == read.term {
            (read.term, told.vote.or(read.vote))
        } else {
            (read.term, read.vote)
        };
        HardState {
            term,
            vote,
            commit: read.commit.min(self.prefix.last.index),
        }
    }

    /// Where the log ended. An earlier repair may not have come as far as the log once did.
    fn ended_at(&self) -> LogId {
        self.newest
            .repair_until
            .map_or(self.newest.last, |until| until.max(self.newest.last))
    }
}

/// Removes what an attempt left that was interrupted before the damaged log was renamed.
pub(crate) fn clear<F: Fs>(fs: &F, dir: &Path) -> Result<(), WalError> {
    remove(fs, &beside(dir, READY))
}

/// Puts the log that was made in the place of the damaged one, which goes to a name that nothing
/// has.
pub(crate) fn swap<F: Fs>(fs: &F, dir: &Path, made: Making) -> Result<(), WalError> {
    made.finish(fs, &beside(dir, READY))?;
    let aside = (1_u64..)
        .map(|number| beside(dir, &format!(".damaged-{number}")))
        .find(|aside| is_missing(fs, aside))
        .expect("some number is free");
    fs.rename(dir, &aside)
        .map_err(WalError::io("rename", dir))?;
    let parent = parent(dir);
    fs.sync_dir(parent).map_err(WalError::sync(parent))?;
    finish(fs, dir)?;
    let (dir, aside) = (dir.display(), aside.display());
    tracing::warn!(%dir, %aside, "the damaged write-ahead log is kept aside");
    Ok(())
}

/// Gives the new log the name of the damaged one, which is gone; also where a crash came in
/// between.
pub(crate) fn finish<F: Fs>(fs: &F, dir: &Path) -> Result<(), WalError> {
    let ready = beside(dir, READY);
    if is_missing(fs, dir) && !is_missing(fs, &ready) {
        fs.rename(&ready, dir)
            .map_err(WalError::io("rename", &ready))?;
        let parent = parent(dir);
        fs.sync_dir(parent).map_err(WalError::sync(parent))?;
    }
    Ok(())
}
