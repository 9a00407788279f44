//! The index: every key with what is known about its kept writes, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::history::{Kept, KeyHistory, Revision};
use crate::op::KeyRange;

/// The revision of an empty store; the first write gets the next one.
pub(crate) const FIRST_REVISION: i64 = 1;
/// The compact revision before any compaction, as in etcd: compacting at 0 works once.
pub(crate) const NEVER_COMPACTED: i64 = -1;

/// A key that map and `changed` share.
pub(crate) type Key = Arc<[u8]>;

/// Keys and revisions.
///
/// Invariants:
/// - `compact_revision <= revision`
/// - no key without a kept write; every kept write is at most at `revision`
/// - `changed` is sorted and names every kept write above `compact_revision` that something
///   older precedes, and every tombstone
/// - `logical_bytes` is the sum over all kept writes
#[derive(Debug)]
pub(crate) struct Index {
    keys: BTreeMap<Key, KeyHistory>,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
    /// The writes with which a later compaction drops something, so that it visits only those.
    /// The first write of a key drops nothing: keys that never change cost nothing here.
    changed: VecDeque<(Revision, Key)>,
    pub(crate) logical_bytes: u64,
}

impl Index {
    pub(crate) fn new(revision: i64, compact_revision: i64) -> Self {
        Self {
            keys: BTreeMap::new(),
            revision,
            compact_revision,
            changed: VecDeque::new(),
            logical_bytes: 0,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &KeyHistory)> {
        self.keys.iter()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyHistory> {
        self.keys.get(key)
    }

    /// The key as the index holds it, with the write at exactly `revision`.
    pub(crate) fn find(&self, key: &[u8], revision: Revision) -> Option<(&Key, &Kept)> {
        let (key, history) = self.keys.get_key_value(key)?;
        Some((key, history.find(revision)?))
    }

    /// As [`Index::find`], to change the location.
    pub(crate) fn find_mut(&mut self, key: &[u8], revision: Revision) -> Option<&mut Kept> {
        self.keys.get_mut(key)?.find_mut(revision)
    }

    /// The histories of the keys in `range` that have a kept write, in key order.
    pub(crate) fn histories<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&'a Key, &'a KeyHistory)> + use<'a> {
        let bounds = range.bounds();
        let found = bounds.map(|bounds| self.keys.range::<[u8], _>(bounds));
        found.into_iter().flatten()
    }

    /// The writes that a reader of `range` at `revision` sees, in key order.
    pub(crate) fn pairs<'a>(
        &'a self,
        range: &KeyRange,
        revision: i64,
    ) -> impl Iterator<Item = (&'a Key, &'a Kept)> + use<'a> {
        self.histories(range)
            .filter_map(move |(key, history)| Some((key, history.at(revision)?)))
    }

    /// Appends a write to the history of `key`, and returns the key as the index holds it.
    /// `None`, and nothing done, if the write isn't newer than what is there.
    pub(crate) fn push(&mut self, key: &[u8], write: Kept) -> Option<Key> {
        let only = (Bound::Included(key), Bound::Included(key));
        let found = self.keys.range_mut::<[u8], _>(only).next();
        let is_first = found.is_none();
        let key = match found {
            Some((key, history)) => {
                let last = history.writes().last().map(Kept::revision);
                if last >= Some(write.revision()) {
                    return None;
                }
                history.push(write);
                Arc::clone(key)
            }
            None => {
                let key = Key::from(key);
                self.keys.insert(Arc::clone(&key), KeyHistory::One(write));
                key
            }
        };
        self.logical_bytes += write.logical_bytes(&key);
        if !is_first || write.is_tombstone() {
            self.changed.push_back((write.revision(), Arc::clone(&key)));
        }
        Some(key)
    }

    /// Takes the newest write of `key`, which is the newest of all, back.
    pub(crate) fn pop(&mut self, key: &[u8]) -> Option<Kept> {
        let popped = match self.keys.get_mut(key)?.pop() {
            Some(popped) => popped,
            None => match self.keys.remove(key)? {
                KeyHistory::One(only) => only,
                KeyHistory::Many(_) => unreachable!("a write can be popped from many"),
            },
        };
        self.logical_bytes -= popped.logical_bytes(key);
        if self
            .changed
            .back()
            .is_some_and(|(at, _)| *at == popped.revision())
        {
            self.changed.pop_back();
        }
        Some(popped)
    }

    /// Forgets what no read at `revision` or later sees; `released` gets every write that goes.
    pub(crate) fn compact(&mut self, revision: i64, mut released: impl FnMut(&[u8], &Kept)) {
        self.compact_revision = revision;
        let compacted = self.changed.partition_point(|(at, _)| at.main <= revision);
        // Writes at the compact revision itself are visited again: a tombstone there stays once.
        let done = self.changed.partition_point(|(at, _)| at.main < revision);
        for at in 0..compacted {
            let key = Arc::clone(&self.changed[at].1);
            self.compact_key(&key, revision, &mut released);
        }
        self.changed.drain(..done);
        if self.changed.capacity() > 4 * self.changed.len() + 1024 {
            self.changed.shrink_to(2 * self.changed.len());
        }
    }

    /// While the log is read: what the newest write of `key` hides from readers at the compact
    /// revision goes at once, so that the dead never pile up.
    pub(crate) fn compact_while_loading(
        &mut self,
        key: &[u8],
        released: &mut impl FnMut(&[u8], &Kept),
    ) {
        let compact_revision = self.compact_revision;
        self.compact_key(key, compact_revision, released);
        while let Some((at, _)) = self.changed.back()
            && at.main < compact_revision
        {
            self.changed.pop_back();
        }
    }

    fn compact_key(&mut self, key: &[u8], revision: i64, released: &mut impl FnMut(&[u8], &Kept)) {
        let Some(history) = self.keys.get_mut(key) else {
            return;
        };
        let unseen = history.unseen(revision);
        for write in &history.writes()[..unseen] {
            self.logical_bytes -= write.logical_bytes(key);
            released(key, write);
        }
        if unseen == history.writes().len() {
            self.keys.remove(key);
        } else {
            history.drop_oldest(unseen);
        }
    }

    /// Asserts the invariants listed at the type.
    pub(crate) fn check_invariants(&self) {
        assert!(
            self.compact_revision <= self.revision,
            "compacted beyond the revision"
        );
        let mut logical_bytes = 0;
        let mut to_visit = 0;
        for (key, history) in &self.keys {
            assert!(
                !history.writes().is_empty(),
                "key {key:?} has no kept write"
            );
            logical_bytes += history.logical_bytes(key);
            let mut last = None;
            for (at, write) in history.writes().iter().enumerate() {
                let revision = write.revision();
                assert!(last < Some(revision), "history of {key:?} is not sorted");
                assert!(
                    revision.main <= self.revision,
                    "{key:?} was written in the future"
                );
                let is_buried = write.is_tombstone() && at == 0;
                assert!(
                    !is_buried || revision.main >= self.compact_revision,
                    "{key:?} begins with a tombstone that compaction should have taken"
                );
                let is_above = revision.main > self.compact_revision;
                let must_visit = at > 0 || write.is_tombstone();
                if must_visit && (is_above || write.is_tombstone()) {
                    let named = |entry: &(Revision, Key)| entry.cmp(&(revision, Arc::clone(key)));
                    assert!(
                        self.changed.binary_search_by(named).is_ok(),
                        "compaction would miss {key:?} at {revision:?}"
                    );
                    to_visit += 1;
                }
                last = Some(revision);
            }
        }
        assert_eq!(
            logical_bytes, self.logical_bytes,
            "logical bytes were miscounted"
        );
        assert!(
            self.changed.iter().is_sorted(),
            "the list of changes is not sorted"
        );
        assert!(to_visit <= self.changed.len());
    }
}
