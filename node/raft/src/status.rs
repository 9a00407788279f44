//! A picture of Raft for everyone else.

use std::collections::BTreeMap;

use crate::{Instant, LogId, LogIndex, MemberId, Membership, Term};

/// What a member is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum RoleKind {
    /// Takes entries from a leader and doesn't vote.
    Learner,
    /// Takes entries from a leader.
    Follower,
    /// Asks whether an election could be won.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// How far a leader knows another member to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerProgress {
    /// Highest index known durable there.
    pub matched: LogIndex,
    /// How it is sent to.
    pub state: PeerState,
    /// It acknowledged up to here and then said that it doesn't hold that: its disk went back,
    /// unless an answer came very late. `None` once it has acknowledged as much again.
    pub lost: Option<LogIndex>,
    /// When it last answered anything; `None` since this leadership began.
    pub last_heard: Option<Instant>,
}

/// How a leader sends to another member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerState {
    /// One append at a time, until it is known where the logs meet.
    Probe,
    /// Entries as they come.
    Replicate,
    /// Nothing but heartbeats: it needs a snapshot. Entries behind `pending` aren't to be dropped
    /// until it has got one, or it will need another.
    Snapshot {
        /// The snapshot holds this entry and maybe more.
        pending: LogIndex,
    },
}

/// How it is known that a member's disk went back to an earlier state (a volume restored from an
/// older copy, or one that lied about its syncs).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rollback {
    /// It acknowledged entries, and its log ends before.
    LogEndsEarly {
        /// The term in which it acknowledged.
        term: Term,
        /// What it acknowledged, which is committed or of the present term.
        acknowledged: LogIndex,
    },
    /// The number of its starts is lower than a peer remembers.
    BootCounterWentBack,
}

/// A picture of Raft.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// This member.
    pub id: MemberId,
    /// What it is.
    pub role: RoleKind,
    /// Its term.
    pub term: Term,
    /// Whom it follows, itself when it leads.
    pub leader: Option<MemberId>,
    /// Highest committed index.
    pub commit: LogIndex,
    /// Highest index applied (as told by [`crate::Raft::on_applied`]).
    pub applied: LogIndex,
    /// What the log was cut behind: its first entry is the next one.
    pub base: LogId,
    /// Last index of the log.
    pub last_index: LogIndex,
    /// The disk lost the middle of the log, and the leader hasn't brought it back yet. Such a
    /// member doesn't campaign, and votes only for those whose log reaches what it lost.
    pub repairing: bool,
    /// The disk went back to an earlier state. Until its end the member neither votes nor
    /// campaigns: it may have forgotten whom it voted for and what it acknowledged. It still
    /// takes entries and acknowledges them.
    pub rolled_back: Option<Rollback>,
    /// Whether a leader has committed an entry of its own term; false elsewhere.
    pub has_committed_in_term: bool,
    /// Committed configuration.
    pub membership: Membership,
    /// A leader's view of the others; empty elsewhere.
    pub progress: BTreeMap<MemberId, PeerProgress>,
    /// As [`crate::Raft::lease_until`].
    pub lease_until: Option<Instant>,
    /// To whom leadership is being handed.
    pub transferee: Option<MemberId>,
}
