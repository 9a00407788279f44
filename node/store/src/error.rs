//! What the gate and the state machine refuse.

/// Why the state machine refused an operation. Deterministic: every member that applies the same
/// entry answers the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// `ignore_value` or `ignore_lease` was given for a key that doesn't exist.
    #[error("key not found")]
    KeyNotFound,
    /// The operation names a lease that doesn't exist.
    #[error("requested lease {lease} not found")]
    LeaseNotFound {
        /// The lease that was asked for.
        lease: i64,
    },
    /// The revision asked for is older than what compaction left.
    #[error("revision {requested} has been compacted (compact revision {compact_revision})")]
    Compacted {
        /// The revision that was asked for.
        requested: i64,
        /// The oldest revision that can still be read.
        compact_revision: i64,
    },
    /// The revision asked for lies in the future.
    #[error("revision {requested} is a future revision (current revision {current_revision})")]
    FutureRevision {
        /// The revision that was asked for.
        requested: i64,
        /// The newest revision.
        current_revision: i64,
    },
    /// A transaction that writes was given to [`crate::Store::read_txn`].
    #[error("a transaction that writes was handed to the read path")]
    WriteInReadTxn,
}

/// Why a request was refused before it reached the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The key is empty.
    #[error("key is not provided")]
    EmptyKey,
    /// `ignore_value` came together with a value.
    #[error("value is provided")]
    ValueProvided,
    /// `ignore_lease` came together with a lease.
    #[error("lease is provided")]
    LeaseProvided,
    /// More compares or operations than the limit; nested transactions have what their parents
    /// left.
    #[error("too many operations in txn request")]
    TooManyOps,
    /// Two puts, or a put and a delete, of one transaction meet in one key.
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or sort target that the API doesn't define.
    #[error("invalid sort option")]
    InvalidSortOption,
    /// An operation of a transaction says nothing; etcd's answer is "key not found".
    #[error("key not found")]
    MissingOperation,
}
