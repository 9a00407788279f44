//! Going on after damage.
//!
//! A damaged log is never changed. It is renamed as a whole, and a new one takes its place:
//!
//! ```text
//!   wal          ──▶ wal.damaged-1     second; kept for whoever wants to know
//!   wal.repair   ──▶ wal               first made whole and durable, third
//! ```
//!
//! The new log holds the readable part, term and vote of the highest valid header, and in each of
//! its states the entry that the member's log has to reach before it counts again. Where a crash
//! leaves no `wal` but a `wal.repair`, that one is whole, and takes its place at the next start.

use std::path::Path;

use raftery_defects::{Defect, is_on};
use raftery_fs::Fs;
use raftery_raft::{HardState, LogId};

use crate::create::{beside, is_missing, remove};
use crate::recover::{Damaged, parent};
use crate::{Damage, Recovered, WalError};

/// Ending of the name of the new log while it is being made.
pub(crate) const MAKING: &str = ".repair";

impl Damaged {
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

    /// What the new log holds.
    pub(crate) fn into_recovered(self) -> Recovered {
        let ended_at = self.ended_at();
        Recovered {
            identity: self.identity,
            hard_state: self.hard_state(),
            base: self.prefix.base,
            // When only seals were damaged, no entry is missing.
            repair_until: (self.prefix.last != ended_at && !is_on(Defect::ForgetRepair))
                .then_some(ended_at),
            entries: self.prefix.entries,
            torn_tail: None,
        }
    }

    /// The highest valid header knows what was promised last; what was read is no higher. Raft
    /// wants no commit index beyond the entries; the leader will say it again.
    fn hard_state(&self) -> HardState {
        let (read, told) = (self.prefix.hard_state, self.newest.hard_state);
        let (term, vote) = if told.term > read.term {
            (told.term, told.vote)
        } else if told.term == read.term {
            (read.term, told.vote.or(read.vote))
        } else {
            (read.term, read.vote)
        };
        HardState {
            term,
            vote,
            commit: told.commit.max(read.commit).min(self.prefix.last.index),
        }
    }

    /// Where the log ended. An earlier repair may not have come as far as the log once did.
    fn ended_at(&self) -> LogId {
        self.newest
            .repair_until
            .map_or(self.newest.last, |until| until.max(self.newest.last))
    }
}

/// Gives a repaired log its name if a crash came in between; what is left of one that a crash
/// interrupted earlier goes, so that it is never taken for a whole one.
pub(crate) fn finish<F: Fs>(fs: &F, dir: &Path) -> Result<(), WalError> {
    let made = beside(dir, MAKING);
    if is_missing(fs, &made) {
        return Ok(());
    }
    if is_missing(fs, dir) {
        fs.rename(&made, dir)
            .map_err(WalError::io("rename", &made))?;
    } else {
        remove(fs, &made)?;
    }
    let parent = parent(dir);
    fs.sync_dir(parent).map_err(WalError::sync(parent))
}

/// Renames the damaged log, durably, to a name that nothing has. The new one is whole and
/// durable, name included: from here on only it is read.
pub(crate) fn keep_aside<F: Fs>(fs: &F, dir: &Path) -> Result<(), WalError> {
    let parent = parent(dir);
    let made = beside(dir, MAKING);
    for dir in [&made, parent] {
        fs.sync_dir(dir).map_err(WalError::sync(dir))?;
    }
    let aside = (1_u64..)
        .map(|number| beside(dir, &format!(".damaged-{number}")))
        .find(|aside| is_missing(fs, aside))
        .expect("some number is free");
    fs.rename(dir, &aside)
        .map_err(WalError::io("rename", dir))?;
    fs.sync_dir(parent).map_err(WalError::sync(parent))?;
    let (dir, aside) = (dir.display(), aside.display());
    tracing::warn!(%dir, %aside, "the damaged write-ahead log is kept aside");
    Ok(())
}
