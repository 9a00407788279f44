//! Why a client's request failed, in the node's own terms. `grpc::status` is the one table
//! that turns these into etcd's codes and strings.

use raftery_raft::{ConfChangeError, MemberId};
use raftery_store::{ReadError, RequestError as InvalidRequest, StoreError};

use crate::cluster_version::ClusterVersion;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Refused at the gate: the request makes no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// Refused by the state machine, on every member alike.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is as large as it may get, or a disk is full: writes that add more must wait.
    #[error("no space: delete and compact, or raise the quota")]
    NoSpace,
    /// A value can't be read from this member's disk.
    #[error("this member can't read its store: {0}")]
    Unreadable(String),
    /// The encoded request is larger than the limit.
    #[error("request of {bytes} bytes, at most {bytes_max} are taken")]
    TooLarge {
        /// Bytes of the request.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Too much waits to be committed or applied; try again later.
    #[error("too many requests wait already")]
    TooManyRequests,
    /// No leader is known.
    #[error("no leader")]
    NoLeader,
    /// The leader changed while the request was under way. A write may or may not have been
    /// applied.
    #[error("leader changed")]
    LeaderChanged,
    /// Nothing was heard in time. A write may or may not have been applied.
    #[error("request timed out")]
    TimedOut,
    /// The node is going down.
    #[error("server stopped")]
    Stopped,
    /// The cluster isn't open for clients yet (it is being founded), or this node has no
    /// identity yet.
    #[error("the cluster is being founded and not open for clients yet")]
    NotOpen,
    /// This member is a learner, which serves only serializable reads and its status.
    #[error("rpc not supported for learner")]
    Learner,
    /// Only the leader can do this.
    #[error("not leader (leader: {leader:?})")]
    NotLeader {
        /// Who leads, where known.
        leader: Option<MemberId>,
    },
    /// The target of a transfer isn't a voter.
    #[error("{0} is not a voter")]
    BadTransferee(MemberId),
    /// A change of membership was refused.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The leader refused what this member sent on to it: its code and message, as a client
    /// of its own would see them.
    #[error("{message}")]
    FromLeader {
        /// gRPC code.
        code: i32,
        /// Message.
        message: String,
    },
}

impl From<ReadError> for RequestError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(refusal) => refusal.into(),
            ReadError::Io(error) => Self::Unreadable(error.to_string()),
        }
    }
}

/// Why a change of membership was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Raft refused it for what the configuration is.
    #[error(transparent)]
    Conf(#[from] ConfChangeError),
    /// Another member has one of these peer URLs.
    #[error("peer URL {0} belongs to a member already")]
    PeerUrlTaken(String),
    /// Not URLs of the form `http://host:port`.
    #[error("{0:?} is not a peer URL (http://host:port)")]
    InvalidUrl(String),
    /// A forwarded change that this version doesn't understand.
    #[error("malformed change of membership: {0}")]
    Malformed(String),
    /// One change at a time, and none before a new leader has committed an entry.
    #[error("another change of membership is under way")]
    Busy,
    /// The caller planned against another configuration.
    #[error("the configuration is that of index {actual}, not {expected}")]
    ConfigurationMoved {
        /// What the caller expected.
        expected: u64,
        /// What is.
        actual: u64,
    },
    /// Too few active voters: the change could cost the quorum.
    #[error("not enough started members: {active} of {voters} voters are active")]
    Unhealthy {
        /// Voters that answered within an election timeout.
        active: usize,
        /// All voters.
        voters: usize,
    },
    /// Some member may not understand this kind of change.
    #[error(
        "this change needs cluster version {needed}, and the cluster goes by {applied}: it is \
         raised when every member supports it"
    )]
    ClusterVersion {
        /// What the change needs.
        needed: ClusterVersion,
        /// What the cluster goes by.
        applied: ClusterVersion,
    },
    /// Another learner must be promoted first.
    #[error("too many learner members in cluster")]
    TooManyLearners,
    /// Nobody added a member with these URLs.
    #[error("no member was added with the peer URLs {urls}: add it first (etcdctl member add)")]
    NotAdded {
        /// The URLs.
        urls: String,
    },
    /// The ID is bound to another disk; a blank disk needs an ID of its own.
    #[error("member {id} has another disk already; remove it and add a new member for this one")]
    IncarnationTaken {
        /// The member.
        id: MemberId,
    },
}
