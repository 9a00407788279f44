//! Snapshots on their way.

use std::fmt;

use raftery_fs::MemFs;
use raftery_raft::{Instant, LogId, SnapshotMeta, Term};
use raftery_store::{ReceivedSnapshot, Snapshot, SnapshotReceiver};

/// What its sender knows of it.
pub(crate) struct Sending {
    pub(crate) snapshot: Snapshot<MemFs>,
    pub(crate) meta: SnapshotMeta,
    /// Of the leader that began it.
    pub(crate) term: Term,
    /// Chunks that came to nothing.
    pub(crate) failures: u32,
}

/// What its receiver knows of it.
pub(crate) struct Receiving {
    /// Which snapshot.
    pub(crate) id: u64,
    /// When the last chunk came.
    pub(crate) heard: Instant,
    pub(crate) receiver: SnapshotReceiver<MemFs>,
}

/// Whole, verified and durable.
pub(crate) struct Received {
    pub(crate) last: LogId,
    pub(crate) snapshot: ReceivedSnapshot<MemFs>,
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sending").field(&self.meta).finish()
    }
}

impl fmt::Debug for Receiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiving").field(&self.id).finish()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Received").field(&self.last).finish()
    }
}
