//! A member's disk: the real log on a file system in memory. Writes queue; a sync takes time.

use std::path::{Path, PathBuf};

use fastrand::Rng;
use raftery_fs::{Fs, MemFs};
use raftery_raft::{
    Entry, HardState, Instant, LogId, LogIndex, MemberId, PersistBatch, PersistSeq, Recovered,
};
use raftery_store::StoreIoError;
use raftery_wal::{Wal, WalError, WalIdentity, WalOptions};

use crate::machine::Machine;
use crate::shadow::{Contents, REBASE, Shadow};

const DIRECTORY: &str = "wal";
/// Small, so that runs go through several.
const OPTIONS: WalOptions = WalOptions {
    segment_bytes: 32 << 10,
};
const SECTOR_BYTES: usize = 512;

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

/// What went wrong with files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error(transparent)]
    Wal(#[from] WalError),
    #[error(transparent)]
    Store(#[from] StoreIoError),
    #[error("the log begins behind {base}, the state machine is at {applied} only")]
    StateBehindLog { base: LogId, applied: LogId },
}

impl DiskError {
    /// Whether the file system refused something, rather than that files are damaged.
    pub(crate) fn is_io(&self) -> bool {
        match self {
            Self::Wal(error) => matches!(error, WalError::Io { .. } | WalError::Sync { .. }),
            Self::Store(error) => {
                matches!(error, StoreIoError::Io { .. } | StoreIoError::Sync { .. })
            }
            Self::StateBehindLog { .. } => false,
        }
    }
}

/// What a start found.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) machine: Machine,
    pub(crate) recovered: Recovered,
    /// Whether the log is what was acknowledged.
    pub(crate) verdict: Result<(), String>,
    pub(crate) is_repaired: bool,
    pub(crate) is_rebased: bool,
}

/// The files, and while the member lives the log that is open on them.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Whose it is.
    pub(crate) id: MemberId,
    fs: MemFs,
    wal: Option<Wal<MemFs>>,
    queue: Vec<PersistBatch>,
    /// The highest batch of the sync that is under way.
    syncing: Option<PersistSeq>,
    /// What it promised.
    pub(crate) shadow: Shadow,
    /// Until then every sync takes long.
    pub(crate) slow_until: Instant,
    /// It was told to fail: the next error is the end of the process, and no surprise.
    is_doomed: bool,
    /// Durable bytes were damaged in the last crash.
    pub(crate) is_rotten: bool,
    /// The log is being repaired: the leader has to bring something back.
    pub(crate) is_repairing: bool,
    /// Everything that was acknowledged had been sealed when the last crash came: damage to it
    /// has to be noticed.
    was_sealed: bool,
}

impl Disk {
    /// A disk with a log that holds `first`, durably.
    pub(crate) fn create(seed: u64, id: MemberId, first: &Recovered) -> Result<Self, DiskError> {
        let fs = MemFs::new(seed);
        Machine::create(&fs)?;
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
        let mut shadow = Shadow::default();
        shadow.durable = contents(*hard_state, LogId::default(), entries);
        Ok(Self {
            id,
            fs,
            wal: None,
            queue: Vec::new(),
            syncing: None,
            shadow,
            slow_until: Instant::default(),
            is_doomed: false,
            is_rotten: false,
            is_repairing: false,
            was_sealed: false,
        })
    }

    /// The member starts: what is there. As the server does it.
    pub(crate) fn open(&mut self) -> Result<Started, DiskError> {
        let path = Path::new(DIRECTORY);
        let opened = match Wal::open(self.fs.clone(), path, OPTIONS) {
            Err(WalError::Repairable(_)) if self.is_rotten => {
                let repaired = Wal::begin_repair(self.fs.clone(), path, OPTIONS)?;
                Some((repaired, true))
            }
            opened => opened?.map(|opened| (opened, false)),
        };
        let ((mut wal, found), is_repaired) = opened.ok_or(WalError::Failed)?;
        let contents = contents(found.hard_state, found.base, &found.entries);
        let mut verdict = if is_repaired {
            self.shadow.repair(contents, found.repair_until)
        } else if self.is_rotten {
            // A crash came right behind an earlier repair, or only a seal was damaged.
            self.shadow.repair(contents, wal.repair_until())
        } else {
            self.shadow.recover(contents)
        };
        let machine = Machine::open(&self.fs)?;
        let applied = machine.applied();
        if applied.index < self.shadow.applied.index {
            let promised = self.shadow.applied;
            verdict = Err(format!(
                "the state machine is at {applied}, durable was {promised}"
            ));
        }
        self.shadow.applied = applied;
        let (found, is_rebased) = self.fit(&mut wal, found, applied)?;
        let repair_until = wal.repair_until();
        self.is_rotten = false;
        self.is_repairing = repair_until.is_some();
        self.wal = Some(wal);
        let recovered = Recovered {
            hard_state: found.hard_state,
            base: found.base,
            entries: found.entries,
            applied: applied.index,
            membership: machine.membership.clone(),
            repair_until,
        };
        Ok(Started {
            machine,
            recovered,
            verdict,
            is_repaired,
            is_rebased,
        })
    }

    /// Makes the log begin behind what is applied, if it doesn't reach there.
    fn fit(
        &mut self,
        wal: &mut Wal<MemFs>,
        recovered: raftery_wal::Recovered,
        applied: LogId,
    ) -> Result<(raftery_wal::Recovered, bool), DiskError> {
        let base = recovered.base;
        if applied.index < base.index {
            return Err(DiskError::StateBehindLog { base, applied });
        }
        let found = recovered.hard_state;
        if contents(found, base, &recovered.entries).holds(applied) {
            return Ok((recovered, false));
        }
        let hard_state = HardState {
            term: found.term.max(applied.term),
            vote: found.vote.filter(|_| found.term >= applied.term),
            commit: found.commit.max(applied.index),
        };
        self.shadow.rebase(applied, hard_state);
        wal.rebase(applied, hard_state)?;
        self.shadow.acknowledge(REBASE);
        let recovered = raftery_wal::Recovered {
            hard_state,
            base: applied,
            entries: Vec::new(),
            ..recovered
        };
        Ok((recovered, true))
    }

    /// The log isn't needed up to `up_to`.
    pub(crate) fn cut(&mut self, up_to: LogIndex) -> Result<(), WalError> {
        self.shadow.cut_to = self.shadow.cut_to.max(up_to);
        match &mut self.wal {
            Some(wal) => wal.cut(up_to),
            None => Ok(()),
        }
    }

    pub(crate) fn queue(&mut self, batch: PersistBatch) {
        self.shadow.queue(&batch);
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
        let Some(wal) = &mut self.wal else {
            return Ok(None);
        };
        self.syncing = None;
        let seq = wal.sync()?;
        if let Some(seq) = seq {
            self.shadow.acknowledge(seq);
        }
        Ok(seq)
    }

    /// The process will die before one of its next operations on files, or some time after.
    pub(crate) fn die_within(&mut self, operations: u64) {
        self.is_doomed = true;
        self.fs.stop_at(Some(self.fs.operations() + operations));
    }

    /// The next sync of a file will fail.
    pub(crate) fn fail_next_sync(&mut self) {
        self.is_doomed = true;
        self.fs.fail_next_sync();
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.is_doomed
    }

    /// After a burst.
    pub(crate) fn seal(&mut self) -> Result<(), WalError> {
        match &mut self.wal {
            Some(wal) if self.syncing.is_none() => wal.seal(),
            _ => Ok(()),
        }
    }

    /// Whether damage to anything acknowledged would be noticed.
    pub(crate) fn is_sealed(&self) -> bool {
        let is_sealed = |wal: &Wal<MemFs>| !wal.needs_seal();
        self.wal.as_ref().is_some_and(is_sealed) && self.syncing.is_none() && !self.is_doomed
    }

    /// The member dies, and its machine with it.
    pub(crate) fn crash(&mut self, rng: &mut Rng, loses_all: bool) -> Loss {
        self.was_sealed = self.is_sealed();
        let had_unsynced = self.syncing.take().is_some();
        self.wal = None;
        self.queue.clear();
        self.is_doomed = false;
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

    /// Damages a sector that was durable, if what it held has to be missed. Gives whether it did.
    pub(crate) fn rot(&mut self, rng: &mut Rng) -> bool {
        if !self.was_sealed {
            return false;
        }
        let Some((path, bytes)) = self.some_segment(rng) else {
            return false;
        };
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        // Now and then the header: without the newest one's nobody knows where the log ended.
        let sector = if rng.u8(0..4) == 0 {
            0
        } else {
            rng.usize(0..used.div_ceil(SECTOR_BYTES)) * SECTOR_BYTES
        };
        if rng.bool() {
            let offset = sector + rng.usize(0..SECTOR_BYTES);
            self.fs.flip_bit(&path, offset as u64, rng.u8(0..8));
        } else {
            let mut noise = [0; SECTOR_BYTES];
            rng.fill(&mut noise);
            self.fs.overwrite(&path, sector as u64, &noise);
        }
        self.is_rotten = true;
        true
    }

    fn some_segment(&self, rng: &mut Rng) -> Option<(PathBuf, Vec<u8>)> {
        let dir = Path::new(DIRECTORY);
        let mut names = self.fs.list(dir).ok()?;
        names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "wal"));
        names.sort_unstable();
        let path = dir.join(rng.choice(names)?);
        let bytes = self.fs.contents(&path);
        Some((path, bytes))
    }
}

/// As the shadow keeps it.
fn contents(hard_state: HardState, base: LogId, entries: &[Entry]) -> Contents {
    Contents {
        hard_state,
        base,
        log: entries.iter().map(|entry| entry.id).collect(),
    }
}
