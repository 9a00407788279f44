//! Events: what a person who looks at the RaftCluster should read.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tracing::warn;

use crate::api::{Desired, RaftCluster, RaftClusterStatus};
use crate::plan::Step;
use crate::status::has_become;

/// Longest note of an event, by Kubernetes' rules.
const NOTE_LEN_MAX: usize = 1024;

/// Publishes events about RaftClusters.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events of this operator; `instance` names the replica.
    pub fn new(client: Client, instance: Option<String>) -> Self {
        let reporter = Reporter {
            controller: "raftery-operator".to_owned(),
            instance,
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Tells of a step that was taken.
    pub async fn stepped(&self, cluster: &RaftCluster, desired: &Desired, step: &Step) {
        if !step.is_noteworthy() {
            return;
        }
        // Related to a pod, so that the same step at another ordinal isn't taken for a repetition.
        let pod = step.ordinal().map(|ordinal| ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(desired.pod_name(ordinal)),
            namespace: Some(desired.namespace.clone()),
            ..ObjectReference::default()
        });
        self.publish(
            cluster,
            EventType::Normal,
            step.kind(),
            step.to_string(),
            pod,
        )
        .await;
    }

    /// Tells what got worse, and what is unwise.
    pub async fn changed(
        &self,
        cluster: &RaftCluster,
        previous: &RaftClusterStatus,
        next: &RaftClusterStatus,
    ) {
        for (type_, status) in [
            ("Stalled", "True"),
            ("QuorumHealthy", "False"),
            ("LedgerExported", "False"),
            ("NodeLost", "True"),
        ] {
            if has_become(&previous.conditions, &next.conditions, type_, status) {
                let condition = next.conditions.iter().find(|known| known.type_ == type_);
                let Some(condition) = condition else { continue };
                let note = format!("{type_} is {status}: {}", condition.message);
                self.publish(cluster, EventType::Warning, &condition.reason, note, None)
                    .await;
            }
        }
        if has_become(&previous.conditions, &next.conditions, "Ready", "True") {
            let note = "all members vote and are ready".to_owned();
            self.publish(cluster, EventType::Normal, "Ready", note, None)
                .await;
        }
        let is_even = cluster.spec.replicas % 2 == 0;
        if is_even && previous.observed_generation != next.observed_generation {
            let size = cluster.spec.replicas;
            let note = format!(
                "spec.replicas is {size}: an even size tolerates no more failures than {}",
                size - 1
            );
            self.publish(cluster, EventType::Warning, "EvenSize", note, None)
                .await;
        }
    }

    async fn publish(
        &self,
        cluster: &RaftCluster,
        type_: EventType,
        reason: &str,
        note: String,
        secondary: Option<ObjectReference>,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(NOTE_LEN_MAX).collect()),
            action: reason.to_owned(),
            secondary,
        };
        if let Err(error) = self
            .recorder
            .publish(&event, &cluster.object_ref(&()))
            .await
        {
            warn!(%error, reason, "an event couldn't be published");
        }
    }
}
