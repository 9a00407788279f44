//! `RaftCluster`, as users write it.
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats the types inside a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use kube::{CustomResource, KubeSchema};
use raftery_behaviour::{Points, Scoring};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, RaftClusterStatus};

/// What the cluster shall be.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "raftery.dev",
    version = "v1alpha1",
    kind = "RaftCluster",
    namespaced,
    status = "RaftClusterStatus",
    derive = "PartialEq",
    doc = "An etcd-compatible Raft cluster that judges its own members and has them replaced.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Size",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "Members wanted"
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Voting members whose pod is ready"
    ),
    printcolumn(
        name = "Leader",
        type_ = "string",
        json_path = ".status.leader",
        description = "Pod of the leading member"
    ),
    printcolumn(
        name = "Term",
        type_ = "integer",
        json_path = ".status.term",
        description = "Raft term"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Plan",
        type_ = "string",
        json_path = ".status.plan",
        description = "What the operator does or waits for",
        priority = 1
    ),
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("metadata.name must be at most 40 characters long"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS-1035 label: lower-case letters, digits and '-', starting with a letter, ending with a letter or digit")
)]
#[serde(rename_all = "camelCase")]
pub struct RaftClusterSpec {
    /// Number of voting members, 1 to 9. An odd number is advisable: an even one costs a member
    /// and tolerates no more failures.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 9))]
    pub replicas: i32,
    /// Image of the node. Default: the operator's, latched in status.image when first used, so
    /// that an operator upgrade by itself rolls nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// While true the operator touches nothing of this cluster and only reports its status.
    #[serde(default)]
    pub paused: bool,
    /// Where each member keeps its data. Immutable.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.storage is immutable"))]
    pub storage: StorageSpec,
    /// Raft's timers. A change rolls the pods.
    #[serde(default)]
    pub raft: RaftSpec,
    /// How members are judged. A change is replicated and needs no restart.
    #[serde(default)]
    pub behaviour: BehaviourSpec,
    /// When members are replaced, and what is done about slow ones.
    #[serde(default)]
    pub healing: HealingSpec,
    /// Where verdicts and measured intervals go besides the members' own ledger.
    #[serde(default)]
    pub ledger: LedgerSpec,
    /// What to set on the pods. A change rolls the pods.
    #[serde(default)]
    pub pod: PodSpec,
}

/// Where each member keeps its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageSpec {
    /// Size of each member's volume, for example 8Gi.
    #[serde(default = "default_size")]
    #[schemars(regex(pattern = "^[1-9][0-9]*(\\.[0-9]+)?([KMGTPE]i|[kMGTPE])?$"))]
    #[schemars(length(max = 32))]
    pub size: String,
    /// Storage class of the volumes. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// What becomes of the volumes when the RaftCluster is deleted: Retain keeps them, and a
    /// RaftCluster of the same name adopts them; Delete removes them.
    #[serde(default)]
    pub when_deleted: WhenDeleted,
}

/// What becomes of volumes when their RaftCluster is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenDeleted {
    /// They stay.
    #[default]
    Retain,
    /// They go.
    Delete,
}

/// Raft's timers.
///
/// They are the longest: as a rule members go by shorter ones, between 200ms and `electionTimeout`,
/// which follow from the round trips, delays and syncs that they measure.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("duration(self.electionTimeout).getMilliseconds() >= 5*duration(self.heartbeatInterval).getMilliseconds()")
        .message("spec.raft.electionTimeout must be at least 5 times spec.raft.heartbeatInterval"),
    validation = Rule::new("duration(self.heartbeatInterval).getMilliseconds() >= 10")
        .message("spec.raft.heartbeatInterval must be at least 10ms"),
    validation = Rule::new("duration(self.electionTimeout).getMilliseconds() <= 50000")
        .message("spec.raft.electionTimeout must be at most 50s")
)]
#[serde(rename_all = "camelCase")]
pub struct RaftSpec {
    /// How often a leader shows that it lives.
    #[serde(default = "default_heartbeat")]
    pub heartbeat_interval: DurationText,
    /// Silence after which a follower asks for an election; at least five heartbeats. Each
    /// follower waits a random time between this and twice this.
    #[serde(default = "default_election")]
    pub election_timeout: DurationText,
    /// Whether members shorten both by what they measure; otherwise they stay as they are here.
    #[serde(default = "default_adaptive")]
    pub adaptive: bool,
}

/// How members are judged.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("duration(self.window).getMilliseconds() >= 100 && duration(self.window).getMilliseconds() <= 60000")
        .message("spec.behaviour.window must be between 100ms and 60s"),
    validation = Rule::new("duration(self.floor).getMilliseconds() >= 1 && duration(self.floor).getMilliseconds() <= 10000")
        .message("spec.behaviour.floor must be between 1ms and 10s"),
    validation = Rule::new("duration(self.halfLife).getMilliseconds() >= 10000 && duration(self.halfLife).getMilliseconds() <= 2592000000")
        .message("spec.behaviour.halfLife must be between 10s and 720h"),
    validation = Rule::new("duration(self.recovery).getMilliseconds() >= 1000 && duration(self.recovery).getMilliseconds() <= 3600000")
        .message("spec.behaviour.recovery must be between 1s and 1h")
)]
#[serde(rename_all = "camelCase")]
pub struct BehaviourSpec {
    /// Unit of judging: one verdict for each member in each window.
    #[serde(default = "default_window")]
    pub window: DurationText,
    /// Who takes so many times as long as the median member is slow.
    #[serde(default = "default_slow_ratio")]
    #[schemars(range(min = 2, max = 100))]
    pub slow_ratio: i32,
    /// Who takes no longer than this is never slow.
    #[serde(default = "default_floor")]
    pub floor: DurationText,
    /// After so long old verdicts count half in the score.
    #[serde(default = "default_half_life")]
    pub half_life: DurationText,
    /// In so long the fast score falls from its worst to its best.
    #[serde(default = "default_recovery")]
    pub recovery: DurationText,
    /// What is worth what.
    #[serde(default)]
    pub points: PointsSpec,
}

/// Points, as their amounts: rewards are added to a score, penalties subtracted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PointsSpec {
    /// Reward for a window in which nothing was wrong.
    #[schemars(range(min = 0, max = 1000))]
    pub healthy: i32,
    /// Reward for having caught up.
    #[schemars(range(min = 0, max = 1000))]
    pub caught_up: i32,
    /// Reward for having taken over leadership when asked to.
    #[schemars(range(min = 0, max = 1000))]
    pub took_over: i32,
    /// Penalty for a window in which every heartbeat was missed; fewer cost their share.
    #[schemars(range(min = 0, max = 1000))]
    pub missed: i32,
    /// Penalty for a member that can't be reached.
    #[schemars(range(min = 0, max = 1000))]
    pub unreachable: i32,
    /// Penalty for taking four times as long as the median member.
    #[schemars(range(min = 0, max = 1000))]
    pub slow: i32,
    /// Penalty for taking eight times as long.
    #[schemars(range(min = 0, max = 1000))]
    pub very_slow: i32,
    /// Penalty for lagging by two election timeouts.
    #[schemars(range(min = 0, max = 1000))]
    pub far_behind: i32,
    /// Penalty for asking for votes though there is a leader.
    #[schemars(range(min = 0, max = 1000))]
    pub campaigned: i32,
    /// Penalty for a restart.
    #[schemars(range(min = 0, max = 1000))]
    pub restarted: i32,
    /// Penalty for needing a snapshot.
    #[schemars(range(min = 0, max = 1000))]
    pub snapshot: i32,
    /// Penalty for a log that had to be repaired.
    #[schemars(range(min = 0, max = 1000))]
    pub repaired: i32,
    /// Penalty for a disk that got full.
    #[schemars(range(min = 0, max = 1000))]
    pub full: i32,
    /// Penalty for a former leader that its followers found slow all the time; less costs its share.
    #[schemars(range(min = 0, max = 1000))]
    pub judged: i32,
}

/// When members are replaced, and what is done about slow ones.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("duration(self.unresponsiveAfter).getMilliseconds() >= 5000")
        .message("spec.healing.unresponsiveAfter must be at least 5s")
)]
#[serde(rename_all = "camelCase")]
pub struct HealingSpec {
    /// Silence, towards the leader and the operator, after which a member whose pod could run
    /// is replaced by a new one with an empty disk.
    #[serde(default = "default_unresponsive")]
    pub unresponsive_after: DurationText,
    /// Most replacements begun within any hour; 0 replaces nothing.
    #[serde(default = "default_replacements")]
    #[schemars(range(min = 0, max = 1000))]
    pub max_replacements_per_hour: i32,
    /// What is done about a member that lives and is much slower than the others, for 10 of the
    /// last 30 minutes or with a score of -500 or less. Observe tells of it in Events; Transfer
    /// also moves leadership off it, if it leads and hasn't handed over by itself within a
    /// minute; Replace also replaces it, with one more member for that time, so that there are
    /// never fewer. The annotation raftery.dev/veto-fail-slow forbids what goes beyond Events: "true"
    /// for all members, or names of pods, separated by commas.
    #[serde(default)]
    pub fail_slow: FailSlow,
}

/// What is done about a member that lives and is much slower than the others.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum FailSlow {
    /// It is told of.
    Observe,
    /// And it doesn't lead.
    #[default]
    Transfer,
    /// And another member takes its place.
    Replace,
}

/// Where verdicts and intervals go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerSpec {
    /// A MongoDB that the ledger is exported to. Without it the members' own ledger answers. A
    /// change rolls the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mongodb: Option<MongodbSpec>,
}

/// A MongoDB: either one that the operator runs, or one of yours.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.managed) != has(self.uriSecretRef)")
        .message("spec.ledger.mongodb must have exactly one of managed and uriSecretRef"),
    validation = Rule::new("!has(self.retention) || (duration(self.retention).getHours() >= 1 && duration(self.retention).getHours() <= 87600)")
        .message("spec.ledger.mongodb.retention must be between 1h and 87600h")
)]
#[serde(rename_all = "camelCase")]
pub struct MongodbSpec {
    /// The operator runs one MongoDB pod with a volume. Its connection string is in key `uri` of
    /// the Secret `<name>-mongodb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedMongodb>,
    /// A Secret that holds the connection string of a MongoDB of yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri_secret_ref: Option<SecretKeyRef>,
    /// Verdicts and intervals leave this MongoDB after so long, 1h to 87600h (ten years), for
    /// example 720h. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<DurationText>,
}

/// A MongoDB that the operator runs.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedMongodb {
    /// Its volume. Immutable. When the RaftCluster is deleted, spec.storage.whenDeleted holds
    /// for it too.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.ledger.mongodb.managed.storage is immutable"))]
    pub storage: MongodbStorage,
}

/// The volume of a managed MongoDB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MongodbStorage {
    /// Size of the volume, for example 8Gi.
    #[serde(default = "default_size")]
    #[schemars(regex(pattern = "^[1-9][0-9]*(\\.[0-9]+)?([KMGTPE]i|[kMGTPE])?$"))]
    #[schemars(length(max = 32))]
    pub size: String,
    /// Storage class of the volume. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// One key of a Secret in the namespace of the RaftCluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within the Secret.
    #[serde(default = "default_uri_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What to set on the pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!has(self.labels) || self.labels.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('raftery.dev/'))")
        .message("spec.pod.labels must not begin with app.kubernetes.io/ or raftery.dev/: the operator sets those"),
    validation = Rule::new("!has(self.annotations) || self.annotations.all(k, !k.startsWith('raftery.dev/'))")
        .message("spec.pod.annotations must not begin with raftery.dev/: the operator sets those")
)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// CPU and memory of the node's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Scheduling affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How pods spread. Default: softly over zones, then over hosts. An empty list turns the
    /// default off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// Taints that the pods bear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub tolerations: Option<Vec<Toleration>>,
    /// Labels that a machine must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Priority class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Secrets with which images are pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    /// Further labels of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Further annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Default for StorageSpec {
    fn default() -> Self {
        Self {
            size: default_size(),
            storage_class_name: None,
            when_deleted: WhenDeleted::Retain,
        }
    }
}

impl Default for RaftSpec {
    fn default() -> Self {
        Self {
            heartbeat_interval: default_heartbeat(),
            election_timeout: default_election(),
            adaptive: default_adaptive(),
        }
    }
}

impl Default for BehaviourSpec {
    fn default() -> Self {
        Self {
            window: default_window(),
            slow_ratio: default_slow_ratio(),
            floor: default_floor(),
            half_life: default_half_life(),
            recovery: default_recovery(),
            points: PointsSpec::default(),
        }
    }
}

impl Default for PointsSpec {
    fn default() -> Self {
        let points = Scoring::default().points;
        Self {
            healthy: points.healthy,
            caught_up: points.caught_up,
            took_over: points.took_over,
            missed: points.missed,
            unreachable: points.unreachable,
            slow: points.slow,
            very_slow: points.very_slow,
            far_behind: points.far_behind,
            campaigned: points.campaigned,
            restarted: points.restarted,
            snapshot: points.snapshot,
            repaired: points.repaired,
            full: points.full,
            judged: points.judged,
        }
    }
}

impl PointsSpec {
    /// As members go by them.
    #[must_use]
    pub fn points(&self) -> Points {
        Points {
            healthy: self.healthy,
            caught_up: self.caught_up,
            took_over: self.took_over,
            missed: self.missed,
            unreachable: self.unreachable,
            slow: self.slow,
            very_slow: self.very_slow,
            far_behind: self.far_behind,
            campaigned: self.campaigned,
            restarted: self.restarted,
            snapshot: self.snapshot,
            repaired: self.repaired,
            full: self.full,
            judged: self.judged,
        }
    }
}

impl Default for HealingSpec {
    fn default() -> Self {
        Self {
            unresponsive_after: default_unresponsive(),
            max_replacements_per_hour: default_replacements(),
            fail_slow: FailSlow::Transfer,
        }
    }
}

impl Default for MongodbStorage {
    fn default() -> Self {
        Self {
            size: default_size(),
            storage_class_name: None,
        }
    }
}

fn default_replicas() -> i32 {
    3
}

fn default_size() -> String {
    "8Gi".to_owned()
}

fn default_heartbeat() -> DurationText {
    "100ms".into()
}

fn default_election() -> DurationText {
    "1s".into()
}

fn default_adaptive() -> bool {
    true
}

fn default_window() -> DurationText {
    "1s".into()
}

fn default_slow_ratio() -> i32 {
    3
}

fn default_floor() -> DurationText {
    "5ms".into()
}

fn default_half_life() -> DurationText {
    "10m".into()
}

fn default_recovery() -> DurationText {
    "1m".into()
}

fn default_unresponsive() -> DurationText {
    "5m".into()
}

fn default_replacements() -> i32 {
    2
}

fn default_uri_key() -> String {
    "uri".to_owned()
}
