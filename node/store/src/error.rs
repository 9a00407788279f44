//! What the gate and the state machine refuse, and what goes wrong with files.

use std::io;
use std::path::{Path, PathBuf};

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

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The request asks for what the state doesn't have: the caller is told.
    #[error(transparent)]
    Refused(#[from] StoreError),
    /// The log can't be read: the node can't serve.
    #[error(transparent)]
    Io(#[from] StoreIoError),
}

/// What goes wrong with the revision log's files. The state in memory is as it was before the
/// call; a caller that can't go on ends the process.
#[derive(Debug, thiserror::Error)]
pub enum StoreIoError {
    /// The file system refused something.
    #[error("{action} {} at offset {offset}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Where in the file, in bytes; 0 where there is no such place.
        offset: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A sync failed: nothing is known about what was written since the one before. Never
    /// retried.
    #[error("sync {}: {source}; it is not retried, unsynced data may be lost", path.display())]
    Sync {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Bytes that were durable are not what was written: a checksum fails, a file is short or
    /// gone. Nothing was changed on disk. The member must be replaced.
    #[error("{}: damaged at offset {offset}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// What doesn't hold.
        reason: &'static str,
    },
    /// Written by a version that knows more than this one. Never skipped.
    #[error("{}: offset {offset}: {what} {value} is unknown to this version", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u32,
    },
    /// There is a store already.
    #[error("{}: there is a store already", dir.display())]
    Exists {
        /// Where.
        dir: PathBuf,
    },
    /// An earlier sync or manifest failed; the files are of no more use to this process.
    #[error("the store's files failed before")]
    Failed,
}

impl StoreIoError {
    /// Whether what was durable is damaged: a restart doesn't help.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// Whether the disk was full. What failed had not happened then, and may be tried again.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: &Path,
        offset: u64,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            offset,
            source,
        }
    }

    pub(crate) fn sync(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Sync { path, source }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, reason: &'static str) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            offset,
            reason,
        }
    }
}

/// Why a snapshot isn't taken. Nothing of the live state has changed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A chunk isn't what the sender sent.
    #[error("snapshot chunk at offset {offset}: the checksum doesn't hold")]
    Checksum {
        /// Where in the stream, in bytes.
        offset: u64,
    },
    /// A chunk of another snapshot than those before.
    #[error("snapshot chunk of snapshot {found:016x}, not of {expected:016x}")]
    OtherSnapshot {
        /// The snapshot that the first chunk was of.
        expected: u64,
        /// The one that this chunk is of.
        found: u64,
    },
    /// A chunk that isn't the next one.
    #[error("snapshot chunk at offset {found} instead of {expected}")]
    Offset {
        /// How far the stream is.
        expected: u64,
        /// Where the chunk begins.
        found: u64,
    },
    /// The stream ended too early.
    #[error("snapshot truncated: {received} bytes of {}", size.map_or("unknown".to_owned(), |size| size.to_string()))]
    Truncated {
        /// Bytes that came.
        received: u64,
        /// Bytes that it has; `None`: that didn't come either.
        size: Option<u64>,
    },
    /// The stream makes no sense.
    #[error("not a snapshot: {0}")]
    Malformed(&'static str),
    /// Written by a version that knows more than this one.
    #[error("snapshot format {0} is unknown to this version")]
    Version(u32),
    /// What was sent is damaged: the sender's own files are.
    #[error("the snapshot is damaged: {0}")]
    Damaged(#[source] StoreIoError),
    /// This side's files.
    #[error(transparent)]
    Io(#[from] StoreIoError),
}
