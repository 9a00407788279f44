//! Snapshots: the log's files as they are, as one stream of bytes.
//!
//! A snapshot pins the segments and how far they are written, so taking one costs nothing, and
//! what is written or rewritten meanwhile doesn't disturb it. All integers are little-endian.
//!
//! ```text
//! offset size
//!      0    8  "rafteryT"
//!      8    4  version of the format: 1
//!     12    4  length of the manifest in bytes
//!     16    8  id of the snapshot: random
//!     24    8  length of the whole stream in bytes
//!     32    4  CRC-32C of bytes 0..32
//!     36    4  zero
//!     40    …  manifest ([`crate::manifest`]; its life is 0), then the files, in its order,
//!              each as long as the manifest says
//! ```
//!
//! The stream travels in chunks, each with its own checksum, which covers the snapshot's id and
//! the offset, too. What the chunks' checksums can't see, the sender's own rot, the receiver
//! finds: it verifies every header and every frame before it takes the snapshot for good.

use std::sync::Arc;

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use raftery_fs::Fs;

use crate::AppliedId;
use crate::error::StoreIoError;
use crate::manifest::{Manifest, Sealed};
use crate::segment::{DATA_START, Segment};
use crate::store::Store;

pub(crate) const MAGIC: &[u8; 8] = b"rafteryT";
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 40;

/// The state as of one entry, to be streamed. Needs no lock on the store, and keeps its files
/// from going away.
pub struct Snapshot<F: Fs> {
    id: u64,
    at: AppliedId,
    size: u64,
    /// Header and manifest.
    head: Bytes,
    files: Vec<(Arc<Segment<F>>, u64)>,
}

/// A piece of a snapshot's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Which snapshot it is of.
    pub snapshot: u64,
    /// Where in the stream it begins, in bytes.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
    /// CRC-32C of snapshot, offset and bytes.
    pub crc: u32,
}

impl SnapshotChunk {
    fn new(snapshot: u64, offset: u64, bytes: Bytes) -> Self {
        let mut chunk = Self {
            snapshot,
            offset,
            bytes,
            crc: 0,
        };
        chunk.crc = chunk.checksum();
        chunk
    }

    pub(crate) fn checksum(&self) -> u32 {
        let crc = crc32c_append(
            crc32c(&self.snapshot.to_le_bytes()),
            &self.offset.to_le_bytes(),
        );
        crc32c_append(crc, &self.bytes)
    }
}

impl<F: Fs> Store<F> {
    /// A snapshot as of the entry applied last. `meta` is the caller's whole state as of it.
    ///
    /// # Errors
    /// When the buffer can't be written, or the system has no randomness.
    pub fn snapshot(&mut self, meta: Bytes) -> Result<Snapshot<F>, StoreIoError> {
        let log = &mut self.log;
        log.flush()?;
        let held = log.order.iter().map(|slot| log.table.get(*slot));
        // The newest segment may be empty, and its header not even whole after a crash.
        let held: Vec<_> = held.filter(|held| held.bytes > DATA_START).collect();
        let manifest = Manifest {
            life: 0,
            revision: self.index.revision,
            compact_revision: self.index.compact_revision,
            applied: log.applied,
            reaches: log.next_sequence,
            next_number: log.newest_number() + 1,
            next_sequence: log.next_sequence,
            segments: held.iter().map(|held| held.sealed()).collect(),
            checkpoint: meta,
        };
        let files = held
            .iter()
            .map(|held| (Arc::clone(&held.segment), held.bytes));
        let id = log
            .fs
            .random()
            .map_err(StoreIoError::io("draw a number in", &log.dir, 0))?;
        Ok(Snapshot::new(id, &manifest, files.collect()))
    }
}

impl<F: Fs> Snapshot<F> {
    fn new(id: u64, manifest: &Manifest, files: Vec<(Arc<Segment<F>>, u64)>) -> Self {
        let encoded = manifest.encode();
        let files_bytes: u64 = manifest
            .segments
            .iter()
            .map(|Sealed { bytes, .. }| bytes)
            .sum();
        let size = (HEADER_BYTES + encoded.len()) as u64 + files_bytes;
        let manifest_bytes = u32::try_from(encoded.len()).expect("a checkpoint fits memory");
        let mut head = Vec::with_capacity(HEADER_BYTES + encoded.len());
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&manifest_bytes.to_le_bytes());
        head.extend_from_slice(&id.to_le_bytes());
        head.extend_from_slice(&size.to_le_bytes());
        head.extend_from_slice(&crc32c(&head).to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&encoded);
        Self {
            id,
            at: manifest.applied,
            size,
            head: Bytes::from(head),
            files,
        }
    }

    /// Tells this snapshot from others: chunks of two can't be mixed.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The last entry that it holds.
    #[must_use]
    pub fn at(&self) -> AppliedId {
        self.at
    }

    /// Length of the stream in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// At most `max` bytes of the stream from `offset` on; empty at its end. Chunks may be asked
    /// for in any order, so a broken stream goes on where the receiver is.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn read_chunk(&self, offset: u64, max: usize) -> Result<SnapshotChunk, StoreIoError> {
        let chunk = |bytes| SnapshotChunk::new(self.id, offset, bytes);
        let head_bytes = self.head.len() as u64;
        if let Some(rest) = head_bytes.checked_sub(offset).filter(|rest| *rest > 0) {
            let start = self.head.len() - length(rest);
            let end = self.head.len().min(start.saturating_add(max));
            return Ok(chunk(self.head.slice(start..end)));
        }
        let mut start = head_bytes;
        for (segment, bytes) in &self.files {
            if offset < start + bytes {
                let at = offset - start;
                let mut data = vec![0; length(bytes - at).min(max)];
                segment.read(at, &mut data)?;
                return Ok(chunk(Bytes::from(data)));
            }
            start += bytes;
        }
        Ok(chunk(Bytes::new()))
    }
}

pub(crate) fn length(bytes: u64) -> usize {
    usize::try_from(bytes).expect("fits the address space")
}
