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
    /// Whether a leader has committed an entry of its own term; false elsewhere.
    pub has_committed_in_term: bool,
    /// Committed configuration.
    pub membership: Membership,
    /// A leader's view of the others; empty elsewhere.
    pub progress: BTreeMap<MemberId, PeerProgress>,
    /// To whom leadership is being handed.
    pub transferee: Option<MemberId>,
}
