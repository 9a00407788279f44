//! The status: what is seen, and the operator's notes of intent.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw, and what it means to do.
///
/// `founded`, `clusterID`, `members`, `replacements` and `swap` are notes of intent, written before the
/// deed, so that an operator that dies in between finds its way. They are not the truth: the
/// members are asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RaftClusterStatus {
    /// Generation of the spec that this status answers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Latched before the cluster is opened to clients. From then on it is never founded again.
    #[serde(default)]
    pub founded: bool,
    /// Cluster ID, hexadecimal.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Pod of the leading member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Since when the operator has seen this leader in this term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_since: Option<Time>,
    /// Raft term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// Voting members.
    #[serde(default)]
    pub replicas: i32,
    /// Voting members whose pod is ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector of the members' pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Image of the node in use; the latch of the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Members, by ordinal.
    #[serde(default)]
    pub members: Vec<MemberStatus>,
    /// When replacements were begun within the last hour.
    #[serde(default)]
    pub replacements: Vec<Time>,
    /// The member that fails slowly and shall be replaced, until it is out of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<SwapStatus>,
    /// Windows that members dropped before they could be exported to MongoDB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_windows_lost: Option<i64>,
    /// What the operator does or waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Ready, Reconciling, Stalled, QuorumHealthy; LedgerExported when a MongoDB is configured;
    /// NodeLost while a pod can't end because its machine is lost.
    #[serde(default)]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"]
    ))]
    pub conditions: Vec<Condition>,
}

/// A member that fails slowly, and where the one that takes its vote is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwapStatus {
    /// ID of the slow member, hexadecimal.
    pub id: String,
    /// Its place.
    pub ordinal: i32,
    /// The place of the other one, beyond those that spec.replicas asks for.
    pub extra: i32,
    /// When it was begun.
    pub since: Time,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Member ID, hexadecimal. Never used twice.
    pub id: String,
    /// Place in the StatefulSet. A replacement keeps it.
    pub ordinal: i32,
    /// The life of the disk that the ID is bound to, hexadecimal.
    pub incarnation: String,
    /// UID of the volume claim that holds the disk.
    #[serde(default, rename = "claimUID")]
    pub claim_uid: String,
    /// What it is in Raft; absent until it is in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<MemberRole>,
    /// Where the operator stands with it.
    pub phase: MemberPhase,
    /// Since when it is in this phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Time>,
    /// Whether it has been good, -1000 to 1000: the sum of its verdicts, of which old ones fade.
    /// Refreshed every 30 seconds, as the numbers below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    /// Whether it is slow now, 1 (no) to 100. From 80 on it had better not lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast_score: Option<i64>,
    /// Its place in the order in which voters had better lead; 1 is the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<i32>,
    /// Its last verdict, refreshed every 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verdict: Option<String>,
    /// When it was seen slow; absent if it wasn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<SlowStatus>,
}

/// When a member was seen slow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowStatus {
    /// Since when it counts as failing slowly; absent if it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The last 30 minutes, the newest last: `#` where its fast score was seen at 80 or more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 30))]
    pub minutes: String,
    /// The newest of these minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// What a member is in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemberRole {
    /// Receives the log and doesn't vote.
    Learner,
    /// Votes.
    Follower,
    /// Leads.
    Leader,
}

/// Where the operator stands with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemberPhase {
    /// On its way from intent to vote.
    Joining,
    /// Votes, and answers the operator.
    Active,
    /// In the configuration, and doesn't answer the operator.
    Unreachable,
    /// On its way out: its ID, then its volume.
    Removing,
    /// Part of a founding that failed; its volume is wiped before the next one.
    Abandoned,
}
