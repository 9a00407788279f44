//! A write in progress: puts and deletes within one revision.

use raftery_fs::Fs;

use crate::error::{ReadError, StoreError};
use crate::history::Revision;
use crate::index::Pushed;
use crate::key::Key;
use crate::op::{DeleteRangeOp, PutOp};
use crate::record::{Put, Record, Space};
use crate::result::{DeleteRangeResult, KeyValue, PutResult};
use crate::store::Store;

/// A write in progress. Readers within it see the newest state, its own changes included.
pub(crate) struct Write<'a, F: Fs> {
    pub(crate) store: &'a mut Store<F>,
    pushed: Vec<Pushed>,
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
        self.store.check_put(op)?;
        let revision = self.store.revision() + 1;
        let seen = self.store.index.at(&op.key, self.revision());
        let previous = seen.map(|seen| self.store.attributes(&op.key, seen));
        let previous = previous.transpose()?;
        let previous_kv = match seen {
            Some(seen) if op.prev_kv || op.ignore_value => {
                Some(self.store.key_value(&op.key, seen)?)
            }
            _ => None,
        };
        let kept_value = previous_kv.as_ref().filter(|_| op.ignore_value);
        let put = Put {
            create_revision: previous.map_or(revision, |previous| previous.create_revision),
            version: previous.map_or(0, |previous| previous.version) + 1,
            lease: match &previous {
                Some(previous) if op.ignore_lease => previous.lease,
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
        let mut gone: Vec<Key> = Vec::new();
        let mut prev_kvs: Vec<KeyValue> = Vec::new();
        for (key, seen) in found {
            if op.prev_kv {
                prev_kvs.push(self.store.key_value(key, seen)?);
            }
            gone.push(Key::clone(key));
        }
        for key in &gone {
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
            space: Space::Keys,
            key,
            revision: Revision {
                main: self.store.revision() + 1,
                sub,
            },
            put,
        };
        let location = self.store.log.push(&record);
        let pushed = self.store.index.push(&record, location);
        self.pushed
            .push(pushed.expect("nothing is newer than the next revision"));
    }

    pub(crate) fn commit(self) {
        self.store.index.revision = self.revision();
    }

    pub(crate) fn roll_back(self) {
        for pushed in self.pushed.iter().rev() {
            if let Some(write) = self.store.index.pop(pushed) {
                self.store.log.take_back(&pushed.key, &write);
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
        let keeps_part = op.ignore_value || op.ignore_lease;
        if keeps_part && self.index.at(&op.key, i64::MAX).is_none() {
            return Err(StoreError::KeyNotFound);
        }
        Ok(())
    }
}
