//! Events: what a person who looks at the RaftCluster should read.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use tracing::warn;

use crate::api::{Desired, MemberStatus, RaftCluster, RaftClusterStatus};
use crate::plan::{Evidence, Step};
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
        let pod = step.ordinal().map(|ordinal| {
            let name = desired.pod_name(ordinal);
            pod_reference(name, Some(desired.namespace.clone()))
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
        for (type_, reason, ordinal, note) in slow_changes(previous, next) {
            let name = format!("{}-{ordinal}", cluster.name_any());
            let note = format!("{name} {note}");
            let pod = pod_reference(name, cluster.namespace());
            self.publish(cluster, type_, reason, note, Some(pod)).await;
        }
        if loses_windows(previous, next) {
            let note =
                "members drop windows of the ledger that weren't exported: MongoDB has been \
                        away for longer than they are kept"
                    .to_owned();
            self.publish(cluster, EventType::Warning, "LedgerLost", note, None)
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

/// Events are related to a pod, so that the same at another ordinal isn't taken for a repetition.
fn pod_reference(name: String, namespace: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(name),
        namespace,
        ..ObjectReference::default()
    }
}

/// Whether windows of the ledger began to be lost for MongoDB with this change of the status.
fn loses_windows(previous: &RaftClusterStatus, next: &RaftClusterStatus) -> bool {
    previous.ledger_windows_lost.is_none() && next.ledger_windows_lost.is_some()
}

/// Who began to fail slowly with this change of the status, and who has recovered: type, reason,
/// ordinal and what to say of it.
fn slow_changes(
    previous: &RaftClusterStatus,
    next: &RaftClusterStatus,
) -> Vec<(EventType, &'static str, i32, String)> {
    let fails = |member: &MemberStatus| member.slow.as_ref().is_some_and(|s| s.since.is_some());
    let change = |member: &MemberStatus| {
        let known = previous.members.iter().find(|known| known.id == member.id);
        let evidence = Evidence::reported(member);
        let id = &member.id;
        match (known.is_some_and(fails), fails(member)) {
            (false, true) => {
                let note = format!("(member {id}) fails slowly: {evidence}");
                Some((EventType::Warning, "MemberSlow", member.ordinal, note))
            }
            (true, false) => {
                let note = format!("(member {id}) isn't slow any more: {evidence}");
                Some((EventType::Normal, "MemberRecovered", member.ordinal, note))
            }
            (false, false) | (true, true) => None,
        }
    };
    next.members.iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(slow: &serde_json::Value) -> RaftClusterStatus {
        let member = json!({
            "id": "a1", "ordinal": 2, "incarnation": "1", "phase": "Active",
            "score": -310, "fastScore": 97, "lastVerdict": "-20 slow_append", "slow": slow,
        });
        serde_json::from_value(json!({"members": [member]})).unwrap()
    }

    #[test]
    fn the_first_lost_windows_are_told_of_and_further_ones_arent() {
        let status = |ledger_windows_lost| RaftClusterStatus {
            ledger_windows_lost,
            ..RaftClusterStatus::default()
        };
        assert!(!loses_windows(&status(None), &status(None)));
        assert!(loses_windows(&status(None), &status(Some(1))));
        assert!(!loses_windows(&status(Some(1)), &status(Some(9))));
    }

    #[test]
    fn a_slow_member_is_told_of_once_with_the_evidence_and_its_recovery_too() {
        let healthy = RaftClusterStatus {
            members: Vec::new(),
            ..RaftClusterStatus::default()
        };
        let watched = status(&json!({"minutes": "###", "until": "2026-01-01T00:00:00Z"}));
        let slow = status(&json!({"since": "2026-01-01T00:00:00Z", "minutes": "##########"}));
        assert!(slow_changes(&healthy, &watched).is_empty());
        let [(type_, reason, ordinal, note)] = &slow_changes(&watched, &slow)[..] else {
            panic!("one event");
        };
        assert_eq!((*reason, *ordinal), ("MemberSlow", 2));
        assert!(matches!(type_, EventType::Warning));
        assert_eq!(
            note,
            "(member a1) fails slowly: fast score 97, slow score -310, slow in 10 of the last 30 \
             minutes, last verdict \"-20 slow_append\""
        );
        assert_eq!(slow_changes(&healthy, &slow).len(), 1);
        assert!(slow_changes(&slow, &slow).is_empty());
        let [(_, reason, ..)] = &slow_changes(&slow, &watched)[..] else {
            panic!("one event");
        };
        assert_eq!(*reason, "MemberRecovered");
        assert!(
            slow_changes(&slow, &healthy).is_empty(),
            "who is gone didn't recover"
        );
    }
}
