//! One picture of a cluster: its objects, and what each member says of itself.
//!
//! Nothing here is cached: a picture is taken for each reconciliation, and every plan is made
//! from one. The types say what was seen; what follows from it is [`crate::plan`]'s business.

mod members;
mod objects;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use raftery_behaviour::{Score, Scoring};

use crate::ids::{ClusterId, Incarnation, Lineage, MemberId};
use crate::plan::Notes;

pub use members::{ADMIN_PORT, MemberError, Members, Node};
pub use objects::{ObserveError, Observer};

/// Everything a plan is made from, besides the spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The operator's notes, from a live read of the status.
    pub notes: Notes,
    /// The StatefulSet, if there is one.
    pub statefulset: Option<StatefulSetSeen>,
    /// Every ordinal that has a pod, a claim or an answering node.
    pub ordinals: BTreeMap<u32, OrdinalSeen>,
    /// The MongoDB around the ledger.
    pub mongodb: MongodbSeen,
}

/// The StatefulSet of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatefulSetSeen {
    /// Pods it is asked for.
    pub replicas: u32,
    /// Hash in its pod template, once its controller has taken note of that template. Before,
    /// a deleted pod would come back as the old template had it.
    pub settled_hash: Option<String>,
}

/// What is at one ordinal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrdinalSeen {
    /// Its pod.
    pub pod: Option<PodSeen>,
    /// Its volume claim.
    pub claim: Option<ClaimSeen>,
    /// What its node answered; `None` if it didn't.
    pub node: Option<NodeReport>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSeen {
    /// Its UID.
    pub uid: String,
    /// Where the admin service would be.
    pub ip: Option<String>,
    /// Readiness, as Kubernetes sees it.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// Hash of the template that it was made from.
    pub template_hash: Option<String>,
    /// The machine it is on.
    pub host: Host,
    /// The image has been there: a container was made of it.
    pub image_present: bool,
    /// The node ended because its identity was removed from the cluster.
    pub ended_as_removed: bool,
}

/// The machine of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Not chosen yet.
    None,
    /// Ready.
    Ready,
    /// Not ready: it may still run the pod.
    NotReady,
    /// Deleted from Kubernetes.
    Deleted,
    /// Tainted `node.kubernetes.io/out-of-service`: somebody vouches that it is off.
    OutOfService,
}

/// A volume claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSeen {
    /// Its UID.
    pub uid: String,
    /// It is being deleted; it goes when no pod uses it any more.
    pub terminating: bool,
    /// The RaftCluster is among its owners.
    pub owned: bool,
}

/// What a node answered.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeReport {
    /// The life of its disk.
    pub incarnation: Incarnation,
    /// Who it is; `None` for a blank node.
    pub identity: Option<Identity>,
}

/// A node that has an identity, and its view of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// The cluster's history.
    pub lineage: Lineage,
    /// Its member ID.
    pub member_id: MemberId,
    /// Clients are served.
    pub open: bool,
    /// What it is at the moment.
    pub role: Role,
    /// Whom it follows.
    pub leader: Option<MemberId>,
    /// Its term.
    pub term: u64,
    /// Index of the committed configuration.
    pub config_index: u64,
    /// Last index of its log.
    pub last_index: u64,
    /// Members of the committed configuration.
    pub members: Vec<Member>,
    /// IDs that were removed.
    pub removed: BTreeSet<MemberId>,
    /// Its disk went back to an earlier state.
    pub rolled_back: bool,
    /// Which kinds of entries the cluster goes by.
    pub cluster_version: u32,
    /// How members are judged, as replicated.
    pub scoring: Scoring,
    /// Where the ledger's export stands.
    pub ledger: Ledger,
}

/// A node's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives and doesn't vote.
    Learner,
    /// Follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// A member, as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its ID.
    pub id: MemberId,
    /// Its name, which is its pod's.
    pub name: String,
    /// Where peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// The disk that its ID is bound to.
    pub incarnation: Option<Incarnation>,
    /// Doesn't vote.
    pub is_learner: bool,
    /// Highest index durable there; known to a leader.
    pub match_index: u64,
    /// Milliseconds since it answered the leader; `None`: never in this leadership.
    pub last_heard_ms: Option<u64>,
    /// It answered the leader within an election timeout.
    pub active: bool,
    /// Its log is close to the leader's.
    pub caught_up: bool,
    /// Whether it has been good: -1000 to 1000.
    pub score: i64,
    /// Whether it is slow now: 1 (no) to 100. `None`: the node doesn't tell.
    pub fast_score: Option<i64>,
    /// Its last verdict.
    pub last_verdict: String,
}

impl Member {
    /// Its scores, as verdicts made them. Who tells no fast score isn't called slow by it.
    pub(crate) fn standing(&self) -> Score {
        Score::from_points(self.fast_score.unwrap_or(0), self.score)
    }
}

/// Where the ledger's export stands, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// A MongoDB is configured on that node.
    pub mongodb: bool,
    /// Why exporting fails; empty if it doesn't.
    pub error: String,
    /// Batches that were dropped before they were exported.
    pub lost: u64,
    /// Since the end of the last window that was judged; `None`: none was.
    pub judged_ago: Option<Duration>,
}

/// The MongoDB around the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MongodbSeen {
    /// UID of the managed MongoDB's claim.
    pub claim_uid: Option<String>,
    /// That claim has the RaftCluster among its owners.
    pub claim_owned: bool,
    /// The Secret with the connection string exists and has the key.
    pub has_uri: bool,
}

/// The time as plans see it.
pub type Now = Timestamp;
