//! One key's history: every write that compaction has not taken.

use std::num::NonZeroU32;

use crate::record::{Record, record_bytes};

/// What every kept write costs besides its key and value, in logical bytes (revisions, version,
/// lease and index entries). A fixed figure, so that the quota counts the same on every member.
const WRITE_OVERHEAD_BYTES: u64 = 64;

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

/// A write that can still be read: all about it but the value. There may be millions: 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    main: i64,
    pub(crate) create_revision: i64,
    /// 0: a tombstone.
    pub(crate) version: i64,
    pub(crate) lease: i64,
    sub: u32,
    pub(crate) value_bytes: u32,
    pub(crate) location: Location,
}

impl Kept {
    pub(crate) fn new(record: &Record<'_>, location: Location) -> Self {
        let put = record.put.as_ref();
        Self {
            main: record.revision.main,
            sub: record.revision.sub,
            create_revision: put.map_or(0, |put| put.create_revision),
            version: put.map_or(0, |put| put.version),
            lease: put.map_or(0, |put| put.lease),
            value_bytes: u32::try_from(put.map_or(0, |put| put.value.len()))
                .expect("the gate bounds requests far below 4 GiB"),
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
        self.version == 0
    }

    pub(crate) fn logical_bytes(&self, key: &[u8]) -> u64 {
        tombstone_bytes(key) + u64::from(self.value_bytes)
    }

    /// Bytes of its record in the log.
    pub(crate) fn record_bytes(&self, key: &[u8]) -> u64 {
        record_bytes(key.len(), self.value_bytes as usize) as u64
    }
}

/// Most keys have one kept write, which then needs no allocation of its own.
///
/// Invariants:
/// - there is at least one write
/// - revisions rise from one write to the next
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyHistory {
    One(Kept),
    Many(Vec<Kept>),
}

impl KeyHistory {
    /// Every write, oldest first; the first may be unreadable until they are swept.
    pub(crate) fn writes(&self) -> &[Kept] {
        match self {
            Self::One(write) => std::slice::from_ref(write),
            Self::Many(writes) => writes,
        }
    }

    /// The write that a reader at `revision` sees, unless the key is deleted there.
    pub(crate) fn at(&self, revision: i64) -> Option<&Kept> {
        self.newest_at(revision)
            .filter(|write| !write.is_tombstone())
    }

    /// The newest write up to `revision`, a tombstone included.
    pub(crate) fn newest_at(&self, revision: i64) -> Option<&Kept> {
        let writes = self.writes();
        let newest = writes.last().filter(|write| write.main <= revision);
        newest.or_else(|| {
            let seen = writes.partition_point(|write| write.main <= revision);
            writes.get(seen.checked_sub(1)?)
        })
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
            Self::One(write) => std::slice::from_mut(write),
            Self::Many(writes) => writes,
        };
        let found = writes
            .binary_search_by_key(&revision, Kept::revision)
            .ok()?;
        Some(&mut writes[found])
    }

    /// Appends a write.
    pub(crate) fn push(&mut self, write: Kept) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, write]),
            Self::Many(writes) => writes.push(write),
        }
    }

    /// Takes the last write back unless it is the only one.
    pub(crate) fn pop(&mut self) -> Option<Kept> {
        match self {
            Self::One(_) => None,
            Self::Many(writes) => {
                let popped = writes.pop();
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
        if let Self::Many(writes) = self {
            writes.drain(..count.min(writes.len() - 1));
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if let Self::Many(writes) = self {
            match writes[..] {
                [only] => *self = Self::One(only),
                // A key that was hot once needn't keep its room.
                _ if writes.capacity() > 4 * writes.len() => writes.shrink_to(2 * writes.len()),
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

    #[test]
    fn a_key_with_one_write_takes_48_bytes_in_the_index() {
        assert_eq!(size_of::<Kept>(), 48);
        assert_eq!(size_of::<KeyHistory>(), 48);
    }
}
