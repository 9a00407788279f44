//! What goes into a WAL besides entries, and what comes out of one.

use std::fmt;
use std::path::PathBuf;

use raftery_raft::{Entry, HardState, LogId, MemberId};

use crate::WalError;
use crate::segment::{SEGMENT_BYTES_MIN, SEGMENT_MULTIPLE};

/// Whose log this is; in every segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalIdentity {
    /// The cluster.
    pub cluster_id: u64,
    /// Its unbroken history.
    pub lineage: u64,
    /// The member.
    pub member_id: MemberId,
}

impl fmt::Display for WalIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster_id,
            lineage,
            member_id,
        } = self;
        write!(
            f,
            "member {member_id} of cluster {cluster_id:x}, lineage {lineage:x}"
        )
    }
}

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Size of new segments in bytes: a multiple of 4096, at least 16 KiB. Default 64 MiB.
    pub segment_bytes: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
        }
    }
}

impl WalOptions {
    pub(crate) fn validate(self) -> Result<Self, WalError> {
        let Self {
            segment_bytes: bytes,
        } = self;
        if bytes < SEGMENT_BYTES_MIN || !bytes.is_multiple_of(SEGMENT_MULTIPLE) {
            let (multiple, bytes_min) = (SEGMENT_MULTIPLE, SEGMENT_BYTES_MIN);
            return Err(WalError::SegmentBytes {
                bytes,
                multiple,
                bytes_min,
            });
        }
        Ok(self)
    }
}

/// What was found on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Whose log it is. The caller compares it with who it is.
    pub identity: WalIdentity,
    /// Of the last whole batch; while a repair is under way never less than what was promised.
    /// The commit index is not beyond the entries then.
    pub hard_state: HardState,
    /// What the log begins behind; zero when it is whole.
    pub base: LogId,
    /// The log, from the index behind `base`.
    pub entries: Vec<Entry>,
    /// The entry up to which this member once acknowledged a log that was damaged since. Until
    /// its log reaches that again, it votes only for candidates whose log does, and doesn't
    /// campaign.
    pub repair_until: Option<LogId>,
    /// What was cut.
    pub torn_tail: Option<TornTail>,
}

/// Writes that a crash interrupted: no sync covered them, so nothing in them was ever
/// acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where the cut is.
    pub offset: u64,
    /// Bytes from the cut to the end of the last frame that could be told for one.
    pub bytes: u64,
}

/// A log whose middle can't be read, while something valid behind says how it ended.
#[derive(Debug, thiserror::Error)]
#[error("{cause}; the log can be repaired: it holds all up to {last} and ended at {repair_until}")]
pub struct Damage {
    /// What is wrong where.
    #[source]
    pub cause: WalError,
    /// Whose log it is.
    pub identity: WalIdentity,
    /// Term and vote that the member is bound to. The commit index is not beyond `last`.
    pub hard_state: HardState,
    /// What the readable part begins behind.
    pub base: LogId,
    /// Where the readable part ends.
    pub last: LogId,
    /// Where the log ended: the highest entry that may have been acknowledged.
    pub repair_until: LogId,
}
