//! A write in progress: puts and deletes within one revision.

use raftery_fs::Fs;

use crate::error::{ReadError, StoreError};
use crate::history::{Kept, KeyHistory, Revision};
use crate::index::Key;
use crate::op::{DeleteRangeOp, KeyRange, PutOp};
use crate::record::{Put, Record};
use crate::result::{DeleteRangeResult, KeyValue, PutResult};
use crate::store::Store;

/// A write in progress. Readers within it see the newest state, its own changes included.
pub(crate) struct Write<'a, F: Fs> {
    pub(crate) store: &'a mut Store<F>,
    /// The key of each change.
    pushed: Vec<Key>,
}

impl<'a, F: Fs> Write<'a, F> {
    /// A frame must have been begun in the log.
    pub(crate) fn new(store: &'a mut Store<F>) -> Self {
        Self {
            store,
            pushed: Vec::new(),
        }
    }

    /// The revision that a read within this write sees: the next one as soon as it changed
    /// something.
    pub(crate) fn revision(&self) -> i64 {
        self.store.revision() + i64::from(!self.pushed.is_empty())
    }

    pub(crate) fn put(&mut self, op: &PutOp) -> Result<PutResult, ReadError> {
        let newest = self.store.index.get(&op.key);
        let previous = newest
            .and_then(|history| history.at(self.revision()))
            .copied();
        self.store.check_put(op)?;
        let revision = self.store.revision() + 1;
        let previous_kv = match &previous {
            Some(write) if op.prev_kv || op.ignore_value => {
                Some(self.store.key_value(&op.key, write)?)
            }
            _ => None,
        };
        let kept_value = previous_kv.as_ref().filter(|_| op.ignore_value);
        let put = Put {
            create_revision: previous.map_or(revision, |write| write.create_revision),
            version: previous.map_or(0, |write| write.version) + 1,
            lease: match &previous {
                Some(write) if op.ignore_lease => write.lease,
                _ => op.lease,
            },
            value: kept_value.map_or(&op.value, |kv| &kv.value),
        };
        self.push(&op.key, Some(put));
        Ok(PutResult {
            prev_kv: previous_kv.filter(|_| op.prev_kv),
            revision,
        })
    }

    pub(crate) fn delete_range(
        &mut self,
        op: &DeleteRangeOp,
    ) -> Result<DeleteRangeResult, ReadError> {
        let found = self.store.index.pairs(&op.range, self.revision());
        let gone: Vec<(Key, Kept)> = found.map(|(key, write)| (key.clone(), *write)).collect();
        let mut prev_kvs: Vec<KeyValue> = Vec::new();
        if op.prev_kv {
            for (key, write) in &gone {
                prev_kvs.push(self.store.key_value(key, write)?);
            }
        }
        for (key, _) in &gone {
            self.push(key, None);
        }
        Ok(DeleteRangeResult {
            deleted: gone.len() as i64,
            prev_kvs,
            revision: self.revision(),
        })
    }

    fn push(&mut self, key: &[u8], put: Option<Put<'_>>) {
        let sub = u32::try_from(self.pushed.len()).expect("a request has far fewer changes");
        let record = Record {
            key,
            revision: Revision {
                main: self.store.revision() + 1,
                sub,
            },
            put,
        };
        let location = self.store.log.push(&record);
        let pushed = self.store.index.push(key, Kept::new(&record, location));
        self.pushed
            .push(pushed.expect("nothing is newer than the next revision"));
    }

    pub(crate) fn commit(self) {
        self.store.index.revision = self.revision();
    }

    pub(crate) fn roll_back(self) {
        for key in self.pushed.iter().rev() {
            if let Some(write) = self.store.index.pop(key) {
                self.store.log.take_back(key, &write);
            }
        }
    }
}

impl<F: Fs> Store<F> {
    /// What a put needs of the state: its lease, and the key if it keeps part of it. A lease
    /// can't be granted yet, so none exists.
    pub(crate) fn check_put(&self, op: &PutOp) -> Result<(), StoreError> {
        if op.lease != 0 {
            return Err(StoreError::LeaseNotFound { lease: op.lease });
        }
        if (op.ignore_value || op.ignore_lease) && !self.exists(&KeyRange::Key(op.key.clone())) {
            return Err(StoreError::KeyNotFound);
        }
        Ok(())
    }

    fn exists(&self, range: &KeyRange) -> bool {
        let mut histories = self.index.histories(range);
        histories.any(|(_, history): (_, &KeyHistory)| history.at(i64::MAX).is_some())
    }
}
