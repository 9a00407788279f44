//! One key's history: every write that compaction has not taken.

use std::num::NonZeroU32;

use crate::record::{Record, record_bytes};

/// What every kept write costs besides its key and value, in logical bytes (revisions, version,
/// lease and index entries). A fixed figure, so that the quota counts the same on every member.
const WRITE_OVERHEAD_BYTES: u64 = 64;

/// A history that grows takes room for this part of what it has.
const SPARE_PART: usize = 8;

/// A place in the order of all writes: `sub` counts the writes within one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision {
    pub(crate) main: i64,
    pub(crate) sub: u32,
}

/// An open segment, by its place in [`crate::log::Log`]'s table. Never used twice in a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) NonZeroU32);

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) slot: Slot,
    /// In units of 8 bytes, so that segments up to 32 GiB can be addressed.
    eighths: u32,
}

impl Location {
    /// `offset`: in bytes, a multiple of 8.
    pub(crate) fn new(slot: Slot, offset: u64) -> Self {
        let eighths = u32::try_from(offset / 8).expect("segments end far below 32 GiB");
        Self { slot, eighths }
    }

    /// In bytes.
    pub(crate) fn offset(&self) -> u64 {
        u64::from(self.eighths) * 8
    }
}

/// What [`Kept::value_bytes`] is in a tombstone.
const TOMBSTONE: u32 = u32::MAX;

/// A write that can still be read: what it takes to find its record. There may be tens of
/// millions, hence 24 bytes each; what else a reader wants to know of an old one is in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    main: i64,
    sub: u32,
    /// Length of the value; [`TOMBSTONE`] if there is none.
    value_bytes: u32,
    pub(crate) location: Location,
}

impl Kept {
    pub(crate) fn new(record: &Record<'_>, location: Location) -> Self {
        let put = record.put.as_ref();
        let length = |value: &[u8]| u32::try_from(value.len()).ok();
        let value_bytes = put.map_or(Some(TOMBSTONE), |put| {
            length(put.value).filter(|bytes| *bytes != TOMBSTONE)
        });
        Self {
            main: record.revision.main,
            sub: record.revision.sub,
            value_bytes: value_bytes.expect("the gate bounds requests far below 4 GiB"),
            location,
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision {
            main: self.main,
            sub: self.sub,
        }
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.value_bytes == TOMBSTONE
    }

    /// Length of the value; 0 in a tombstone.
    pub(crate) fn value_bytes(&self) -> u32 {
        if self.is_tombstone() {
            0
        } else {
            self.value_bytes
        }
    }

    pub(crate) fn logical_bytes(&self, key: &[u8]) -> u64 {
        tombstone_bytes(key) + u64::from(self.value_bytes())
    }

    /// Bytes of its record in the log.
    pub(crate) fn record_bytes(&self, key: &[u8]) -> u64 {
        record_bytes(key.len(), self.value_bytes() as usize) as u64
    }
}

/// What puts and compares ask about a key's newest write; all 0 if that is a tombstone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) create_revision: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
}

impl Attributes {
    pub(crate) fn new(record: &Record<'_>) -> Self {
        record.put.as_ref().map_or(Self::default(), |put| Self {
            create_revision: put.create_revision,
            version: put.version,
            lease: put.lease,
        })
    }
}

/// A write as a reader finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) write: &'a Kept,
    /// `None`: it isn't the key's newest write, and only its record knows.
    pub(crate) attributes: Option<&'a Attributes>,
}

/// Most keys have one kept write, which then needs no allocation of its own.
///
/// Invariants:
/// - there is at least one write
/// - revisions rise from one write to the next
/// - the attributes are the newest write's
#[derive(Debug)]
pub(crate) enum KeyHistory {
    One(Kept, Attributes),
    /// The attributes are apart: who reads a value finds them in its record.
    Many(Vec<Kept>, Box<Attributes>),
}

impl KeyHistory {
    /// Every write, oldest first; the first may be unreadable until they are swept.
    pub(crate) fn writes(&self) -> &[Kept] {
        match self {
            Self::One(write, _) => std::slice::from_ref(write),
            Self::Many(writes, _) => writes,
        }
    }

    /// What is known about the newest write.
    pub(crate) fn newest(&self) -> &Attributes {
        match self {
            Self::One(_, newest) => newest,
            Self::Many(_, newest) => newest,
        }
    }

    /// The write that a reader at `revision` sees, unless the key is deleted there.
    pub(crate) fn at(&self, revision: i64) -> Option<Seen<'_>> {
        let (newest, attributes) = match self {
            Self::One(write, attributes) => (write, attributes),
            Self::Many(writes, attributes) => (writes.last()?, &**attributes),
        };
        let seen = if newest.main <= revision {
            Seen {
                write: newest,
                attributes: Some(attributes),
            }
        } else {
            Seen {
                write: self.newest_at(revision)?,
                attributes: None,
            }
        };
        (!seen.write.is_tombstone()).then_some(seen)
    }

    /// The newest write up to `revision`, a tombstone included.
    pub(crate) fn newest_at(&self, revision: i64) -> Option<&Kept> {
        let writes = self.writes();
        let seen = writes.partition_point(|write| write.main <= revision);
        writes.get(seen.checked_sub(1)?)
    }

    /// The write at exactly this revision.
    pub(crate) fn find(&self, revision: Revision) -> Option<&Kept> {
        let writes = self.writes();
        let found = writes
            .binary_search_by_key(&revision, Kept::revision)
            .ok()?;
        Some(&writes[found])
    }

    /// As [`KeyHistory::find`], to change its location.
    pub(crate) fn find_mut(&mut self, revision: Revision) -> Option<&mut Kept> {
        let writes = match self {
            Self::One(write, _) => std::slice::from_mut(write),
            Self::Many(writes, _) => writes,
        };
        let found = writes
            .binary_search_by_key(&revision, Kept::revision)
            .ok()?;
        Some(&mut writes[found])
    }

    /// Appends a write. The attributes of the one before it, which [`KeyHistory::pop`] wants
    /// back, are the caller's to keep.
    pub(crate) fn push(&mut self, write: Kept, attributes: Attributes) -> Attributes {
        match self {
            Self::One(first, newest) => {
                let before = *newest;
                *self = Self::Many(vec![*first, write], Box::new(attributes));
                before
            }
            Self::Many(writes, newest) => {
                if writes.len() == writes.capacity() {
                    // Doubling would leave up to half of all room unused.
                    writes.reserve_exact(writes.len() / SPARE_PART + 1);
                }
                writes.push(write);
                std::mem::replace(newest, attributes)
            }
        }
    }

    /// Takes the last write back unless it is the only one. `before`: the attributes of the one
    /// before it.
    pub(crate) fn pop(&mut self, before: Attributes) -> Option<Kept> {
        match self {
            Self::One(..) => None,
            Self::Many(writes, newest) => {
                let popped = writes.pop();
                **newest = before;
                self.shrink();
                popped
            }
        }
    }

    /// How many writes, from the oldest on, no read at `revision` or later sees. A tombstone
    /// written at `revision` itself stays until the next compaction, because who watches from
    /// `revision` on must still learn of it.
    pub(crate) fn unseen(&self, revision: i64) -> usize {
        let writes = self.writes();
        let seen = writes.partition_point(|write| write.main <= revision);
        let Some(newest) = seen.checked_sub(1) else {
            return 0;
        };
        let write = &writes[newest];
        if write.is_tombstone() && write.main < revision {
            seen
        } else {
            newest
        }
    }

    /// Drops the oldest `count` writes, but never all.
    pub(crate) fn drop_oldest(&mut self, count: usize) {
        if let Self::Many(writes, _) = self {
            writes.drain(..count.min(writes.len() - 1));
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if let Self::Many(writes, newest) = self {
            match writes[..] {
                [only] => *self = Self::One(only, **newest),
                // A key that was hot once needn't keep its room.
                _ if writes.capacity() > 2 * writes.len() => {
                    writes.shrink_to(writes.len() + writes.len() / SPARE_PART);
                }
                _ => {}
            }
        }
    }
}

/// What a tombstone of `key` weighs, in logical bytes.
pub(crate) fn tombstone_bytes(key: &[u8]) -> u64 {
    key.len() as u64 + WRITE_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Put, Space};

    fn write(main: i64) -> (Kept, Attributes) {
        let record = Record {
            space: Space::Keys,
            key: b"key",
            revision: Revision { main, sub: 0 },
            put: Some(Put {
                create_revision: 1,
                version: main,
                lease: 0,
                value: b"value",
            }),
        };
        let slot = Slot(NonZeroU32::MIN);
        let location = Location::new(slot, 8 * main.unsigned_abs());
        (Kept::new(&record, location), Attributes::new(&record))
    }

    fn history(writes: i64) -> KeyHistory {
        let (first, attributes) = write(1);
        let mut history = KeyHistory::One(first, attributes);
        for main in 2..=writes {
            let (write, attributes) = write(main);
            history.push(write, attributes);
        }
        history
    }

    fn room(history: &KeyHistory) -> usize {
        match history {
            KeyHistory::One(..) => 1,
            KeyHistory::Many(writes, _) => writes.capacity(),
        }
    }

    #[test]
    fn a_key_with_one_write_takes_48_bytes_in_the_index_and_a_further_write_24() {
        assert_eq!(size_of::<Kept>(), 24);
        assert_eq!(size_of::<KeyHistory>(), 48);
    }

    #[test]
    fn a_history_has_little_room_to_spare() {
        for writes in [2, 3, 10, 1_000, 12_345] {
            let room = room(&history(writes));
            assert!(
                room * 8 <= writes as usize * 9 + 8,
                "{room} for {writes} writes"
            );
        }
        let mut history = history(1_000);
        history.drop_oldest(900);
        assert!(room(&history) <= 113, "{}", room(&history));
    }

    #[test]
    fn only_the_newest_write_has_its_attributes_at_hand() {
        let history = history(3);
        let newest = history.at(3).and_then(|seen| seen.attributes);
        assert_eq!(newest, Some(&write(3).1));
        assert_eq!(history.at(2).unwrap().write, &write(2).0);
        assert_eq!(history.at(2).unwrap().attributes, None);
    }

    #[test]
    fn a_write_that_is_taken_back_leaves_the_attributes_of_the_one_before() {
        for writes in [1, 2, 5] {
            let mut history = history(writes);
            let (next, attributes) = write(writes + 1);
            let before = history.push(next, attributes);
            assert_eq!(history.pop(before), Some(next));
            assert_eq!(history.writes().len(), writes as usize);
            assert_eq!(history.newest(), &write(writes).1);
        }
    }

    #[test]
    fn what_stays_of_a_shortened_history_keeps_the_newest_attributes() {
        let mut history = history(9);
        history.drop_oldest(7);
        assert_eq!(history.newest(), &write(9).1);
        history.drop_oldest(1);
        assert!(matches!(history, KeyHistory::One(..)));
        assert_eq!(history.newest(), &write(9).1);
    }
}
