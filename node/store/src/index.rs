//! The index: every key with what is known about its kept writes, in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::chunked_queue::ChunkedQueue;
use crate::history::{Attributes, Kept, KeyHistory, Location, Revision, Seen, tombstone_bytes};
use crate::key::Key;
use crate::op::KeyRange;
use crate::record::Record;

/// The revision of an empty store; the first write gets the next one.
pub(crate) const FIRST_REVISION: i64 = 1;
/// The compact revision before any compaction, as in etcd: compacting at 0 works once.
pub(crate) const NEVER_COMPACTED: i64 = -1;

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
    changed: ChunkedQueue<Change>,
    /// How many of the first in `changed` were swept and stay: those at `compact_revision`.
    swept: usize,
    pub(crate) logical_bytes: u64,
}

/// A write that makes something older superfluous, or that is a tombstone. There is one for
/// almost every [`Kept`], hence packed: 24 bytes.
#[derive(Debug)]
struct Change {
    main: i64,
    sub: u32,
    /// The lowest bit: whether it is a tombstone; above it, logical bytes.
    packed: u32,
    key: Key,
}

impl Change {
    /// `frees`: logical bytes that a compaction at this revision or later frees: those of the
    /// write before it, and its own if it is a tombstone (but see [`Index::buried_later`]).
    fn new(key: Key, write: &Kept, frees: u64) -> Self {
        let Revision { main, sub } = write.revision();
        let packed = u32::try_from(frees << 1 | u64::from(write.is_tombstone()));
        Self {
            main,
            sub,
            packed: packed.expect("the gate bounds requests far below 2 GiB"),
            key,
        }
    }

    fn at(&self) -> Revision {
        Revision {
            main: self.main,
            sub: self.sub,
        }
    }

    fn frees(&self) -> u64 {
        u64::from(self.packed >> 1)
    }

    fn is_tombstone(&self) -> bool {
        self.packed & 1 == 1
    }
}

/// A write that was appended, and what it takes to take it back.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// As the index holds it.
    pub(crate) key: Key,
    /// The attributes of the write before it.
    before: Attributes,
}

impl Index {
    pub(crate) fn new(revision: i64, compact_revision: i64) -> Self {
        Self {
            keys: BTreeMap::new(),
            revision,
            compact_revision,
            changed: ChunkedQueue::new(),
            swept: 0,
            logical_bytes: 0,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &KeyHistory)> {
        self.keys.iter()
    }

    /// The write of one key that a reader at `revision` sees.
    pub(crate) fn at(&self, key: &[u8], revision: i64) -> Option<Seen<'_>> {
        self.keys.get(key)?.at(revision)
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
    fn histories<'a>(
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
    ) -> impl Iterator<Item = (&'a Key, Seen<'a>)> + use<'a> {
        self.histories(range)
            .filter_map(move |(key, history)| Some((key, history.at(revision)?)))
    }

    /// Appends the write that `record` is about to the history of its key. `None`, and nothing
    /// done, if it isn't newer than what is there.
    pub(crate) fn push(&mut self, record: &Record<'_>, location: Location) -> Option<Pushed> {
        let key = record.key;
        let write = Kept::new(record, location);
        let attributes = Attributes::new(record);
        let only = (Bound::Included(key), Bound::Included(key));
        let found = self.keys.range_mut::<[u8], _>(only).next();
        let (key, previous, before) = match found {
            Some((key, history)) => {
                let last = history.writes().last().copied();
                if last.is_some_and(|last| last.revision() >= write.revision()) {
                    return None;
                }
                let before = history.push(write, attributes);
                (key.clone(), last, before)
            }
            None => {
                let key = Key::from(key);
                let history = KeyHistory::One(write, attributes);
                self.keys.insert(key.clone(), history);
                (key, None, Attributes::default())
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
            let frees = superseded + own;
            self.changed
                .push_back(Change::new(key.clone(), &write, frees));
        }
        Some(Pushed { key, before })
    }

    /// Takes what was pushed last back.
    pub(crate) fn pop(&mut self, pushed: &Pushed) -> Option<Kept> {
        let key = &pushed.key;
        let newest = self.keys.get_mut(key)?.pop(pushed.before);
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
        let above = |bound: i64| self.changed.partition_point(|change| change.main <= bound);
        let frees = self.changed.range(above(before)..above(revision));
        let freed: u64 = frees.map(Change::frees).sum();
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
            .partition_point(|change| change.main < revision);
        let there = self.changed.range(from..self.changed.len());
        let there = there.take_while(|change| change.main == revision);
        let seen = |change: &&Change| {
            let history = self.keys.get(&change.key);
            let newest = history.and_then(|history| history.newest_at(revision));
            change.is_tombstone() && newest.is_some_and(|write| write.revision() == change.at())
        };
        there
            .filter(seen)
            .map(|change| tombstone_bytes(&change.key))
            .sum()
    }

    /// Drops what the compaction made unreadable from the histories of some changes, until `max`
    /// changes and writes were visited, or more where one key has more; `released` gets every write that
    /// goes. Whether there is more.
    pub(crate) fn sweep(&mut self, max: usize, mut released: impl FnMut(&[u8], &Kept)) -> bool {
        let mut visited = 0;
        while visited < max {
            visited += 1;
            let Some(change) = self.next_to_sweep() else {
                break;
            };
            let key = change.key.clone();
            let is_at_compaction = change.main == self.compact_revision;
            self.sweep_key(&key, &mut |key, write| {
                visited += 1;
                released(key, write);
            });
            if is_at_compaction {
                // A tombstone here stays once: the next compaction visits it again.
                self.swept += 1;
            } else {
                self.changed.pop_front();
            }
        }
        self.is_sweep_pending()
    }

    /// Whether a compaction left something for [`Index::sweep`].
    pub(crate) fn is_sweep_pending(&self) -> bool {
        self.next_to_sweep().is_some()
    }

    fn next_to_sweep(&self) -> Option<&Change> {
        let next = self.changed.get(self.swept);
        next.filter(|change| change.main <= self.compact_revision)
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
            && change.main < self.compact_revision
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
            let is_deleted = history.writes().last().is_some_and(Kept::is_tombstone);
            assert_eq!(
                is_deleted,
                *history.newest() == Attributes::default(),
                "the attributes of {key:?} aren't its newest write's"
            );
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
                    let at = self
                        .changed
                        .partition_point(|change| change.at() < revision);
                    let named = self.changed.get(at);
                    assert!(
                        named.is_some_and(|change| change.at() == revision && change.key == *key),
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
            self.changed
                .range(0..self.changed.len())
                .is_sorted_by_key(Change::at),
            "the list of changes is not sorted"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::history::Slot;
    use crate::record::{Put, Space};

    #[test]
    fn a_change_takes_32_bytes() {
        assert_eq!(size_of::<Change>(), 24);
    }

    #[test]
    fn a_change_says_what_it_frees_and_whether_it_is_a_tombstone() {
        for (value, frees) in [(None, 0), (None, 1 << 30), (Some(&b"value"[..]), 1 << 30)] {
            let put = value.map(|value| Put {
                create_revision: 1,
                version: 1,
                lease: 0,
                value,
            });
            let at = Revision { main: 7, sub: 3 };
            let record = Record {
                space: Space::Keys,
                key: b"key",
                revision: at,
                put,
            };
            let write = Kept::new(&record, Location::new(Slot(NonZeroU32::MIN), 8));
            let change = Change::new(Key::from(&b"key"[..]), &write, frees);
            assert_eq!(
                (change.at(), change.frees(), change.is_tombstone()),
                (at, frees, value.is_none())
            );
        }
    }
}
