//! What goes into a WAL besides entries, and what comes out of one.

use std::fmt;
use std::path::PathBuf;

use raftery_raft::{Entry, HardState, MemberId};

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
    /// Of the last whole batch.
    pub hard_state: HardState,
    /// The whole log, from index 1.
    pub entries: Vec<Entry>,
    /// What was cut.
    pub torn_tail: Option<TornTail>,
}

/// Writes that a crash interrupted: no sync covered them, so nothing in them was ever
/// acknowledged. They are zeroed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where the cut is.
    pub offset: u64,
    /// Bytes from the cut to the last one that was not zero.
    pub bytes: u64,
}
