//! A story of known states on a disk in memory.
#![allow(dead_code, reason = "each test uses its part")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::ops::RangeInclusive;
use std::path::Path;

use bytes::Bytes;
use raftery_fs::MemFs;
use raftery_store::{
    AppliedId, Blob, DeleteRangeOp, KeyRange, Opened, PutOp, Rewrite, RewriteNeeds, Snapshot,
    SnapshotError, SnapshotReceiver, Store, StoreIoError, StoreOptions, TxnOp, TxnRequestOp,
    WriteOp,
};

pub(crate) type MemStore = Store<MemFs>;

/// Small, so that a few entries fill a segment.
pub(crate) const OPTIONS: StoreOptions = StoreOptions {
    segment_bytes: 10 << 10,
    live_percent_min: 50,
    held_bytes_max: 32 << 10,
};

pub(crate) fn dir() -> &'static Path {
    Path::new("/data/store")
}

pub(crate) fn at(index: u64) -> AppliedId {
    AppliedId {
        term: 1 + index / 50,
        index,
    }
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Write(WriteOp),
    /// Something that isn't the store's, with what it changed there.
    Note(Option<Bytes>),
    /// The next blob; the oldest of more than [`BLOBS_MAX`] goes.
    Blob,
}

/// The state besides the keys: all notes so far, each ended by a newline.
pub(crate) type Notes = Vec<u8>;

/// What a blob leaves in the notes.
const BLOB_NOTE: &[u8] = b"blob\n";
/// So many blobs are kept.
const BLOBS_MAX: u64 = 3;

/// Numbers of the blobs that a state with these notes keeps.
fn blobs_of(notes: &Notes) -> RangeInclusive<u64> {
    let lines = notes.split_inclusive(|byte| *byte == b'\n');
    let newest = lines.filter(|line| *line == BLOB_NOTE).count() as u64;
    1 + newest.saturating_sub(BLOBS_MAX)..=newest
}

/// What a blob says; their lengths differ.
fn blob_bytes(number: u64) -> Vec<u8> {
    let length = 100 + number % 5 * 100;
    number
        .to_le_bytes()
        .into_iter()
        .cycle()
        .take(usize::try_from(length).unwrap())
        .collect()
}

/// What can be told apart from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) applied: AppliedId,
    pub(crate) hash: u64,
    pub(crate) logical_bytes: u64,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
    pub(crate) notes: Notes,
    pub(crate) blobs: Vec<(u64, Bytes)>,
}

/// A store with the rest of the state beside it.
pub(crate) struct Node {
    pub(crate) store: MemStore,
    pub(crate) notes: Notes,
}

pub(crate) fn create(fs: &MemFs) -> Result<Node, StoreIoError> {
    Ok(Node {
        store: Store::create(fs.clone(), dir(), OPTIONS, Bytes::new())?,
        notes: Notes::new(),
    })
}

pub(crate) fn open(fs: &MemFs) -> Result<Option<Node>, StoreIoError> {
    let opened = Store::open(fs.clone(), dir(), OPTIONS)?;
    Ok(opened.map(|(store, opened)| Node::new(store, &opened)))
}

/// Opens a store that must be there and sound.
pub(crate) fn reopen(fs: &MemFs) -> Node {
    open(fs)
        .expect("the store is sound")
        .expect("the store is there")
}

impl Node {
    pub(crate) fn new(store: MemStore, opened: &Opened) -> Self {
        assert_eq!(store.applied(), opened.applied);
        let mut notes = opened.checkpoint.to_vec();
        for (_, note) in &opened.later {
            notes.extend_from_slice(note);
        }
        let mut node = Self { store, notes };
        node.drop_blobs();
        node
    }

    fn drop_blobs(&mut self) {
        self.store.drop_blobs_before(*blobs_of(&self.notes).start());
    }

    pub(crate) fn next(&self) -> AppliedId {
        at(self.store.applied().index + 1)
    }

    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), StoreIoError> {
        let next = self.next();
        match entry {
            Entry::Write(op) => drop(self.store.apply(next, op)?),
            Entry::Note(note) => {
                self.store.note(next, note.as_deref(), None)?;
                self.notes
                    .extend_from_slice(note.as_deref().unwrap_or_default());
            }
            Entry::Blob => {
                let number = blobs_of(&self.notes).end() + 1;
                let bytes = blob_bytes(number);
                let blob = Blob {
                    number,
                    bytes: &bytes,
                };
                self.store.note(next, Some(BLOB_NOTE), Some(blob))?;
                self.notes.extend_from_slice(BLOB_NOTE);
                self.drop_blobs();
            }
        }
        Ok(())
    }

    pub(crate) fn state(&self) -> State {
        let kept = blobs_of(&self.notes);
        assert!(self.store.blob(kept.start() - 1).is_none());
        assert!(self.store.blob(kept.end() + 1).is_none());
        let blob = |number| {
            let blob = self.store.blob(number);
            let blob = blob.expect("a blob is there until it is dropped");
            (number, blob.read().unwrap())
        };
        let blobs: Vec<_> = kept.map(blob).collect();
        for (number, bytes) in &blobs {
            assert_eq!(*bytes, blob_bytes(*number));
        }
        State {
            blobs,
            applied: self.store.applied(),
            hash: self.store.hash().unwrap(),
            logical_bytes: self.store.logical_bytes(),
            revision: self.store.revision(),
            compact_revision: self.store.compact_revision(),
            notes: self.notes.clone(),
        }
    }

    /// Makes all that was applied durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreIoError> {
        self.store.flush()?;
        let synced = self.store.sync_point().run()?;
        self.store.on_synced(synced);
        Ok(())
    }

    /// Does the next rewrite, if one is worth it.
    pub(crate) fn rewrite(&mut self) -> Result<bool, StoreIoError> {
        while self.store.sweep() {}
        let Some(mut rewrite) = self.store.next_rewrite() else {
            return Ok(false);
        };
        while let Some(needs) = rewrite.step()? {
            self.serve(&mut rewrite, needs)?;
        }
        Ok(true)
    }

    pub(crate) fn serve(
        &mut self,
        rewrite: &mut Rewrite<MemFs>,
        needs: RewriteNeeds,
    ) -> Result<(), StoreIoError> {
        match needs {
            RewriteNeeds::Judge => self.store.judge(rewrite),
            RewriteNeeds::Switch => self.store.switch(rewrite)?,
        }
        Ok(())
    }

    /// Takes the state of `snapshot` over.
    pub(crate) fn install(&mut self, snapshot: &Snapshot<MemFs>) -> Result<(), SnapshotError> {
        let mut receiver = self.store.receive_snapshot()?;
        send(snapshot, &mut receiver)?;
        let received = receiver.finish()?;
        let (opened, retired) = self.store.install(received)?;
        assert_eq!(opened.later, []);
        self.notes = opened.checkpoint.to_vec();
        self.drop_blobs();
        retired.remove()?;
        Ok(())
    }

    pub(crate) fn snapshot(&mut self) -> Result<Snapshot<MemFs>, StoreIoError> {
        let notes = Bytes::from(self.notes.clone());
        self.store.snapshot(notes)
    }

    pub(crate) fn checkpoint(&mut self) -> Result<(), StoreIoError> {
        let notes = Bytes::from(self.notes.clone());
        let done = self.store.checkpoint(notes)?.run()?;
        self.store.on_checkpointed(done);
        Ok(())
    }
}

/// Sends what the receiver hasn't got.
pub(crate) fn send(
    snapshot: &Snapshot<MemFs>,
    receiver: &mut SnapshotReceiver<MemFs>,
) -> Result<(), SnapshotError> {
    loop {
        let chunk = snapshot.read_chunk(receiver.received(), 3_000)?;
        if chunk.bytes.is_empty() {
            return Ok(());
        }
        receiver.write(&chunk)?;
    }
}

pub(crate) fn put(key: &str, value: impl Into<Bytes>) -> WriteOp {
    WriteOp::Put(put_op(key, value))
}

pub(crate) fn put_op(key: &str, value: impl Into<Bytes>) -> PutOp {
    PutOp {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.into(),
        ..PutOp::default()
    }
}

pub(crate) fn delete(key: &str) -> WriteOp {
    WriteOp::DeleteRange(delete_op(key))
}

pub(crate) fn delete_op(key: &str) -> DeleteRangeOp {
    DeleteRangeOp {
        range: KeyRange::Key(Bytes::copy_from_slice(key.as_bytes())),
        prev_kv: false,
    }
}

/// Draws entries over few keys, so that they meet, with values that tell them apart.
pub(crate) struct Draw {
    pub(crate) rng: fastrand::Rng,
    count: u64,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            count: 0,
        }
    }

    fn key(&mut self) -> String {
        format!("key{}", self.rng.u8(..14))
    }

    fn value(&mut self) -> Bytes {
        let bytes = match self.rng.u8(..10) {
            0 => 2_000,
            1..4 => 500,
            _ => 40,
        };
        let mut value = self.count.to_le_bytes().to_vec();
        value.resize(self.rng.usize(8..bytes), b'v');
        Bytes::from(value)
    }

    /// `revision`: the newest one.
    pub(crate) fn entry(&mut self, revision: i64) -> Entry {
        self.count += 1;
        match self.rng.u8(..21) {
            0..11 => {
                let key = self.key();
                Entry::Write(put(&key, self.value()))
            }
            11..14 => Entry::Write(delete(&self.key())),
            14..17 => {
                let (first, second) = (self.key(), self.key());
                let success = vec![
                    TxnRequestOp::DeleteRange(delete_op(&first)),
                    TxnRequestOp::Put(put_op(&second, self.value())),
                    TxnRequestOp::Put(put_op("txn", self.value())),
                ];
                Entry::Write(WriteOp::Txn(TxnOp {
                    success,
                    ..TxnOp::default()
                }))
            }
            17 => Entry::Write(WriteOp::Compact {
                revision: (revision - self.rng.i64(-1..8)).max(0),
            }),
            18 => Entry::Note(None),
            19 => Entry::Blob,
            _ => Entry::Note(Some(Bytes::from(format!("note {}\n", self.count)))),
        }
    }
}
