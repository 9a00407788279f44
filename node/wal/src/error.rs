//! What goes wrong with a write-ahead log.

use std::io;
use std::path::{Path, PathBuf};

use raftery_raft::LogIndex;

use crate::{Damage, WalIdentity};

/// Why the WAL can't go on. None of them is retried: the process ends, or repairs the log.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The file system refused something.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A sync failed: nothing is known about what was written since the one before.
    #[error("sync {}: {source}; it is not retried, unsynced data may be lost", path.display())]
    Sync {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Acknowledged data is damaged, but it is known where the log ended and what was voted:
    /// [`crate::Wal::begin_repair`] starts a log that the leader can complete. Nothing was
    /// changed on disk.
    #[error("{0}")]
    Repairable(#[source] Box<Damage>),
    /// Acknowledged data is damaged, and nothing valid says where the log ended: the member
    /// must come back under a new ID. Also the cause in [`WalError::Repairable`]. Nothing was
    /// changed on disk.
    #[error(
        "{}: damaged at offset {offset}: frame {sequence} was durable, a later header \
         vouches for all up to {watermark}; nothing was cut", file.display()
    )]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the bad frame begins.
        offset: u64,
        /// Number of the bad frame.
        sequence: u64,
        /// The highest frame known durable.
        watermark: u64,
    },
    /// The lowest segment's first frame is bad. It was durable before the segment became the
    /// lowest. Nothing was changed on disk.
    #[error("{}: damaged at offset 4096: no log begins with that; nothing was cut", file.display())]
    FirstFrame {
        /// The segment.
        file: PathBuf,
    },
    /// A segment has no valid header. It had one before it got its name, so this is damage,
    /// never a torn write. Nothing was changed on disk.
    #[error("{}: damaged at offset 0: {reason}; nothing was cut", file.display())]
    SegmentHeader {
        /// The segment.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A segment is shorter or longer than its header says. Nothing was changed on disk.
    #[error("{}: damaged at offset {found}: {expected} bytes long once; nothing was cut", file.display())]
    SegmentLength {
        /// The segment.
        file: PathBuf,
        /// Bytes that it must have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A segment is not there although others say that it was.
    #[error("{}: missing; nothing was cut", file.display())]
    SegmentMissing {
        /// The segment.
        file: PathBuf,
    },
    /// A segment of another cluster, lineage or member.
    #[error("{}: belongs to {found}, not to {expected}", file.display())]
    Foreign {
        /// The segment.
        file: PathBuf,
        /// Whom the first segment belongs to.
        expected: WalIdentity,
        /// Whom this one belongs to.
        found: WalIdentity,
    },
    /// Written by a version that knows more than this one. Never skipped.
    #[error("{}: offset {offset}: {what} {value} is unknown to this version", file.display())]
    Unsupported {
        /// The segment.
        file: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u32,
    },
    /// Checksums hold, contents contradict each other.
    #[error("{}: offset {offset}: {reason}", file.display())]
    Malformed {
        /// The segment.
        file: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// The contradiction.
        reason: &'static str,
    },
    /// Entries that don't follow the log, or each other.
    #[error("entry {index} can't follow {last}")]
    NotContiguous {
        /// Index of the entry.
        index: LogIndex,
        /// The last index before it.
        last: LogIndex,
    },
    /// An entry has more bytes than a frame can hold.
    #[error("entry {index} has {bytes} bytes, at most {bytes_max} fit a frame")]
    EntryTooLarge {
        /// Index of the entry.
        index: LogIndex,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Segment sizes are multiples of a page, and not tiny.
    #[error("segments of {bytes} bytes: must be a multiple of {multiple}, at least {bytes_min}")]
    SegmentBytes {
        /// The size asked for.
        bytes: u64,
        /// Must divide it.
        multiple: u64,
        /// The smallest.
        bytes_min: u64,
    },
    /// There is nothing to repair.
    #[error("{}: the write-ahead log isn't damaged in a way that can be repaired", dir.display())]
    NotRepairable {
        /// Where.
        dir: PathBuf,
    },
    /// There is a WAL already.
    #[error("{}: there is a write-ahead log already", dir.display())]
    Exists {
        /// Where.
        dir: PathBuf,
    },
    /// An earlier call failed; this WAL is of no more use.
    #[error("the write-ahead log failed before")]
    Failed,
}

impl WalError {
    /// Whether the disk was full. What failed had not happened then, and may be tried again.
    pub(crate) fn is_out_of_space(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn sync(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Sync { path, source }
    }
}
