//! A picture of Raft for everyone else.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Instant, LogIndex, MemberId, Term};

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

/// Who belongs to the cluster, as of the committed configuration `index`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Index of the entry that made this configuration; 0 before founding.
    pub index: LogIndex,
    /// Members that vote.
    pub voters: BTreeSet<MemberId>,
    /// Members that only receive.
    pub learners: BTreeSet<MemberId>,
    /// Members that left; they never come back.
    pub removed: BTreeSet<MemberId>,
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
    /// To whom leadership is being handed.
    pub transferee: Option<MemberId>,
}
