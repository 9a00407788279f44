//! Batches as they are kept: the newest in memory, the others in blocks on disk.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::batch::{Chain, LedgerBatch, LedgerRow};

/// A batch in memory: encoded as in the log, which takes a fifth of the room.
///
/// Invariant: `batch` can be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredRow", try_from = "StoredRow")]
pub(super) struct KeptRow {
    pub(super) index: u64,
    /// The hash of all batches before it.
    pub(super) before: Chain,
    /// Of the batch, for who looks for a time.
    pub(super) at_unix_ms: u64,
    pub(super) batch: Arc<[u8]>,
}

/// A batch on disk.
#[derive(Serialize, Deserialize)]
struct StoredRow {
    index: u64,
    before: Chain,
    batch: Arc<[u8]>,
}

impl From<KeptRow> for StoredRow {
    fn from(row: KeptRow) -> Self {
        Self {
            index: row.index,
            before: row.before,
            batch: row.batch,
        }
    }
}

impl TryFrom<StoredRow> for KeptRow {
    type Error = postcard::Error;

    fn try_from(stored: StoredRow) -> Result<Self, postcard::Error> {
        let batch: LedgerBatch = postcard::from_bytes(&stored.batch)?;
        Ok(Self {
            index: stored.index,
            before: stored.before,
            at_unix_ms: batch.at_unix_ms,
            batch: stored.batch,
        })
    }
}

/// What a block on disk says.
pub(super) fn encode_block(rows: &[KeptRow]) -> Vec<u8> {
    postcard::to_stdvec(rows).expect("numbers and lists always encode")
}

/// When the batches of a block on disk were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) from_unix_ms: u64,
    pub(super) until_unix_ms: u64,
}

impl Block {
    pub(super) fn of(rows: &[KeptRow]) -> Self {
        let times = || rows.iter().map(|row| row.at_unix_ms);
        Self {
            from_unix_ms: times().min().unwrap_or_default(),
            until_unix_ms: times().max().unwrap_or_default(),
        }
    }
}

/// Batches of a ledger, oldest first; those on disk are only named.
#[must_use = "they must be loaded"]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// Numbers of blocks, and which of their rows.
    pub(super) blocks: Vec<(u64, Range<usize>)>,
    pub(super) open: Vec<KeptRow>,
}

impl Rows {
    /// Numbers of the blocks on disk that are needed.
    pub fn blocks(&self) -> impl Iterator<Item = u64> {
        self.blocks.iter().map(|(number, _)| *number)
    }

    /// Reads what is on disk; `block` gives what a block says, by its number.
    ///
    /// # Errors
    /// Those of `block`.
    pub fn load<E>(self, mut block: impl FnMut(u64) -> Result<Bytes, E>) -> Result<LoadedRows, E> {
        let blocks = self.blocks.into_iter();
        let blocks = blocks.map(|(number, rows)| Ok((block(number)?, rows)));
        Ok(LoadedRows {
            blocks: blocks.collect::<Result<_, E>>()?,
            open: self.open,
        })
    }

    /// They, and others that come after them.
    pub(super) fn append(&mut self, other: Self) {
        self.blocks.extend(other.blocks);
        self.open.extend(other.open);
    }
}

/// A block of the ledger isn't one: another version's, or the disk's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a block of the ledger can't be understood: {0}")]
pub struct BlockError(String);

impl From<postcard::Error> for BlockError {
    fn from(error: postcard::Error) -> Self {
        Self(error.to_string())
    }
}

/// Batches of a ledger in memory.
#[must_use = "they must be decoded"]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadedRows {
    blocks: Vec<(Bytes, Range<usize>)>,
    open: Vec<KeptRow>,
}

impl LoadedRows {
    /// To be read. Takes some microseconds for each, and no ledger: nobody needs to be kept from it
    /// for that.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn decode(&self) -> Result<Stretch, BlockError> {
        let mut stretch = Stretch::default();
        for (bytes, rows) in &self.blocks {
            let block: Vec<StoredRow> = postcard::from_bytes(bytes)?;
            let rows = block.get(rows.clone());
            let rows = rows.ok_or_else(|| BlockError(format!("it has {} rows", block.len())))?;
            for row in rows {
                stretch.push(row.index, row.before, &row.batch)?;
            }
        }
        for row in &self.open {
            stretch.push(row.index, row.before, &row.batch)?;
        }
        Ok(stretch)
    }
}

/// Batches of a ledger to be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stretch {
    /// The hash of all batches before the first of these; `None` if there is none.
    pub chain_before: Option<Chain>,
    /// They, oldest first.
    pub rows: Vec<LedgerRow>,
}

impl Stretch {
    fn push(&mut self, index: u64, before: Chain, batch: &[u8]) -> Result<(), postcard::Error> {
        self.chain_before.get_or_insert(before);
        self.rows.push(LedgerRow {
            index,
            chain: before.after_encoded(index, batch),
            batch: Arc::new(postcard::from_bytes(batch)?),
        });
        Ok(())
    }
}
