//! Doing what a plan says: objects are applied, members called, claims and pods deleted.
//!
//! A step is one write, guarded by what it was planned against: the UID of what it deletes, the
//! configuration index of what it changes. Whether it worked is for the next observation to see.

mod apply;
mod ensure;

use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use raftery_proto::admin;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::api::Desired;
use crate::ids::{ClusterId, Lineage};
use crate::observe::{Identity, MemberError, Members, Node, Observed, Role};
use crate::plan::Step;
use crate::resources::{Images, client_url, peer_url};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

/// The one field manager under which everything is applied.
pub const FIELD_MANAGER: &str = "raftery-operator";

/// Something that couldn't be done.
#[derive(Debug, Error)]
pub enum ActError {
    /// Kubernetes refused, or wasn't there.
    #[error("{what}")]
    Kube {
        /// What was to be done.
        what: String,
        /// Why it couldn't.
        #[source]
        source: kube::Error,
    },
    /// A member refused, or wasn't there.
    #[error("calling a member")]
    Member(#[from] MemberError),
    /// The world changed between plan and deed.
    #[error("{what} is gone since the plan was made")]
    Gone {
        /// What is gone.
        what: String,
    },
    /// A Secret of ours doesn't hold what it should.
    #[error("Secret {name} has no usable key {key:?}")]
    Secret {
        /// The Secret.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
}

/// Carries plans out.
#[derive(Clone)]
pub struct Actor {
    client: Client,
    images: Images,
}

impl Actor {
    /// An actor that writes through `client`.
    pub fn new(client: Client, images: Images) -> Self {
        Self { client, images }
    }

    /// Takes a step. Steps that only note something are done by writing the status.
    pub async fn perform(
        &self,
        desired: &Desired,
        observed: &Observed,
        members: &Members,
        step: &Step,
    ) -> Result<(), ActError> {
        match step {
            Step::NoteFounding { .. }
            | Step::Adopt { .. }
            | Step::AbandonFounding { .. }
            | Step::NoteJoin { .. }
            | Step::NoteRemoval { .. }
            | Step::CancelRemoval { .. }
            | Step::NoteSwap { .. }
            | Step::CancelSwap { .. }
            | Step::Forget { .. }
            | Step::LatchFounded => Ok(()),
            Step::DeleteClaim { ordinal, uid } => self.delete_claim(desired, *ordinal, uid).await,
            Step::DeletePod {
                ordinal,
                uid,
                grace_seconds,
            } => {
                self.delete_pod(desired, *ordinal, uid, *grace_seconds)
                    .await
            }
            Step::Assign { ordinal, .. } => {
                let pod = desired.pod_name(*ordinal);
                let node = node(observed, *ordinal, &pod)?;
                Ok(members.assign(&node, assign_request(step)?).await?)
            }
            Step::AddLearner { .. }
            | Step::Promote { .. }
            | Step::Remove { .. }
            | Step::Swap { .. }
            | Step::Transfer { .. }
            | Step::Open
            | Step::Configure { .. } => self.ask_leader(desired, observed, members, step).await,
        }
    }

    async fn ask_leader(
        &self,
        desired: &Desired,
        observed: &Observed,
        members: &Members,
        step: &Step,
    ) -> Result<(), ActError> {
        let (ordinal, _) = leader(observed)?;
        let pod = desired.pod_name(ordinal);
        let leader = node(observed, ordinal, &pod)?;
        match step {
            Step::AddLearner {
                id,
                ordinal,
                incarnation,
                config_index,
            } => {
                let request = admin::AddLearnerRequest {
                    id: id.0,
                    incarnation: incarnation.0,
                    name: desired.pod_name(*ordinal),
                    peer_urls: vec![peer_url(desired, *ordinal)],
                    client_urls: vec![client_url(desired, *ordinal)],
                    expected_config_index: *config_index,
                };
                members.add_learner(&leader, request).await?;
            }
            Step::Promote {
                id, config_index, ..
            } => {
                let request = admin::PromoteRequest {
                    id: id.0,
                    expected_config_index: *config_index,
                };
                members.promote(&leader, request).await?;
            }
            Step::Remove {
                id, config_index, ..
            } => {
                let request = admin::RemoveRequest {
                    id: id.0,
                    expected_config_index: *config_index,
                };
                members.remove(&leader, request).await?;
            }
            Step::Swap {
                id,
                promote,
                config_index,
                ..
            } => {
                let request = admin::SwapRequest {
                    promote: promote.0,
                    remove: id.0,
                    expected_config_index: *config_index,
                };
                members.swap(&leader, request).await?;
            }
            Step::Transfer { id, .. } => {
                members
                    .transfer(&leader, admin::TransferRequest { to: id.0 })
                    .await?;
            }
            Step::Open => members.open(&leader).await?,
            Step::Configure { scoring } => {
                let request = admin::ConfigureRequest {
                    cluster_config: Some((*scoring).into()),
                };
                members.configure(&leader, request).await?;
            }
            Step::NoteFounding { .. }
            | Step::Adopt { .. }
            | Step::AbandonFounding { .. }
            | Step::NoteJoin { .. }
            | Step::NoteRemoval { .. }
            | Step::CancelRemoval { .. }
            | Step::NoteSwap { .. }
            | Step::CancelSwap { .. }
            | Step::Forget { .. }
            | Step::LatchFounded
            | Step::Assign { .. }
            | Step::DeleteClaim { .. }
            | Step::DeletePod { .. } => {}
        }
        Ok(())
    }

    async fn delete_claim(
        &self,
        desired: &Desired,
        ordinal: u32,
        uid: &str,
    ) -> Result<(), ActError> {
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.client.clone(), &desired.namespace);
        let name = format!("data-{}", desired.pod_name(ordinal));
        let deleted = api.delete(&name, &with_uid(uid)).await;
        gone_is_fine(deleted.map(|_| ()), || {
            format!("deleting volume claim {name}")
        })
    }

    async fn delete_pod(
        &self,
        desired: &Desired,
        ordinal: u32,
        uid: &str,
        grace_seconds: Option<u32>,
    ) -> Result<(), ActError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &desired.namespace);
        let name = desired.pod_name(ordinal);
        let params = DeleteParams {
            grace_period_seconds: grace_seconds,
            ..with_uid(uid)
        };
        let deleted = api.delete(&name, &params).await;
        gone_is_fine(deleted.map(|_| ()), || format!("deleting pod {name}"))
    }
}

/// A random non-zero number for a new identity.
pub fn draw() -> Result<u64, ActError> {
    loop {
        let number = getrandom::u64().map_err(ActError::Random)?;
        if number != 0 {
            return Ok(number);
        }
    }
}

fn with_uid(uid: &str) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

/// The history that a founding begins: as random as the cluster's ID, and the same when the
/// founder has to be told twice.
fn first_lineage(cluster_id: ClusterId) -> u64 {
    let mut hash = Sha256::new();
    hash.update(b"raftery lineage");
    hash.update(cluster_id.0.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let (first, _) = digest
        .split_first_chunk()
        .expect("a digest has more than eight bytes");
    u64::from_be_bytes(*first).max(1)
}

/// What is gone, or is another object of the same name by now, needs no deletion.
fn gone_is_fine(
    result: Result<(), kube::Error>,
    what: impl Fn() -> String,
) -> Result<(), ActError> {
    match result {
        Ok(()) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(source) => Err(ActError::Kube {
            what: what(),
            source,
        }),
    }
}

fn node<'a>(observed: &'a Observed, ordinal: u32, pod: &'a str) -> Result<Node<'a>, ActError> {
    let ip = observed
        .ordinals
        .get(&ordinal)
        .and_then(|seen| seen.pod.as_ref())
        .and_then(|pod| pod.ip.as_deref())
        .ok_or_else(|| ActError::Gone {
            what: format!("the address of {pod}"),
        })?;
    Ok(Node { pod, ip })
}

fn leader(observed: &Observed) -> Result<(u32, &Identity), ActError> {
    observed
        .ordinals
        .iter()
        .filter_map(|(ordinal, seen)| Some((*ordinal, seen.node.as_ref()?.identity.as_ref()?)))
        .filter(|(_, identity)| identity.role == Role::Leader)
        .max_by_key(|(_, identity)| identity.term)
        .ok_or_else(|| ActError::Gone {
            what: "the leader".to_owned(),
        })
}

fn assign_request(step: &Step) -> Result<admin::AssignRequest, ActError> {
    let Step::Assign {
        incarnation,
        cluster_id,
        lineage,
        id,
        ..
    } = step
    else {
        return Err(ActError::Gone {
            what: "the identity to assign".to_owned(),
        });
    };
    Ok(admin::AssignRequest {
        incarnation: incarnation.0,
        cluster_id: cluster_id.0,
        lineage: match lineage {
            Some(Lineage(lineage)) => *lineage,
            None => first_lineage(*cluster_id),
        },
        member_id: id.0,
        found: lineage.is_none(),
    })
}
