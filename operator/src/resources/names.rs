//! Names, labels, owners.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use crate::api::{Desired, RaftCluster};

/// Label with the name of the RaftCluster.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
const LABEL_NAME: &str = "app.kubernetes.io/name";
const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
const LABEL_PART_OF: &str = "app.kubernetes.io/part-of";
const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Component of the nodes' pods.
pub const COMPONENT_NODE: &str = "node";
/// Component of a managed MongoDB's pod.
pub const COMPONENT_MONGODB: &str = "mongodb";

/// Annotation with the hash of the pod template, of what rolls the pods when it changes.
pub const TEMPLATE_HASH: &str = "raftery.dev/template-hash";

/// Key of the connection string in the Secret of a managed MongoDB.
pub const URI_KEY: &str = "uri";

pub(super) const CLIENT_PORT: u16 = 2379;
pub(super) const PEER_PORT: u16 = 2380;
pub(super) const METRICS_PORT: u16 = 2381;
pub(super) const ADMIN_PORT: u16 = crate::observe::ADMIN_PORT;
pub(super) const MONGODB_PORT: u16 = 27017;

/// Labels that select a component's pods. Immutable: they are in the StatefulSet's selector.
pub fn selector_labels(name: &str, component: &str) -> BTreeMap<String, String> {
    [
        (LABEL_NAME, "raftery"),
        (LABEL_INSTANCE, name),
        (LABEL_COMPONENT, component),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The same as text, for lists and for the scale subresource.
pub fn selector_text(name: &str, component: &str) -> String {
    let labels = selector_labels(name, component);
    let parts: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    parts.join(",")
}

/// Name of the Secret with the admin token.
pub fn admin_secret_name(cluster: &str) -> String {
    format!("{cluster}-admin")
}

/// Name of everything around a managed MongoDB.
pub fn managed_mongodb_name(cluster: &str) -> String {
    format!("{cluster}-mongodb")
}

pub(super) fn config_map_name(cluster: &str) -> String {
    format!("{cluster}-config")
}

pub(super) fn peers_service_name(cluster: &str) -> String {
    format!("{cluster}-peers")
}

/// Where other members reach the member at an ordinal.
pub fn peer_url(desired: &Desired, ordinal: u32) -> String {
    pod_url(desired, &desired.pod_name(ordinal), PEER_PORT)
}

/// Where clients reach the member at an ordinal.
pub fn client_url(desired: &Desired, ordinal: u32) -> String {
    pod_url(desired, &desired.pod_name(ordinal), CLIENT_PORT)
}

/// A pod's URL by its name in the headless service; `pod` may be a variable.
pub(super) fn pod_url(desired: &Desired, pod: &str, port: u16) -> String {
    let service = peers_service_name(&desired.name);
    format!("http://{pod}.{service}.{}.svc:{port}", desired.namespace)
}

/// The reference by which children name their RaftCluster.
pub fn owner_reference(desired: &Desired) -> OwnerReference {
    OwnerReference {
        api_version: RaftCluster::api_version(&()).into_owned(),
        kind: RaftCluster::kind(&()).into_owned(),
        name: desired.name.clone(),
        uid: desired.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Metadata of an object without owner.
pub(super) fn metadata_unowned(desired: &Desired, name: String, component: &str) -> ObjectMeta {
    let mut labels = selector_labels(&desired.name, component);
    labels.insert(LABEL_PART_OF.to_owned(), "raftery".to_owned());
    labels.insert(LABEL_MANAGED_BY.to_owned(), "raftery-operator".to_owned());
    ObjectMeta {
        name: Some(name),
        namespace: Some(desired.namespace.clone()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

/// Metadata of a child.
pub(super) fn metadata(desired: &Desired, name: String, component: &str) -> ObjectMeta {
    ObjectMeta {
        owner_references: Some(vec![owner_reference(desired)]),
        ..metadata_unowned(desired, name, component)
    }
}
