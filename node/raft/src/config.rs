//! What a member starts from.

use std::time::Duration;

use crate::{Entry, HardState, LogId, LogIndex, MemberId, Membership};

/// How often a leader beats, and how long a follower waits for one. Safety doesn't depend on
/// either: promises alone carry leases (module `lease`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// How often a leader beats.
    pub heartbeat_interval: Duration,
    /// A follower campaigns after a random time in `[election_timeout, 1.5 * election_timeout)`
    /// without a leader, one that did so in vain in `[election_timeout, 2 * election_timeout)`; and
    /// it promises an election timeout to a leader.
    pub election_timeout: Duration,
}

/// Settings of one member; they may differ between members.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This member.
    pub id: MemberId,
    /// What [`Timers::heartbeat_interval`] is at first.
    pub heartbeat_interval: Duration,
    /// What [`Timers::election_timeout`] is at first. It is also how long a leader stays one
    /// without a quorum, and how long it tries to hand over, whatever the timers are by then. At
    /// least five heartbeats.
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
/// The state machine is durable on its own, up to `applied`, and the log is cut behind it: `base`
/// is what stands before the log's first entry. A log that doesn't reach `applied`, or holds an
/// entry of another term there, is taken for empty behind `base = applied`: what is applied was
/// committed, so this is as if a snapshot had been installed.
///
/// The founders of a cluster start from a log of one entry, [`crate::ConfChange::Found`], in
/// term 1 and committed (`term: 1, commit: 1`): every founder writes the same one. A member that
/// joins later starts from nothing.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// What the log was cut behind; index 0: nothing.
    pub base: LogId,
    /// The log, from `base.index + 1`.
    pub entries: Vec<Entry>,
    /// What the state machine holds; not below the base.
    pub applied: LogIndex,
    /// The membership as of `applied`; that of the committed entries after it comes on top.
    pub membership: Membership,
    /// The middle of the log was lost to the disk (a checksum tells), and with it all behind it,
    /// up to this entry. What is left may end with entries that the lost ones had replaced, so
    /// `hard_state.commit` is what was known when they were written; see
    /// [`crate::Status::repairing`].
    pub repair_until: Option<LogId>,
}
