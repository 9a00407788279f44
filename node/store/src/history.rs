//! One key's history: every write that compaction has not taken.

use bytes::Bytes;

use crate::result::KeyValue;

/// What every kept write costs besides its key and value, in logical bytes (revisions, version,
/// lease and index entries). A fixed figure, so that the quota counts the same on every member.
const WRITE_OVERHEAD_BYTES: u64 = 64;

/// A place in the order of all writes: `sub` counts the writes within one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision {
    pub(crate) main: i64,
    pub(crate) sub: i64,
}

/// The state that one write left the key in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    Put {
        create_revision: i64,
        version: i64,
        value: Bytes,
        lease: i64,
    },
    Tombstone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Write {
    revision: Revision,
    written: Written,
}

impl Write {
    fn logical_bytes(&self, key: &Bytes) -> u64 {
        let value_bytes = match &self.written {
            Written::Put { value, .. } => value.len() as u64,
            Written::Tombstone => 0,
        };
        key.len() as u64 + value_bytes + WRITE_OVERHEAD_BYTES
    }
}

/// Invariants:
/// - revisions rise from one write to the next
/// - the first write is not a tombstone older than the compaction revision
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeyHistory {
    writes: Vec<Write>,
}

impl KeyHistory {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The pair as a reader at `revision` sees it.
    pub(crate) fn at(&self, key: &Bytes, revision: i64) -> Option<KeyValue> {
        let seen = self
            .writes
            .partition_point(|write| write.revision.main <= revision);
        let write = self.writes.get(seen.checked_sub(1)?)?;
        match &write.written {
            Written::Put {
                create_revision,
                version,
                value,
                lease,
            } => Some(KeyValue {
                key: key.clone(),
                create_revision: *create_revision,
                mod_revision: write.revision.main,
                version: *version,
                value: value.clone(),
                lease: *lease,
            }),
            Written::Tombstone => None,
        }
    }

    /// Whether a reader at `revision` sees the key.
    pub(crate) fn is_live_at(&self, revision: i64) -> bool {
        let seen = self
            .writes
            .partition_point(|write| write.revision.main <= revision);
        seen.checked_sub(1)
            .is_some_and(|at| self.writes[at].written != Written::Tombstone)
    }

    /// Appends a write; returns its logical bytes.
    pub(crate) fn push(&mut self, key: &Bytes, revision: Revision, written: Written) -> u64 {
        let write = Write { revision, written };
        let logical_bytes = write.logical_bytes(key);
        self.writes.push(write);
        logical_bytes
    }

    /// Takes the last write back; returns its logical bytes.
    pub(crate) fn pop(&mut self, key: &Bytes) -> u64 {
        self.writes
            .pop()
            .map_or(0, |write| write.logical_bytes(key))
    }

    /// Drops what no read at `revision` or later sees; returns the logical bytes freed. A
    /// tombstone written at `revision` itself stays until the next compaction, because who
    /// watches from `revision` on must still learn of it.
    pub(crate) fn compact(&mut self, key: &Bytes, revision: i64) -> u64 {
        let seen = self
            .writes
            .partition_point(|write| write.revision.main <= revision);
        let Some(newest) = seen.checked_sub(1) else {
            return 0;
        };
        let write = &self.writes[newest];
        let is_buried = write.written == Written::Tombstone && write.revision.main < revision;
        let dropped = if is_buried { seen } else { newest };
        self.writes
            .drain(..dropped)
            .map(|write| write.logical_bytes(key))
            .sum()
    }

    pub(crate) fn logical_bytes(&self, key: &Bytes) -> u64 {
        self.writes
            .iter()
            .map(|write| write.logical_bytes(key))
            .sum()
    }

    /// Every kept write, oldest first.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (Revision, &Written)> {
        self.writes
            .iter()
            .map(|write| (write.revision, &write.written))
    }
}
