//! A log of known contents on a disk in memory.
#![allow(dead_code, reason = "each test uses its part")]

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use raftery_fs::MemFs;
use raftery_raft::{
    ConfChange, Entry, HardState, LogId, LogIndex, MemberId, Payload, PersistBatch, PersistSeq,
    Term,
};
use raftery_wal::{Recovered, Wal, WalError, WalIdentity, WalOptions};

pub(crate) const IDENTITY: WalIdentity = WalIdentity {
    cluster_id: 0xc1,
    lineage: 0x11,
    member_id: MemberId(7),
};
/// The smallest, so that a few batches fill one.
pub(crate) const OPTIONS: WalOptions = WalOptions {
    segment_bytes: 16 << 10,
};

pub(crate) fn dir() -> &'static Path {
    Path::new("/data/wal")
}

pub(crate) fn segment(number: u64) -> PathBuf {
    dir().join(format!("{number:016x}.wal"))
}

pub(crate) fn hard_state(term: u64, commit: u64) -> HardState {
    HardState {
        term: Term(term),
        vote: Some(MemberId(term)),
        commit: LogIndex(commit),
    }
}

pub(crate) fn entry(term: u64, index: u64, payload: Payload) -> Entry {
    Entry {
        id: LogId {
            term: Term(term),
            index: LogIndex(index),
        },
        payload,
    }
}

/// `len` bytes that differ from index to index and from term to term.
pub(crate) fn data(term: u64, index: u64, len: usize) -> Entry {
    let byte = u8::try_from((term * 31 + index * 7) % 251).unwrap() + 1;
    entry(term, index, Payload::Data(Bytes::from(vec![byte; len])))
}

pub(crate) fn founding() -> Vec<Entry> {
    let members = vec![(MemberId(7), Bytes::from_static(b"a=http://127.0.0.1:2380"))];
    vec![entry(
        0,
        1,
        Payload::ConfChange(ConfChange::Found { members }),
    )]
}

pub(crate) fn batch(seq: u64, hard_state: HardState, entries: Vec<Entry>) -> PersistBatch {
    PersistBatch {
        seq: PersistSeq(seq),
        hard_state,
        base: None,
        entries,
    }
}

pub(crate) fn create(fs: &MemFs) -> Result<Wal<MemFs>, WalError> {
    Wal::create(
        fs.clone(),
        dir(),
        IDENTITY,
        OPTIONS,
        LogId::default(),
        &founding(),
        HardState::default(),
    )
}

pub(crate) fn open(fs: &MemFs) -> Result<Option<(Wal<MemFs>, Recovered)>, WalError> {
    Wal::open(fs.clone(), dir(), OPTIONS)
}

/// Opens a log that must be there and sound.
pub(crate) fn reopen(fs: &MemFs) -> (Wal<MemFs>, Recovered) {
    open(fs)
        .expect("the log is sound")
        .expect("the log is there")
}

/// What a log should hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Model {
    pub(crate) hard_state: HardState,
    pub(crate) base: LogId,
    pub(crate) entries: Vec<Entry>,
}

impl Model {
    pub(crate) fn founded() -> Self {
        Self {
            hard_state: HardState::default(),
            base: LogId::default(),
            entries: founding(),
        }
    }

    #[must_use]
    pub(crate) fn with(&self, batch: &PersistBatch) -> Self {
        let mut model = self.clone();
        model.hard_state = batch.hard_state;
        if let Some(base) = batch.base {
            model.base = base;
            model.entries.clear();
        }
        if let Some(first) = batch.entries.first() {
            let kept = first.id.index.0 - model.base.index.0 - 1;
            model.entries.truncate(usize::try_from(kept).unwrap());
            model.entries.extend(batch.entries.iter().cloned());
        }
        model
    }

    pub(crate) fn last(&self) -> LogId {
        self.entries.last().map_or(self.base, |entry| entry.id)
    }

    /// The same log behind a later base, which is in it.
    #[must_use]
    pub(crate) fn behind(&self, base: LogId) -> Self {
        let mut model = self.clone();
        if base != self.base {
            let at = self.entries.iter().position(|entry| entry.id == base);
            let at = at.unwrap_or_else(|| panic!("{base} isn't in the log"));
            model.entries.drain(..=at);
            model.base = base;
        }
        model
    }
}

impl From<&Recovered> for Model {
    fn from(recovered: &Recovered) -> Self {
        Self {
            hard_state: recovered.hard_state,
            base: recovered.base,
            entries: recovered.entries.clone(),
        }
    }
}

/// One step of a story.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append(PersistBatch),
    Sync,
    Seal,
}

/// Small and large batches, empty ones, several to a sync, overwritten suffixes, seals, a batch
/// larger than a segment, and enough of all to fill several segments.
pub(crate) fn story() -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut last, mut term) = (1, 1);
    for seq in 1..=36_u64 {
        let mut first = last + 1;
        if seq % 9 == 0 {
            // A new leader replaces the last entries.
            term += 1;
            first -= 2;
        }
        let count = seq % 4;
        let len = |index: u64| match seq {
            20 => 9_000,
            _ => usize::try_from((index * 131) % 700).unwrap(),
        };
        let entries: Vec<_> = (first..first + count)
            .map(|index| data(term, index, len(index)))
            .collect();
        let entries = if seq == 20 {
            vec![data(term, first, 20_000)]
        } else {
            entries
        };
        last = entries.last().map_or(last, |entry| entry.id.index.0);
        steps.push(Step::Append(batch(
            seq,
            hard_state(term, last - 1),
            entries,
        )));
        if seq % 3 != 1 {
            steps.push(Step::Sync);
        }
        if seq % 6 == 2 {
            steps.push(Step::Seal);
        }
    }
    steps.push(Step::Seal);
    steps
}

/// What a run of the story has promised and written.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// What the log holds after the founding, and after each batch that was handed over.
    pub(crate) models: Vec<Model>,
    /// How many of them are acknowledged.
    pub(crate) acknowledged: usize,
}

/// Lets the story happen until it ends or the disk does.
pub(crate) fn run(fs: &MemFs, steps: &[Step]) -> Run {
    let mut run = Run {
        models: vec![Model::founded()],
        acknowledged: 0,
    };
    let Ok(mut wal) = create(fs) else { return run };
    run.acknowledged = 1;
    for step in steps {
        match step {
            Step::Append(batch) => {
                run.models.push(run.models.last().unwrap().with(batch));
                if wal.append(batch).is_err() {
                    return run;
                }
            }
            Step::Sync => match wal.sync() {
                // The founding is the model before the first batch.
                Ok(Some(seq)) => run.acknowledged = usize::try_from(seq.0).unwrap() + 1,
                Ok(None) => {}
                Err(_) => return run,
            },
            Step::Seal => {
                if wal.seal().is_err() {
                    return run;
                }
                run.acknowledged = run.models.len();
            }
        }
    }
    run
}

/// Bytes that changed in the first segment while `change` ran.
pub(crate) fn written(fs: &MemFs, change: impl FnOnce()) -> Range<usize> {
    let before = fs.contents(&segment(1));
    change();
    let after = fs.contents(&segment(1));
    let differs = |at: &usize| before[*at] != after[*at];
    let first = (0..after.len()).find(differs).unwrap();
    first..(0..after.len()).rfind(differs).unwrap() + 1
}
