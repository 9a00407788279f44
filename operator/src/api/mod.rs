//! The API: [`RaftCluster`] in group `raftery.dev`, and what a checked one means.
//!
//! The types here are the source of the CRD: schema, defaults, rules and descriptions are
//! derived from them and printed by `crdgen`. What the API server let pass is checked once more
//! by [`Desired::from_cluster`] and becomes a type that needs no further check.

mod cluster;
mod crd;
mod desired;
mod duration;
mod status;
mod veto;

pub use cluster::{
    BehaviourSpec, FailSlow, HealingSpec, LedgerSpec, ManagedMongodb, MongodbSpec, MongodbStorage,
    PodSpec, RaftCluster, RaftClusterSpec, RaftSpec, SecretKeyRef, StorageSpec, WhenDeleted,
};
pub use crd::{crd, crd_yaml};
pub use desired::{Desired, InvalidSpec, Mongodb};
pub use duration::{DurationText, ParseDurationError};
pub use status::{
    MemberPhase, MemberRole, MemberStatus, RaftClusterStatus, SlowStatus, SwapStatus,
};
pub use veto::{VETO_FAIL_SLOW, Veto};
