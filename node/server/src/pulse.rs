//! What every request looks at, readable without a lock or a copy.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use raftery_raft::{LogIndex, MemberId, RoleKind, Status};

use crate::cluster_version::ClusterVersion;

/// The few numbers that each request needs. The driver writes role, leader and term, the apply
/// task the rest; a reader may see the one before the other, as it may with any picture that is
/// old by the time it is looked at.
#[derive(Debug, Default)]
pub struct Pulse {
    is_learner: AtomicBool,
    /// 0: none is known.
    leader: AtomicU64,
    term: AtomicU64,
    /// Where the log ends.
    last_index: AtomicU64,
    is_open: AtomicBool,
    revision: AtomicI64,
    /// Logical bytes of the store.
    logical_bytes: AtomicU64,
    cluster_version: AtomicU32,
    /// The disk has no room.
    is_full: AtomicBool,
}

impl Pulse {
    /// Role, leader or term changed.
    pub fn set_raft(&self, status: &Status) {
        self.is_learner
            .store(status.role == RoleKind::Learner, Ordering::Relaxed);
        self.leader
            .store(status.leader.map_or(0, |id| id.0), Ordering::Relaxed);
        self.term.store(status.term.0, Ordering::Relaxed);
    }

    /// The log grew or was cut. Told before anything that was appended can be acknowledged.
    pub fn set_last_index(&self, last_index: LogIndex) {
        self.last_index.store(last_index.0, Ordering::Release);
    }

    /// Where the log ends: all that this member acknowledged is at or before.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.last_index.load(Ordering::Acquire))
    }

    /// Entries were applied.
    pub fn set_applied(&self, is_open: bool, revision: i64, logical_bytes: u64) {
        self.logical_bytes.store(logical_bytes, Ordering::Relaxed);
        self.is_open.store(is_open, Ordering::Relaxed);
        self.revision.store(revision, Ordering::Relaxed);
    }

    /// Set before anyone is spoken to, and when it is raised.
    pub fn set_cluster_version(&self, version: ClusterVersion) {
        self.cluster_version.store(version.0, Ordering::Relaxed);
    }

    /// What the cluster goes by.
    #[must_use]
    pub fn cluster_version(&self) -> ClusterVersion {
        ClusterVersion::from_wire(self.cluster_version.load(Ordering::Relaxed))
    }

    /// The disk is full, or has room again.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// The disk has no room: clients' writes are refused, and this member had better not lead.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// This member only receives the log.
    #[must_use]
    pub fn is_learner(&self) -> bool {
        self.is_learner.load(Ordering::Relaxed)
    }

    /// Who leads, where known.
    #[must_use]
    pub fn leader(&self) -> Option<MemberId> {
        let leader = self.leader.load(Ordering::Relaxed);
        (leader != 0).then_some(MemberId(leader))
    }

    /// This member's term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Relaxed)
    }

    /// Clients are served.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// What the store's kept writes weigh.
    #[must_use]
    pub fn logical_bytes(&self) -> u64 {
        self.logical_bytes.load(Ordering::Relaxed)
    }

    /// The store's newest revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision.load(Ordering::Relaxed)
    }
}
