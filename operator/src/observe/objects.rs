//! Reading the objects around a cluster.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ContainerStatus, Node as KubeNode, PersistentVolumeClaim, Pod, Secret,
};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use thiserror::Error;

use super::{
    ClaimSeen, Host, Members, MongodbSeen, Node, NodeReport, Observed, OrdinalSeen, PodSeen,
    StatefulSetSeen,
};
use crate::api::{Desired, Mongodb};
use crate::plan::Notes;
use crate::resources::{
    COMPONENT_NODE, TEMPLATE_HASH, URI_KEY, managed_mongodb_name, selector_text,
};

/// The node's exit code when its identity was removed from the cluster.
const EXIT_REMOVED: i32 = 10;
/// With this taint somebody vouches that a machine is off.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// Name of the nodes' container.
const CONTAINER: &str = "node";

/// An object that couldn't be read.
#[derive(Debug, Error)]
#[error("reading {what}")]
pub struct ObserveError {
    /// What was to be read.
    pub what: &'static str,
    /// Why it couldn't.
    #[source]
    pub source: kube::Error,
}

/// Takes pictures of clusters.
#[derive(Clone)]
pub struct Observer {
    client: Client,
}

impl Observer {
    /// An observer that reads through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// A picture of one cluster. `members` is `None` before there is an admin token.
    pub async fn observe(
        &self,
        desired: &Desired,
        notes: Notes,
        members: Option<&Members>,
    ) -> Result<Observed, ObserveError> {
        let (statefulset, ordinals, mongodb) = futures::try_join!(
            self.statefulset(desired),
            self.ordinals(desired, members),
            self.mongodb(desired)
        )?;
        Ok(Observed {
            notes,
            statefulset,
            ordinals,
            mongodb,
        })
    }

    async fn statefulset(
        &self,
        desired: &Desired,
    ) -> Result<Option<StatefulSetSeen>, ObserveError> {
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), &desired.namespace);
        let set = api
            .get_opt(&desired.name)
            .await
            .map_err(failed("the StatefulSet"))?;
        Ok(set.as_ref().map(statefulset_seen))
    }

    async fn ordinals(
        &self,
        desired: &Desired,
        members: Option<&Members>,
    ) -> Result<BTreeMap<u32, OrdinalSeen>, ObserveError> {
        let namespace = &desired.namespace;
        let selected = ListParams::default().labels(&selector_text(&desired.name, COMPONENT_NODE));
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let (pods, claims) = futures::try_join!(
            async { pods.list(&selected).await.map_err(failed("the pods")) },
            async {
                claims
                    .list(&selected)
                    .await
                    .map_err(failed("the volume claims"))
            },
        )?;
        let mut ordinals: BTreeMap<u32, OrdinalSeen> = BTreeMap::new();
        for claim in &claims.items {
            let name = claim.name_any();
            if let Some(ordinal) = name
                .strip_prefix("data-")
                .and_then(|n| desired.ordinal_of(n))
            {
                ordinals.entry(ordinal).or_default().claim = Some(claim_seen(claim, &desired.uid));
            }
        }
        let looks = pods.items.iter().filter_map(|pod| {
            let ordinal = desired.ordinal_of(pod.metadata.name.as_deref()?)?;
            Some(async move { (ordinal, self.look_at(pod, members).await) })
        });
        for (ordinal, looked) in join_all(looks).await {
            let (pod, node) = looked?;
            let seen = ordinals.entry(ordinal).or_default();
            seen.pod = Some(pod);
            seen.node = node;
        }
        Ok(ordinals)
    }

    /// A pod and its node's answer. The machine is asked about only if something is odd.
    async fn look_at(
        &self,
        pod: &Pod,
        members: Option<&Members>,
    ) -> Result<(PodSeen, Option<NodeReport>), ObserveError> {
        let mut seen = pod_seen(pod);
        let name = pod.name_any();
        let report = match (members, &seen.ip) {
            (Some(members), Some(ip)) => members.status(&Node { pod: &name, ip }).await,
            (None, _) | (_, None) => None,
        };
        let machine = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        seen.host = match machine {
            None => Host::None,
            Some(_) if report.is_some() && !seen.terminating => Host::Ready,
            Some(machine) => {
                let api: Api<KubeNode> = Api::all(self.client.clone());
                let node = api
                    .get_opt(machine)
                    .await
                    .map_err(failed("a pod's machine"))?;
                host_seen(node.as_ref())
            }
        };
        Ok((seen, report))
    }

    async fn mongodb(&self, desired: &Desired) -> Result<MongodbSeen, ObserveError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &desired.namespace);
        let has_uri = async |name: &str, key: &str| {
            let secret = secrets
                .get_opt(name)
                .await
                .map_err(failed("the MongoDB's Secret"))?;
            let data = secret.and_then(|secret| secret.data);
            Ok(data.is_some_and(|data| data.contains_key(key)))
        };
        match &desired.mongodb {
            None => Ok(MongodbSeen::default()),
            Some(Mongodb::External { secret, key }) => Ok(MongodbSeen {
                has_uri: has_uri(secret, key).await?,
                ..MongodbSeen::default()
            }),
            Some(Mongodb::Managed { .. }) => {
                let name = managed_mongodb_name(&desired.name);
                let claims: Api<PersistentVolumeClaim> =
                    Api::namespaced(self.client.clone(), &desired.namespace);
                let claim = claims
                    .get_opt(&name)
                    .await
                    .map_err(failed("the MongoDB's claim"))?;
                let claim = claim.as_ref().map(|claim| claim_seen(claim, &desired.uid));
                Ok(MongodbSeen {
                    has_uri: has_uri(&name, URI_KEY).await?,
                    claim_owned: claim.as_ref().is_some_and(|claim| claim.owned),
                    claim_uid: claim.map(|claim| claim.uid),
                })
            }
        }
    }
}

fn failed(what: &'static str) -> impl Fn(kube::Error) -> ObserveError {
    move |source| ObserveError { what, source }
}

fn statefulset_seen(set: &StatefulSet) -> StatefulSetSeen {
    let is_settled = set.metadata.generation.is_some()
        && set
            .status
            .as_ref()
            .and_then(|status| status.observed_generation)
            == set.metadata.generation;
    let hash = set
        .spec
        .template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.annotations.as_ref())
        .and_then(|annotations| annotations.get(TEMPLATE_HASH))
        .cloned();
    StatefulSetSeen {
        replicas: set
            .spec
            .replicas
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1),
        settled_hash: hash.filter(|_| is_settled),
    }
}

fn claim_seen(claim: &PersistentVolumeClaim, cluster_uid: &str) -> ClaimSeen {
    ClaimSeen {
        uid: claim.uid().unwrap_or_default(),
        terminating: claim.metadata.deletion_timestamp.is_some(),
        owned: claim
            .owner_references()
            .iter()
            .any(|owner| owner.uid == cluster_uid),
    }
}

fn pod_seen(pod: &Pod) -> PodSeen {
    let status = pod.status.as_ref();
    let has_ended = status
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| phase == "Failed" || phase == "Succeeded");
    let container = status
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|containers| {
            containers
                .iter()
                .find(|container| container.name == CONTAINER)
        });
    let is_ready = status
        .and_then(|status| status.conditions.as_ref())
        .and_then(|conditions| {
            conditions
                .iter()
                .find(|condition| condition.type_ == "Ready")
        })
        .is_some_and(|condition| condition.status == "True");
    PodSeen {
        uid: pod.uid().unwrap_or_default(),
        ip: status
            .and_then(|status| status.pod_ip.clone())
            .filter(|ip| !ip.is_empty() && !has_ended),
        ready: is_ready,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        template_hash: pod.annotations().get(TEMPLATE_HASH).cloned(),
        host: Host::None,
        image_present: container.is_some_and(|container| !container.image_id.is_empty()),
        ended_as_removed: container.is_some_and(ended_as_removed),
    }
}

fn ended_as_removed(container: &ContainerStatus) -> bool {
    let is_running = container
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some());
    !is_running
        && [&container.state, &container.last_state]
            .into_iter()
            .flatten()
            .filter_map(|state| state.terminated.as_ref())
            .any(|terminated| terminated.exit_code == EXIT_REMOVED)
}

fn host_seen(node: Option<&KubeNode>) -> Host {
    let Some(node) = node else {
        return Host::Deleted;
    };
    let is_out_of_service = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_ref())
        .is_some_and(|taints| taints.iter().any(|taint| taint.key == OUT_OF_SERVICE));
    if is_out_of_service {
        return Host::OutOfService;
    }
    let is_ready = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|conditions| {
            conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        });
    if is_ready {
        Host::Ready
    } else {
        Host::NotReady
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: &serde_json::Value) -> PodSeen {
        let pod = json!({
            "metadata": {"name": "demo-0", "uid": "u"},
            "status": status,
        });
        pod_seen(&serde_json::from_value(pod).unwrap())
    }

    fn container(state: &serde_json::Value, last: &serde_json::Value) -> serde_json::Value {
        json!({"containerStatuses": [{
            "name": "node", "image": "i", "imageID": "sha256:1", "ready": false,
            "restartCount": 1, "state": state, "lastState": last,
        }]})
    }

    #[test]
    fn an_image_is_present_once_a_container_was_made_of_it() {
        assert!(pod(&container(&json!({"running": {}}), &json!({}))).image_present);
        let pulling = json!({"containerStatuses": [{
            "name": "node", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff"}},
        }]});
        assert!(!pod(&pulling).image_present);
    }

    #[test]
    fn a_removed_node_is_known_by_its_exit_code_until_it_runs_again() {
        let ended = json!({"terminated": {"exitCode": 10}});
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert!(pod(&container(&ended, &json!({}))).ended_as_removed);
        assert!(pod(&container(&waiting, &ended)).ended_as_removed);
        assert!(!pod(&container(&json!({"running": {}}), &ended)).ended_as_removed);
        let crashed = json!({"terminated": {"exitCode": 12}});
        assert!(!pod(&container(&waiting, &crashed)).ended_as_removed);
    }

    #[test]
    fn a_failed_pod_has_no_address_to_ask() {
        assert_eq!(
            pod(&json!({"phase": "Failed", "podIP": "10.0.0.1"})).ip,
            None
        );
        let running = pod(&json!({"phase": "Running", "podIP": "10.0.0.1"}));
        assert_eq!(running.ip.as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn machines_are_ready_lost_deleted_or_vouched_for() {
        let node = |ready: &str, taints: serde_json::Value| -> KubeNode {
            serde_json::from_value(json!({
                "spec": {"taints": taints},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap()
        };
        let taint = json!([{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]);
        assert_eq!(host_seen(None), Host::Deleted);
        assert_eq!(host_seen(Some(&node("True", json!([])))), Host::Ready);
        assert_eq!(host_seen(Some(&node("Unknown", json!([])))), Host::NotReady);
        assert_eq!(host_seen(Some(&node("Unknown", taint))), Host::OutOfService);
    }
}
