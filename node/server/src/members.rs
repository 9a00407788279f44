//! What the cluster knows of each member besides its vote.

use std::collections::BTreeMap;

use bytes::Bytes;
use raftery_raft::MemberId;
use serde::{Deserialize, Serialize};

use crate::command::CommandError;

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

impl MemberRecord {
    /// Encodes the record as the context of a change of membership.
    ///
    /// # Errors
    /// When a value can't be encoded, which no record can bring about.
    pub fn encode(&self) -> Result<Bytes, CommandError> {
        Ok(postcard::to_stdvec(self)
            .map_err(CommandError::Command)?
            .into())
    }

    /// Reads what [`MemberRecord::encode`] wrote.
    ///
    /// # Errors
    /// When it was written by a version that this one doesn't understand.
    pub fn decode(context: &[u8]) -> Result<Self, CommandError> {
        postcard::from_bytes(context).map_err(CommandError::Command)
    }
}
