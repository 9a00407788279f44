//! A member's disk: the real log on a file system in memory. Writes queue; a sync takes time.

use std::path::Path;

use fastrand::Rng;
use raftery_fs::MemFs;
use raftery_raft::{Entry, HardState, LogId, MemberId, PersistBatch, PersistSeq, Recovered};
use raftery_wal::{Wal, WalError, WalIdentity, WalOptions};

use crate::Syncs;

const DIRECTORY: &str = "wal";
/// Small, so that runs go through several.
const OPTIONS: WalOptions = WalOptions {
    segment_bytes: 64 << 10,
};

/// What a crash did to what wasn't synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// There was nothing.
    Nothing,
    /// Every unsynced byte is gone.
    All,
    /// Sectors were kept, lost or mangled by chance.
    Some,
}

/// The files, and while the member lives the log that is open on them.
#[derive(Debug)]
pub(crate) struct Disk {
    fs: MemFs,
    wal: Option<Wal<MemFs>>,
    queue: Vec<PersistBatch>,
    /// The highest batch of the sync that is under way.
    syncing: Option<PersistSeq>,
    syncs: Syncs,
}

impl Disk {
    /// A disk with a log that holds `first`, durably.
    pub(crate) fn create(
        seed: u64,
        id: MemberId,
        first: &Recovered,
        syncs: Syncs,
    ) -> Result<Self, WalError> {
        let fs = MemFs::new(seed);
        let identity = WalIdentity {
            cluster_id: 1,
            lineage: 1,
            member_id: id,
        };
        let Recovered {
            hard_state,
            entries,
            ..
        } = first;
        let path = Path::new(DIRECTORY);
        drop(Wal::create(
            fs.clone(),
            path,
            identity,
            OPTIONS,
            LogId::default(),
            entries,
            *hard_state,
        )?);
        Ok(Self {
            fs,
            wal: None,
            queue: Vec::new(),
            syncing: None,
            syncs,
        })
    }

    /// The member starts: what is there.
    pub(crate) fn open(&mut self) -> Result<Recovered, WalError> {
        let opened = Wal::open(self.fs.clone(), Path::new(DIRECTORY), OPTIONS)?;
        let (wal, recovered) = opened.ok_or(WalError::Failed)?;
        self.wal = Some(wal);
        let (hard_state, entries): (HardState, Vec<Entry>) =
            (recovered.hard_state, recovered.entries);
        Ok(Recovered {
            hard_state,
            entries,
            ..Recovered::default()
        })
    }

    pub(crate) fn queue(&mut self, batch: PersistBatch) {
        self.queue.push(batch);
    }

    /// Writes what has queued and begins a sync, unless one is under way or nothing has.
    pub(crate) fn begin_sync(&mut self) -> Result<bool, WalError> {
        let Some(wal) = &mut self.wal else {
            return Ok(false);
        };
        if self.syncing.is_some() || self.queue.is_empty() {
            return Ok(false);
        }
        for batch in self.queue.drain(..) {
            wal.append(&batch)?;
            self.syncing = Some(batch.seq);
        }
        Ok(true)
    }

    /// The sync is done: the highest batch that is durable.
    pub(crate) fn end_sync(&mut self) -> Result<Option<PersistSeq>, WalError> {
        let (Some(wal), Some(seq)) = (&mut self.wal, self.syncing.take()) else {
            return Ok(None);
        };
        match self.syncs {
            Syncs::Done => wal.sync(),
            Syncs::TakenOut => Ok(Some(seq)),
        }
    }

    /// After a burst.
    pub(crate) fn seal(&mut self) -> Result<(), WalError> {
        match &mut self.wal {
            Some(wal) if self.syncing.is_none() && self.syncs == Syncs::Done => wal.seal(),
            _ => Ok(()),
        }
    }

    /// The member dies, and its machine with it.
    pub(crate) fn crash(&mut self, rng: &mut Rng) -> Loss {
        let had_unsynced = self.syncing.take().is_some();
        self.queue.clear();
        self.wal = None;
        // Without syncs a torn write is no different from a whole one: all goes.
        let loses_all = rng.bool() || self.syncs == Syncs::TakenOut;
        if loses_all {
            self.fs.crash_losing_all();
        } else {
            self.fs.crash_at_random(rng);
        }
        match (had_unsynced, loses_all) {
            (false, _) => Loss::Nothing,
            (true, true) => Loss::All,
            (true, false) => Loss::Some,
        }
    }
}
