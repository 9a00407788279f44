//! StatefulSet `<name>`: pods and volumes by ordinal. When a pod may go is the plan's business.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use sha2::{Digest, Sha256};

use super::config_map::node_yaml;
use super::names::{COMPONENT_NODE, TEMPLATE_HASH, metadata, peers_service_name, selector_labels};
use super::pod::{DATA_VOLUME, template};
use crate::api::Desired;

/// Characters of the hash: plenty to tell templates apart, short enough to read.
const HASH_LEN: usize = 16;

/// The StatefulSet.
pub fn statefulset(desired: &Desired, replicas: u32) -> StatefulSet {
    StatefulSet {
        metadata: metadata(desired, desired.name.clone(), COMPONENT_NODE),
        spec: StatefulSetSpec {
            replicas: Some(i32::try_from(replicas).unwrap_or(i32::MAX)),
            service_name: Some(peers_service_name(&desired.name)),
            selector: LabelSelector {
                match_labels: Some(selector_labels(&desired.name, COMPONENT_NODE)),
                ..LabelSelector::default()
            },
            // All at once, so that no broken pod keeps another from coming back.
            pod_management_policy: Some("Parallel".to_owned()),
            // The operator deletes pods to roll them, through its gate.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            // Deleting the StatefulSet by accident must not erase data.
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Retain".to_owned()),
                    when_scaled: Some("Retain".to_owned()),
                },
            ),
            template: annotated_template(desired),
            volume_claim_templates: Some(vec![claim_template(desired)]),
            ..StatefulSetSpec::default()
        },
        ..StatefulSet::default()
    }
}

/// Hash of everything that a pod is made from and that rolls it when it changes: its template
/// (image, `spec.pod`, which MongoDB) and its configuration file (`spec.raft`).
pub fn template_hash(desired: &Desired) -> String {
    let mut hash = Sha256::new();
    let template = serde_json::to_vec(&template(desired))
        .expect("a pod template is made of maps with text keys");
    hash.update(&template);
    hash.update(node_yaml(desired));
    let mut hex = hex::encode(hash.finalize());
    hex.truncate(HASH_LEN);
    hex
}

fn annotated_template(desired: &Desired) -> PodTemplateSpec {
    let mut template = template(desired);
    let metadata = template.metadata.get_or_insert_default();
    metadata
        .annotations
        .get_or_insert_default()
        .insert(TEMPLATE_HASH.to_owned(), template_hash(desired));
    template
}

fn claim_template(desired: &Desired) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA_VOLUME.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(claim_spec(
            &desired.storage.size,
            desired.storage.storage_class_name.clone(),
        )),
        ..PersistentVolumeClaim::default()
    }
}

pub(super) fn claim_spec(size: &str, class: Option<String>) -> PersistentVolumeClaimSpec {
    let requests: BTreeMap<String, Quantity> =
        [("storage".to_owned(), Quantity(size.to_owned()))].into();
    PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
        storage_class_name: class,
        resources: Some(VolumeResourceRequirements {
            requests: Some(requests),
            ..VolumeResourceRequirements::default()
        }),
        ..PersistentVolumeClaimSpec::default()
    }
}
