//! A store on a disk in memory, for tests that ask about its answers and not about its files.

use std::ops::Deref;
use std::path::Path;

use bytes::Bytes;
use raftery_fs::MemFs;

use crate::*;

/// Small, so that a few entries fill a segment.
pub(crate) const OPTIONS: StoreOptions = StoreOptions {
    segment_bytes: 6 << 10,
    live_percent_min: 50,
    held_bytes_max: 32 << 10,
};

pub(crate) fn dir() -> &'static Path {
    Path::new("/data/store")
}

pub(crate) fn at(index: u64) -> AppliedId {
    AppliedId {
        term: 1 + index / 100,
        index,
    }
}

/// A sound store whose entries are numbered by themselves. What its disk refuses is a failed
/// test.
#[derive(Debug)]
pub(crate) struct Tested {
    pub(crate) fs: MemFs,
    pub(crate) store: Store<MemFs>,
}

impl Deref for Tested {
    type Target = Store<MemFs>;

    fn deref(&self) -> &Store<MemFs> {
        &self.store
    }
}

impl Tested {
    pub(crate) fn new() -> Self {
        let fs = MemFs::new(1);
        let store = Store::create(fs.clone(), dir(), OPTIONS, Bytes::new()).unwrap();
        Self { fs, store }
    }

    pub(crate) fn sync(&mut self) {
        self.store.flush().unwrap();
        let synced = self.store.sync_point().run().unwrap();
        self.store.on_synced(synced);
    }

    pub(crate) fn checkpoint(&mut self) {
        let done = self.store.checkpoint(Bytes::new()).unwrap().run().unwrap();
        self.store.on_checkpointed(done);
    }

    /// Power is lost, and comes back.
    pub(crate) fn crash(&mut self, rng: &mut fastrand::Rng) {
        self.fs.crash_at_random(rng);
        let opened = Store::open(self.fs.clone(), dir(), OPTIONS).unwrap();
        (self.store, _) = opened.expect("the store is there");
    }

    /// One step of a rewrite; whether it goes on.
    pub(crate) fn step(&mut self, rewrite: &mut Rewrite<MemFs>) -> bool {
        match rewrite.step().unwrap() {
            Some(RewriteNeeds::Judge) => self.store.judge(rewrite),
            Some(RewriteNeeds::Switch) => self.store.switch(rewrite).unwrap(),
            None => return false,
        }
        true
    }

    /// Takes a snapshot and goes on from it.
    pub(crate) fn reinstall(&mut self) {
        let snapshot = self.store.snapshot(Bytes::new()).unwrap();
        let mut receiver = self.store.receive_snapshot().unwrap();
        while receiver.received() < snapshot.size() {
            let chunk = snapshot.read_chunk(receiver.received(), 1_000).unwrap();
            receiver.write(&chunk).unwrap();
        }
        let received = receiver.finish().unwrap();
        let (opened, retired) = self.store.install(received).unwrap();
        assert_eq!(opened.applied, snapshot.at());
        retired.remove().unwrap();
    }

    pub(crate) fn apply(&mut self, op: &WriteOp) -> Result<WriteResult, StoreError> {
        let next = at(self.store.applied().index + 1);
        self.store.apply(next, op).unwrap()
    }

    pub(crate) fn range(&self, op: &RangeOp) -> Result<RangeResult, StoreError> {
        refusal(self.store.range(op))
    }

    pub(crate) fn read_txn(&self, op: &TxnOp) -> Result<TxnResult, StoreError> {
        refusal(self.store.read_txn(op))
    }

    pub(crate) fn hash(&self) -> u64 {
        self.store.hash().unwrap()
    }
}

fn refusal<T>(result: Result<T, ReadError>) -> Result<T, StoreError> {
    result.map_err(|error| match error {
        ReadError::Refused(refusal) => refusal,
        ReadError::Io(error) => panic!("{error}"),
    })
}
