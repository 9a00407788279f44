//! The index: every key with what is known about its kept writes, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::history::{Kept, KeyHistory, Revision, tombstone_bytes};
use crate::op::KeyRange;

/// The revision of an empty store; the first write gets the next one.
pub(crate) const FIRST_REVISION: i64 = 1;
/// The compact revision before any compaction, as in etcd: compacting at 0 works once.
pub(crate) const NEVER_COMPACTED: i64 = -1;

/// A key that map and `changed` share.
pub(crate) type Key = Arc<[u8]>;

/// Keys and revisions.
///
/// What a compaction makes unreadable is counted off at once, and leaves the histories later, in
/// bounded steps: nobody waits while millions of keys are visited.
///
/// Invariants:
/// - `compact_revision <= revision`
/// - no key without a write; every write is at most at `revision`
/// - `changed` is sorted and names every write above `compact_revision` that something older
///   precedes, every tombstone, and what wasn't swept yet
/// - `logical_bytes` is the sum over all writes that can be read
#[derive(Debug)]
pub(crate) struct Index {
    keys: BTreeMap<Key, KeyHistory>,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
    /// The writes with which a compaction drops something, so that it visits only those. The
    /// first write of a key drops nothing: keys that never change cost nothing here.
    changed: VecDeque<Change>,
    /// How many of the first in `changed` were swept and stay: those at `compact_revision`.
    swept: usize,
    pub(crate) logical_bytes: u64,
}

/// A write that makes something older superfluous, or that is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    at: Revision,
    /// Logical bytes that a compaction at this revision or later frees: those of the write
    /// before it, and its own if it is a tombstone (but see [`Index::buried_later`]).
    frees: u64,
    is_tombstone: bool,
    key: Key,
}

impl Index {
    pub(crate) fn new(revision: i64, compact_revision: i64) -> Self {
        Self {
            keys: BTreeMap::new(),
            revision,
            compact_revision,
            changed: VecDeque::new(),
            swept: 0,
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

    /// The histories of the keys in `range` that have a write, in key order.
    pub(crate) fn histories<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&'a Key, &'a KeyHistory)> + use<'a> {
        // Finding one key is cheaper than finding where a range of one key begins and ends.
        let (one, many) = match range {
            KeyRange::Key(key) => (self.keys.get_key_value(&key[..]), None),
            KeyRange::From(_) | KeyRange::Span { .. } => (None, range.bounds()),
        };
        let many = many.map(|bounds| self.keys.range::<[u8], _>(bounds));
        one.into_iter().chain(many.into_iter().flatten())
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
        let (key, previous) = match found {
            Some((key, history)) => {
                let last = history.writes().last().copied();
                if last.is_some_and(|last| last.revision() >= write.revision()) {
                    return None;
                }
                history.push(write);
                (Arc::clone(key), last)
            }
            None => {
                let key = Key::from(key);
                self.keys.insert(Arc::clone(&key), KeyHistory::One(write));
                (key, None)
            }
        };
        self.logical_bytes += write.logical_bytes(&key);
        if previous.is_some() || write.is_tombstone() {
            let superseded = previous.filter(|previous| !previous.is_tombstone());
            let superseded = superseded.map_or(0, |previous| previous.logical_bytes(&key));
            let own = if write.is_tombstone() {
                write.logical_bytes(&key)
            } else {
                0
            };
            self.changed.push_back(Change {
                at: write.revision(),
                frees: superseded + own,
                is_tombstone: write.is_tombstone(),
                key: Arc::clone(&key),
            });
        }
        Some(key)
    }

    /// Takes the newest write of `key`, which is the newest of all, back.
    pub(crate) fn pop(&mut self, key: &[u8]) -> Option<Kept> {
        let newest = self.keys.get_mut(key)?.pop();
        let is_named = newest.is_some();
        let popped = match newest {
            Some(popped) => popped,
            None => self.keys.remove(key)?.writes()[0],
        };
        self.logical_bytes -= popped.logical_bytes(key);
        if is_named || popped.is_tombstone() {
            self.changed.pop_back();
        }
        Some(popped)
    }

    /// Makes what no read at `revision` or later sees unreadable, and counts it off. Takes no
    /// longer than a walk over the changes since the last compaction; [`Index::sweep`] does the
    /// rest.
    pub(crate) fn compact(&mut self, revision: i64) {
        let before = self.compact_revision;
        let above = |bound: i64| {
            self.changed
                .partition_point(|change| change.at.main <= bound)
        };
        let frees = self.changed.range(above(before)..above(revision));
        let freed: u64 = frees.map(|change| change.frees).sum();
        let freed = freed + self.buried_later(before) - self.buried_later(revision);
        self.logical_bytes -= freed;
        self.compact_revision = revision;
        self.swept = 0;
    }

    /// Bytes of the tombstones at `revision` that are what a reader there sees: a compaction at
    /// that very revision keeps them once.
    fn buried_later(&self, revision: i64) -> u64 {
        let from = self
            .changed
            .partition_point(|change| change.at.main < revision);
        let there = self.changed.range(from..);
        let there = there.take_while(|change| change.at.main == revision);
        let seen = |change: &&Change| {
            let history = self.keys.get(&change.key);
            let newest = history.and_then(|history| history.newest_at(revision));
            change.is_tombstone && newest.is_some_and(|write| write.revision() == change.at)
        };
        there
            .filter(seen)
            .map(|change| tombstone_bytes(&change.key))
            .sum()
    }

    /// Drops what the compaction made unreadable from the histories of at most `max` changes;
    /// `released` gets every write that goes. Whether there is more.
    pub(crate) fn sweep(&mut self, max: usize, mut released: impl FnMut(&[u8], &Kept)) -> bool {
        for _ in 0..max {
            if !self.is_sweep_pending() {
                break;
            }
            let change = &self.changed[self.swept];
            let (key, is_at_compaction) = (
                Arc::clone(&change.key),
                change.at.main == self.compact_revision,
            );
            self.sweep_key(&key, &mut released);
            if is_at_compaction {
                // A tombstone here stays once: the next compaction visits it again.
                self.swept += 1;
            } else {
                self.changed.pop_front();
            }
        }
        let is_pending = self.is_sweep_pending();
        if !is_pending && self.changed.capacity() > 4 * self.changed.len() + 1024 {
            self.changed.shrink_to(2 * self.changed.len());
        }
        is_pending
    }

    /// Whether a compaction left something for [`Index::sweep`].
    pub(crate) fn is_sweep_pending(&self) -> bool {
        let next = self.changed.get(self.swept);
        next.is_some_and(|change| change.at.main <= self.compact_revision)
    }

    /// While the log is read: what the newest write of `key` hides from readers at the compact
    /// revision goes at once, so that the dead never pile up.
    pub(crate) fn compact_while_loading(
        &mut self,
        key: &[u8],
        mut released: impl FnMut(&[u8], &Kept),
    ) {
        let mut freed = 0;
        self.sweep_key(key, &mut |key, write| {
            freed += write.logical_bytes(key);
            released(key, write);
        });
        self.logical_bytes -= freed;
        while let Some(change) = self.changed.back()
            && change.at.main < self.compact_revision
        {
            self.changed.pop_back();
        }
        // Those at the compact revision are as if swept.
        self.swept = self.changed.len();
    }

    fn sweep_key(&mut self, key: &[u8], released: &mut impl FnMut(&[u8], &Kept)) {
        let Some(history) = self.keys.get_mut(key) else {
            return;
        };
        let unseen = history.unseen(self.compact_revision);
        for write in &history.writes()[..unseen] {
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
        for (key, history) in &self.keys {
            assert!(!history.writes().is_empty(), "key {key:?} has no write");
            let unseen = history.unseen(self.compact_revision);
            assert!(
                unseen == 0 || self.is_sweep_pending(),
                "the sweep left something of {key:?}"
            );
            let kept = &history.writes()[unseen..];
            logical_bytes += kept
                .iter()
                .map(|write| write.logical_bytes(key))
                .sum::<u64>();
            let mut last = None;
            for (at, write) in history.writes().iter().enumerate() {
                let revision = write.revision();
                assert!(last < Some(revision), "history of {key:?} is not sorted");
                assert!(
                    revision.main <= self.revision,
                    "{key:?} was written in the future"
                );
                let is_above = revision.main > self.compact_revision;
                if write.is_tombstone() || (at > 0 && is_above) {
                    let named = |change: &Change| (change.at, &change.key).cmp(&(revision, key));
                    assert!(
                        self.changed.binary_search_by(named).is_ok(),
                        "compaction would miss {key:?} at {revision:?}"
                    );
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
    }
}
