//! What a member starts from.

use std::time::Duration;

use crate::{Entry, HardState, MemberId};

/// Settings of one member; they may differ between members.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This member.
    pub id: MemberId,
    /// How often a leader beats.
    pub heartbeat_interval: Duration,
    /// A follower campaigns after a random time in `[election_timeout, 2 * election_timeout)`
    /// without a leader. At least five heartbeats.
    pub election_timeout: Duration,
    /// The longest promise given and taken, and the wait after a start:
    /// [`crate::PROMISE_MAX`]. Zero switches promises, leases and the wait off, which is for
    /// comparing with engines that have none.
    pub promise_max: Duration,
    /// Whether a leader serves reads on its lease; otherwise a heartbeat round confirms each.
    pub lease_reads: bool,
    /// Seed of the election jitter and of names on the wire: another one in each life of the
    /// process.
    pub seed: u64,
}

/// What was found on disk. All of it is durable.
///
/// The founders of a cluster start from a log of one entry, [`crate::ConfChange::Found`], in
/// term 1 and committed (`term: 1, commit: 1`): every founder writes the same one. A member that
/// joins later starts from nothing.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// The whole log, from index 1.
    pub entries: Vec<Entry>,
}
