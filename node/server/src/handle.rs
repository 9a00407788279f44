//! What gateways hold: the node, as far as anyone outside its tasks may touch it.

use std::time::Duration;

use raftery_behaviour::Verdict;
use raftery_raft::{LogIndex, MemberId, Status};
use raftery_store::{RangeOp, RangeResult, TxnOp, TxnResult, WriteOp, WriteResult};

use crate::error::RequestError;
use crate::members::{MemberRecord, Members};

/// What every etcd answer starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// The cluster.
    pub cluster_id: u64,
    /// The member that answered.
    pub member_id: u64,
    /// The store's revision when the request was served.
    pub revision: i64,
    /// The member's term.
    pub raft_term: u64,
}

/// A change of membership that a person or the operator asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipChange {
    /// Adds a member that receives the log and doesn't vote.
    AddLearner {
        /// The new ID.
        id: MemberId,
        /// Its record.
        record: MemberRecord,
    },
    /// Makes a caught-up learner a voter.
    Promote {
        /// The learner.
        id: MemberId,
    },
    /// Removes a member, for ever.
    Remove {
        /// The member.
        id: MemberId,
    },
}
