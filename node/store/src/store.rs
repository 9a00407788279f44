//! The store: keys, revisions and the one entrance for writes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::error::StoreError;
use crate::history::{KeyHistory, Revision, Written};
use crate::op::{DeleteRangeOp, KeyRange, PutOp, WriteOp};
use crate::result::{DeleteRangeResult, KeyValue, PutResult, WriteResult};

/// The revision of an empty store; the first write gets the next one.
const FIRST_REVISION: i64 = 1;
/// The compact revision before any compaction, as in etcd: compacting at 0 works once.
const NEVER_COMPACTED: i64 = -1;

/// All keys with their history down to the compact revision.
///
/// Invariants:
/// - `compact_revision <= revision`
/// - no key without a kept write; every kept write is at most at `revision`
/// - `log` is sorted and names every kept write above `compact_revision`
/// - `logical_bytes` is the sum over all kept writes
#[derive(Debug, Clone)]
pub struct Store {
    keys: BTreeMap<Bytes, KeyHistory>,
    revision: i64,
    compact_revision: i64,
    /// Which key each revision wrote, so that compaction visits only what changed.
    log: VecDeque<(Revision, Bytes)>,
    logical_bytes: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// An empty store, at revision 1.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            revision: FIRST_REVISION,
            compact_revision: NEVER_COMPACTED,
            log: VecDeque::new(),
            logical_bytes: 0,
        }
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that can be read; −1 before the first compaction.
    #[must_use]
    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    /// What the kept writes weigh, in logical bytes: the same on every member, whatever the
    /// memory or disk behind it looks like.
    #[must_use]
    pub fn logical_bytes(&self) -> u64 {
        self.logical_bytes
    }

    /// Applies one committed operation. What etcd counts as one request is one revision: a
    /// transaction bumps it once, one that changes nothing not at all.
    ///
    /// # Errors
    /// A [`StoreError`], the same on every member; then nothing has changed.
    pub fn apply(&mut self, op: &WriteOp) -> Result<WriteResult, StoreError> {
        match op {
            WriteOp::Compact { revision } => {
                self.compact(*revision)?;
                Ok(WriteResult::Compact {
                    revision: self.revision,
                })
            }
            WriteOp::Put(op) => self.write(|write| write.put(op).map(WriteResult::Put)),
            WriteOp::DeleteRange(op) => {
                self.write(|write| Ok(WriteResult::DeleteRange(write.delete_range(op))))
            }
            WriteOp::Txn(op) => self.write(|write| write.txn(op).map(WriteResult::Txn)),
        }
    }

    /// A fingerprint of all kept writes and both revisions (FNV-1a, 64 bit): equal on members
    /// that applied the same entries. Walks the whole store.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = Fnv::new();
        hash.number(self.revision);
        hash.number(self.compact_revision);
        for (key, history) in &self.keys {
            hash.bytes(key);
            for (revision, written) in history.writes() {
                hash.number(revision.main);
                hash.number(revision.sub);
                match written {
                    Written::Put {
                        create_revision,
                        version,
                        value,
                        lease,
                    } => {
                        hash.number(*create_revision);
                        hash.number(*version);
                        hash.bytes(value);
                        hash.number(*lease);
                    }
                    Written::Tombstone => hash.number(-1),
                }
            }
        }
        hash.0
    }

    /// Asserts the invariants listed at the type. Walks the whole store: for tests and
    /// simulation.
    ///
    /// # Panics
    /// When one doesn't hold.
    pub fn check_invariants(&self) {
        assert!(
            self.compact_revision <= self.revision,
            "compacted beyond the revision"
        );
        let mut logical_bytes = 0;
        let mut kept_above_compaction = 0;
        for (key, history) in &self.keys {
            assert!(!history.is_empty(), "key {key:?} has no kept write");
            logical_bytes += history.logical_bytes(key);
            let mut last = Revision { main: 0, sub: 0 };
            for (at, (revision, written)) in history.writes().enumerate() {
                assert!(
                    at == 0 || revision > last,
                    "history of {key:?} is not sorted"
                );
                assert!(
                    revision.main <= self.revision,
                    "{key:?} was written in the future"
                );
                let is_buried = *written == Written::Tombstone && at == 0;
                assert!(
                    !is_buried || revision.main >= self.compact_revision,
                    "{key:?} begins with a tombstone that compaction should have taken"
                );
                kept_above_compaction += usize::from(revision.main > self.compact_revision);
                last = revision;
            }
        }
        assert_eq!(
            logical_bytes, self.logical_bytes,
            "logical bytes were miscounted"
        );
        assert!(
            self.log.iter().is_sorted(),
            "the revision log is not sorted"
        );
        let logged = self
            .log
            .iter()
            .filter(|(at, _)| at.main > self.compact_revision)
            .count();
        assert_eq!(
            logged, kept_above_compaction,
            "the revision log misses a write"
        );
    }

    /// The histories of the keys in `range` that have a kept write, in key order.
    pub(crate) fn histories<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&'a Bytes, &'a KeyHistory)> {
        range
            .bounds()
            .into_iter()
            .flat_map(|bounds| self.keys.range::<[u8], _>(bounds))
    }

    /// The pairs of `range` at `revision`, in key order.
    pub(crate) fn pairs(&self, range: &KeyRange, revision: i64) -> impl Iterator<Item = KeyValue> {
        self.histories(range)
            .filter_map(move |(key, history)| history.at(key, revision))
    }

    fn write(
        &mut self,
        work: impl FnOnce(&mut Write<'_>) -> Result<WriteResult, StoreError>,
    ) -> Result<WriteResult, StoreError> {
        let mut write = Write {
            changes: 0,
            store: self,
        };
        let result = work(&mut write);
        match result {
            Ok(_) => write.commit(),
            Err(_) => write.roll_back(),
        }
        result
    }

    fn compact(&mut self, revision: i64) -> Result<(), StoreError> {
        if revision <= self.compact_revision {
            return Err(StoreError::Compacted {
                requested: revision,
                compact_revision: self.compact_revision,
            });
        }
        if revision > self.revision {
            return Err(StoreError::FutureRevision {
                requested: revision,
                current_revision: self.revision,
            });
        }
        self.compact_revision = revision;
        let compacted = self.log.partition_point(|(at, _)| at.main <= revision);
        for (_, key) in self.log.iter().take(compacted) {
            let Some(history) = self.keys.get_mut(key) else {
                continue;
            };
            self.logical_bytes -= history.compact(key, revision);
            if history.is_empty() {
                self.keys.remove(key);
            }
        }
        // Writes at the compact revision itself are visited again: a tombstone there stays once.
        let done = self.log.partition_point(|(at, _)| at.main < revision);
        self.log.drain(..done);
        Ok(())
    }
}

/// A write in progress. Readers within it see the newest state, its own changes included.
pub(crate) struct Write<'a> {
    pub(crate) store: &'a mut Store,
    changes: usize,
}

impl Write<'_> {
    /// The revision that a read within this write sees: the next one as soon as it changed
    /// something.
    pub(crate) fn revision(&self) -> i64 {
        self.store.revision + i64::from(self.changes > 0)
    }

    pub(crate) fn put(&mut self, op: &PutOp) -> Result<PutResult, StoreError> {
        self.store.check_put(op)?;
        let range = KeyRange::Key(op.key.clone());
        let previous = self.store.pairs(&range, self.revision()).next();
        let revision = self.store.revision + 1;
        let (create_revision, version) = previous
            .as_ref()
            .map_or((revision, 1), |kv| (kv.create_revision, kv.version + 1));
        let kept = |is_kept: bool| previous.as_ref().filter(|_| is_kept);
        let value = kept(op.ignore_value)
            .map_or(&op.value, |kv| &kv.value)
            .clone();
        let lease = kept(op.ignore_lease).map_or(op.lease, |kv| kv.lease);
        self.push(
            op.key.clone(),
            Written::Put {
                create_revision,
                version,
                value,
                lease,
            },
        );
        Ok(PutResult {
            prev_kv: previous.filter(|_| op.prev_kv),
            revision,
        })
    }

    pub(crate) fn delete_range(&mut self, op: &DeleteRangeOp) -> DeleteRangeResult {
        let previous: Vec<KeyValue> = self.store.pairs(&op.range, self.revision()).collect();
        for kv in &previous {
            self.push(kv.key.clone(), Written::Tombstone);
        }
        DeleteRangeResult {
            deleted: previous.len() as i64,
            prev_kvs: if op.prev_kv { previous } else { Vec::new() },
            revision: self.revision(),
        }
    }

    fn push(&mut self, key: Bytes, written: Written) {
        let revision = Revision {
            main: self.store.revision + 1,
            sub: self.changes as i64,
        };
        let history = self.store.keys.entry(key.clone()).or_default();
        self.store.logical_bytes += history.push(&key, revision, written);
        self.store.log.push_back((revision, key));
        self.changes += 1;
    }

    fn commit(self) {
        self.store.revision = self.revision();
    }

    fn roll_back(self) {
        let Store {
            keys,
            log,
            logical_bytes,
            ..
        } = self.store;
        for _ in 0..self.changes {
            let Some((_, key)) = log.pop_back() else {
                return;
            };
            let Some(history) = keys.get_mut(&key) else {
                continue;
            };
            *logical_bytes -= history.pop(&key);
            if history.is_empty() {
                keys.remove(&key);
            }
        }
    }
}

impl Store {
    /// What a put needs of the state: its lease, and the key if it keeps part of it. A lease
    /// can't be granted yet, so none exists.
    pub(crate) fn check_put(&self, op: &PutOp) -> Result<(), StoreError> {
        if op.lease != 0 {
            return Err(StoreError::LeaseNotFound { lease: op.lease });
        }
        let exists = || {
            self.keys
                .get(&op.key)
                .is_some_and(|history| history.is_live_at(i64::MAX))
        };
        if (op.ignore_value || op.ignore_lease) && !exists() {
            return Err(StoreError::KeyNotFound);
        }
        Ok(())
    }
}

/// FNV-1a: small, fast enough for a check that is asked for by hand, and the same everywhere
/// (the standard hasher promises no stability). Byte strings go in with their length.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn number(&mut self, number: i64) {
        self.raw(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.raw(&(bytes.len() as u64).to_le_bytes());
        self.raw(bytes);
    }

    fn raw(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
