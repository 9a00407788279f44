//! Why an input was refused. The value is unchanged then.

use crate::{LogIndex, MemberId};

/// Why a proposal was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Only the leader proposes.
    #[error("not the leader (leader: {leader:?})")]
    NotLeader {
        /// Who leads, where known.
        leader: Option<MemberId>,
    },
    /// Leadership is being handed over; ask again shortly.
    #[error("leadership is being transferred to {to}")]
    Transferring {
        /// The next leader.
        to: MemberId,
    },
    /// Too many bytes wait to be committed.
    #[error("{bytes} uncommitted bytes, at most {bytes_max} may wait")]
    TooManyUncommitted {
        /// Bytes that wait.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A change of membership waits to be committed; one at a time.
    #[error("a change of membership at index {index} is not committed yet")]
    ConfChangePending {
        /// Where it stands.
        index: LogIndex,
    },
    /// A new leader changes membership only after an entry of its term is committed
    /// (the single-server change bug of 2015).
    #[error("no entry of this term is committed yet")]
    NothingCommittedInTerm,
    /// The caller planned against another configuration.
    #[error("the configuration is that of index {actual}, not {expected}")]
    ConfigurationMoved {
        /// What the caller expected.
        expected: LogIndex,
        /// What is.
        actual: LogIndex,
    },
    /// The change makes no sense for the present configuration.
    #[error("invalid change of membership: {0}")]
    InvalidConfChange(ConfChangeError),
}

/// Why a change of membership makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfChangeError {
    /// Already a member.
    #[error("{0} is a member already")]
    AlreadyMember(MemberId),
    /// Removed IDs never come back.
    #[error("{0} was removed, and removed members never come back")]
    WasRemoved(MemberId),
    /// Not a member.
    #[error("{0} is not a member")]
    NotMember(MemberId),
    /// Only learners are promoted.
    #[error("{0} is not a learner")]
    NotLearner(MemberId),
    /// Not caught up enough to be promoted (etcd: 90 % of the leader's match).
    #[error("{0} has not caught up with the leader")]
    NotCaughtUp(MemberId),
    /// The last voter can't leave.
    #[error("{0} is the last voter")]
    LastVoter(MemberId),
    /// Nobody would vote afterwards.
    #[error("no voter would be left")]
    NoVoterLeft,
    /// Who loses its vote may be told so, and be gone, before the others know that the joint
    /// configuration was left: those who stay must be able to go on by themselves.
    #[error(
        "{lose} of {voters} voters would lose their vote at once: in one change at most a minority \
         may, so do it in two"
    )]
    TooManyLoseVote {
        /// Voters that would be removed or demoted.
        lose: usize,
        /// Voters that there are.
        voters: usize,
    },
    /// Only voters are demoted.
    #[error("{0} is not a voter")]
    NotVoter(MemberId),
    /// One change of each member at a time.
    #[error("{0} is changed twice")]
    Duplicate(MemberId),
    /// Several changes of which there is none.
    #[error("nothing changes")]
    Empty,
    /// The old half must be left first.
    #[error("the configuration is joint, and no other change follows until that is left")]
    Joint,
    /// There is no old half to leave.
    #[error("the configuration is not joint")]
    NotJoint,
    /// A log is founded once, by its first entry.
    #[error("the cluster is founded already")]
    AlreadyFounded,
}

/// Why a linearizable read was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader is known to ask.
    #[error("no leader")]
    NoLeader,
    /// The leader hasn't committed an entry of its term yet (§6.4); ask again shortly.
    #[error("the leader has not committed an entry of its term yet")]
    NothingCommittedInTerm,
    /// Too many reads wait already; ask again shortly.
    #[error("{waiting_max} reads wait already")]
    TooManyWaiting {
        /// The limit.
        waiting_max: usize,
    },
}

/// Why leadership can't be handed to a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only the leader hands over.
    #[error("not the leader (leader: {leader:?})")]
    NotLeader {
        /// Who leads, where known.
        leader: Option<MemberId>,
    },
    /// Only voters can lead; while joint, only those of the new half are handed to.
    #[error("{0} is not a voter")]
    NotVoter(MemberId),
}

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// For someone else: an old address, or a mix-up.
    #[error("message for {to}, this is {me}")]
    WrongReceiver {
        /// Whom it was for.
        to: MemberId,
        /// Who this is.
        me: MemberId,
    },
    /// From a member that was removed; it must be told so.
    #[error("{from} was removed from the cluster")]
    Removed {
        /// The sender.
        from: MemberId,
    },
    /// The message contradicts the protocol: entries not contiguous, an append below the
    /// commit index that conflicts, and the like.
    #[error("malformed message from {from}: {what}")]
    Malformed {
        /// The sender.
        from: MemberId,
        /// What is wrong.
        what: &'static str,
    },
}
