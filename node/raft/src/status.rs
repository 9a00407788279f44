//! A picture of Raft for everyone else.

use std::collections::BTreeMap;

use crate::{Instant, LogIndex, MemberId, Membership, Term};

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
    /// When it last answered anything; `None` since this leadership began.
    pub last_heard: Option<Instant>,
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
    /// Last index of the log.
    pub last_index: LogIndex,
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
