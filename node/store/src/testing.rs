//! A store on a disk in memory, for tests that ask about its answers and not about its files.

use std::ops::Deref;
use std::path::Path;

use bytes::Bytes;
use raftery_fs::MemFs;

use crate::*;

/// Small, so that a few entries fill a segment.
pub(crate) const OPTIONS: StoreOptions = StoreOptions {
    segment_bytes: 12 << 10,
    live_percent_min: 50,
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
        let store = Store::create(MemFs::new(1), dir(), OPTIONS, Bytes::new()).unwrap();
        Self { store }
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
