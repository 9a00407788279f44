//! What the cluster knows of each member besides its vote.

use std::collections::BTreeMap;

use raftery_raft::MemberId;
use serde::{Deserialize, Serialize};

/// One member's record: replicated, part of the state machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Human-readable name; empty until the node has joined.
    pub name: String,
    /// Where peers reach it: `http://host:port`.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// The blank disk that the ID was given to; `None` until it is bound.
    pub incarnation: Option<u64>,
    /// The leader promotes it by itself once it has caught up (etcd's `member add`, without
    /// the time in which an empty voter counts for the quorum).
    pub promote_when_ready: bool,
}

/// Records of all present members.
pub type Members = BTreeMap<MemberId, MemberRecord>;
