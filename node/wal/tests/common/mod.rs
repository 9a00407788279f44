//! A log of known contents on a disk in memory.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use raftery_fs::{Fs, MemFs};
use raftery_raft::{
    ConfChange, Entry, HardState, LogId, LogIndex, MemberId, Payload, PersistBatch, PersistSeq,
    Term,
};
use raftery_wal::{Housekeeping, Recovered, Wal, WalError, WalIdentity, WalOptions};

pub(crate) mod repair;

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

    /// The same log behind a later base, if that is in it.
    pub(crate) fn behind(&self, base: LogId) -> Option<Self> {
        let mut model = self.clone();
        if base != self.base {
            let at = self.entries.iter().position(|entry| entry.id == base)?;
            model.entries.drain(..=at);
            model.base = base;
        }
        Some(model)
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
    /// As the writer's thread does it: the file gets it with the sync.
    Stage(PersistBatch),
    Sync,
    Seal,
    Cut(LogIndex),
    Housekeep,
    Rebase(LogId, HardState),
    /// The process ends and another one goes on.
    Restart,
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
        let len = |index: u64| usize::try_from((index * 131) % 700).unwrap();
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

/// What a long life brings: segments are cut, recycled and prepared ahead, entries are replaced
/// where a segment ends, snapshots replace the log, and the process starts again now and then.
pub(crate) fn long_story() -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut last, mut term, mut seq) = (1, 1, 0);
    for round in 1..=30_u64 {
        seq += 1;
        let mut first = last + 1;
        let mut base = None;
        match round {
            6 | 17 | 23 => {
                // A new leader replaces uncommitted entries.
                term += 1;
                first -= 3;
            }
            11 => {
                // A snapshot is ahead of the log.
                term += 1;
                last += 40;
                base = Some(LogId {
                    term: Term(term),
                    index: LogIndex(last),
                });
                first = last + 1;
            }
            _ => {}
        }
        let entries: Vec<_> = (first..first + 4)
            .map(|index| data(term, index, 300 + usize::try_from(index % 7 * 100).unwrap()))
            .collect();
        let commit = base.map_or(first - 1, |base| base.index.0);
        last = first + 3;
        let mut batch = batch(seq, hard_state(term, commit), entries);
        batch.base = base;
        steps.push(Step::Append(batch));
        if round % 3 != 0 {
            steps.push(Step::Sync);
        }
        if round % 2 == 0 {
            steps.push(Step::Housekeep);
        }
        if round % 5 == 0 {
            steps.push(Step::Seal);
            steps.push(Step::Cut(LogIndex(commit)));
        }
        if round % 8 == 0 {
            steps.push(Step::Seal);
            steps.push(Step::Restart);
            seq = 0;
        }
        if round == 26 {
            last += 10;
            term += 1;
            let base = LogId {
                term: Term(term),
                index: LogIndex(last),
            };
            steps.push(Step::Rebase(base, hard_state(term, last)));
        }
    }
    steps.push(Step::Seal);
    steps
}

/// The same story as the writer's thread writes it: batches that come together are one write, and
/// nobody ends or cuts with some of them unwritten.
pub(crate) fn staged(story: &[Step]) -> Vec<Step> {
    let mut steps = Vec::new();
    for step in story {
        match step {
            Step::Append(batch) => steps.push(Step::Stage(batch.clone())),
            Step::Cut(_) | Step::Restart | Step::Rebase(..) => {
                steps.push(Step::Sync);
                steps.push(step.clone());
            }
            Step::Stage(_) | Step::Sync | Step::Seal | Step::Housekeep => steps.push(step.clone()),
        }
    }
    steps
}

/// What a run of the story has promised and written.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// What the log holds after the founding, and after each batch that was handed over.
    pub(crate) models: Vec<Model>,
    /// How many of them are acknowledged.
    pub(crate) acknowledged: usize,
    /// The highest cut that was asked for.
    pub(crate) cut_to: LogIndex,
    /// What ended it.
    pub(crate) error: Option<WalError>,
}

impl Run {
    /// The number of the last model that these contents are, however much was cut. A later
    /// segment may begin at a lower index than an earlier one, if entries were replaced in that:
    /// then more of the log is seen once the earlier one is gone.
    pub(crate) fn find(&self, found: &Model) -> Option<usize> {
        self.models.iter().rposition(|known| {
            let is_allowed = found.base == known.base || found.base.index <= self.cut_to;
            is_allowed
                && (known.behind(found.base).as_ref() == Some(found)
                    || found.behind(known.base).as_ref() == Some(known))
        })
    }
}

/// Lets the story happen until it ends or the disk does.
pub(crate) fn run(fs: &MemFs, steps: &[Step]) -> Run {
    let mut run = Run::default();
    run.models.push(Model::founded());
    run.error = live(fs, steps, &mut run).err();
    run
}

fn live(fs: &MemFs, steps: &[Step], run: &mut Run) -> Result<(), WalError> {
    let mut wal = create(fs)?;
    run.acknowledged = 1;
    // Models that earlier processes left.
    let mut before = 0;
    for step in steps {
        match step {
            Step::Append(batch) => {
                run.models.push(run.models.last().unwrap().with(batch));
                wal.append(batch)?;
            }
            Step::Stage(batch) => {
                run.models.push(run.models.last().unwrap().with(batch));
                wal.stage(batch)?;
            }
            Step::Sync => {
                // The founding is the model before the first batch.
                if let Some(seq) = wal.sync()? {
                    run.acknowledged = before + usize::try_from(seq.0).unwrap() + 1;
                }
            }
            Step::Seal => {
                wal.seal()?;
                run.acknowledged = run.models.len();
            }
            Step::Cut(up_to) => {
                run.cut_to = run.cut_to.max(*up_to);
                wal.cut(*up_to)?;
            }
            Step::Housekeep => while let Housekeeping::More = wal.housekeep()? {},
            Step::Rebase(base, hard_state) => {
                let mut rebased = batch(0, *hard_state, Vec::new());
                rebased.base = Some(*base);
                run.models.push(run.models.last().unwrap().with(&rebased));
                before += 1;
                wal.rebase(*base, *hard_state)?;
                run.acknowledged = run.models.len();
            }
            Step::Restart => {
                before = run.models.len() - 1;
                drop(wal);
                let opened = Wal::open(fs.clone(), dir(), OPTIONS)?;
                wal = opened.expect("the log is there").0;
            }
        }
    }
    Ok(())
}

pub(crate) fn files(fs: &MemFs) -> BTreeMap<PathBuf, Vec<u8>> {
    files_in(fs, dir())
}

pub(crate) fn files_in(fs: &MemFs, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = fs.list(dir).unwrap();
    names
        .iter()
        .map(|name| (dir.join(name), fs.contents(&dir.join(name))))
        .collect()
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
