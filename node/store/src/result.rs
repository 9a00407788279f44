//! What operations answer. Every result carries the revision that etcd puts in its header.

use bytes::Bytes;

/// A key with its value and its place in history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The revision at which the key last came into being.
    pub create_revision: i64,
    /// The revision of its last write.
    pub mod_revision: i64,
    /// The number of writes since it came into being, from 1.
    pub version: i64,
    /// The value; empty where only keys were asked for.
    pub value: Bytes,
    /// The lease it is attached to; 0: none.
    pub lease: i64,
}

/// The answer to a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeResult {
    /// The pairs, in the order asked for.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut the answer.
    pub more: bool,
    /// The number of keys in the range, whatever limit and filters say.
    pub count: i64,
    /// The store's revision when it was read (within a transaction: its own, once it wrote).
    pub revision: i64,
}

/// The answer to a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutResult {
    /// The pair before the put, if asked for and there was one.
    pub prev_kv: Option<KeyValue>,
    /// The revision of the put.
    pub revision: i64,
}

/// The answer to a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRangeResult {
    /// How many keys were deleted.
    pub deleted: i64,
    /// The pairs before the delete, if asked for.
    pub prev_kvs: Vec<KeyValue>,
    /// The store's revision after the delete; unchanged if nothing was deleted.
    pub revision: i64,
}

/// The answer to a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnResult {
    /// Whether the compares held.
    pub succeeded: bool,
    /// One answer for each operation of the branch taken.
    pub responses: Vec<TxnResponseOp>,
    /// The store's revision after the transaction. etcd leaves it 0 in the header of a nested
    /// transaction; so does this.
    pub revision: i64,
}

/// The answer to one operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnResponseOp {
    /// To a range.
    Range(RangeResult),
    /// To a put.
    Put(PutResult),
    /// To a delete.
    DeleteRange(DeleteRangeResult),
    /// To a nested transaction.
    Txn(TxnResult),
}

/// The answer to a [`crate::WriteOp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteResult {
    /// To a put.
    Put(PutResult),
    /// To a delete.
    DeleteRange(DeleteRangeResult),
    /// To a transaction.
    Txn(TxnResult),
    /// Compacted; the revision is the current one, unchanged.
    Compact {
        /// The store's revision.
        revision: i64,
    },
}

impl WriteResult {
    /// The revision for the response header.
    #[must_use]
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(put) => put.revision,
            Self::DeleteRange(delete) => delete.revision,
            Self::Txn(txn) => txn.revision,
            Self::Compact { revision } => *revision,
        }
    }
}
