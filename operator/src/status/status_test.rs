//! Statuses of clusters in memory.

use std::time::Duration;

use super::{compute, is_true, is_worth_writing, notes_of};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Desired, MemberRole, Mongodb, RaftClusterStatus, SlowStatus};
use crate::observe::{Host, Observed};
use crate::plan::model_test::{Model, desired};
use crate::plan::{SwapNote, plan, refresh};

fn status_of(desired: &Desired, model: &Model, observed: &Observed) -> RaftClusterStatus {
    let plan = plan(desired, &model.template, observed, model.now);
    let notes = refresh(desired, observed, model.now);
    compute(
        desired,
        observed,
        &plan,
        &notes,
        None,
        &RaftClusterStatus::default(),
        model.now,
    )
}

fn reason<'a>(status: &'a RaftClusterStatus, type_: &str) -> Option<(&'a str, &'a str)> {
    let condition = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)?;
    Some((condition.status.as_str(), condition.reason.as_str()))
}

#[test]
fn a_complete_cluster_is_ready() {
    let (desired, model) = (desired(3), Model::founded(&desired(3)));
    let status = status_of(&desired, &model, &model.observe());
    assert!(is_true(&status.conditions, "Ready"), "{status:?}");
    assert_eq!(reason(&status, "Reconciling"), Some(("False", "Steady")));
    assert_eq!(reason(&status, "Stalled"), Some(("False", "NotStalled")));
    assert_eq!(
        reason(&status, "QuorumHealthy"),
        Some(("True", "AllVotersHeard"))
    );
    assert_eq!(reason(&status, "LedgerExported"), None);
    assert_eq!(reason(&status, "NodeLost"), None);
    assert_eq!((status.replicas, status.ready_replicas), (3, 3));
    assert_eq!(
        status.leader,
        Some(format!("demo-{}", model.leader_ordinal().unwrap()))
    );
    let leaders = status
        .members
        .iter()
        .filter(|m| m.role == Some(MemberRole::Leader));
    assert_eq!(leaders.count(), 1);
    assert_eq!(
        status.selector.as_deref(),
        Some(
            "app.kubernetes.io/component=node,app.kubernetes.io/instance=demo,app.kubernetes.io/name=raftery"
        )
    );
}

#[test]
fn notes_survive_the_way_through_the_status() {
    let (desired, mut model) = (desired(3), Model::founded(&desired(3)));
    model.notes.swap = Some(SwapNote {
        id: model.member_at(1).unwrap(),
        ordinal: 1,
        extra: 3,
        since: model.now,
    });
    let observed = model.observe();
    let status = status_of(&desired, &model, &observed);
    let json = serde_json::to_string(&status).unwrap();
    let read: RaftClusterStatus = serde_json::from_str(&json).unwrap();
    assert_eq!(notes_of(&read), refresh(&desired, &observed, model.now));
}

#[test]
fn what_was_seen_of_a_slow_member_survives_the_way_through_the_status() {
    let (desired, mut model) = (desired(3), Model::founded(&desired(3)));
    model.pass(Duration::from_secs(600));
    model.slow_down(1, true);
    let status = status_of(&desired, &model, &model.observe());
    let slow = status.members[1].slow.as_ref().unwrap();
    assert_eq!(slow.since, Some(Time(model.now)));
    assert!(slow.minutes.ends_with(".#"), "{slow:?}");
    let json = serde_json::to_string(&status).unwrap();
    let read: RaftClusterStatus = serde_json::from_str(&json).unwrap();
    assert_eq!(
        notes_of(&read),
        refresh(&desired, &model.observe(), model.now)
    );
    // Edited by hand: what makes no sense is dropped.
    let broken = json.replace(&slow.minutes, "what?");
    let read: RaftClusterStatus = serde_json::from_str(&broken).unwrap();
    let slowness = notes_of(&read).members[1].slowness;
    assert_eq!(slowness.since, Some(model.now));
    assert_eq!(slowness.until(), None);
}

#[test]
fn members_show_their_scores_their_rank_and_their_last_verdict() {
    let (desired, mut model) = (desired(3), Model::founded(&desired(3)));
    model.slow_down(0, true);
    let status = status_of(&desired, &model, &model.observe());
    let shown = |ordinal: usize| {
        let member = &status.members[ordinal];
        (member.score, member.fast_score, member.rank)
    };
    assert_eq!(shown(0), (Some(-600), Some(100), Some(3)));
    assert_eq!(shown(1), (Some(500), Some(1), Some(1)));
    assert_eq!(shown(2), (Some(500), Some(1), Some(2)));
    assert_eq!(
        status.members[0].last_verdict.as_deref(),
        Some("+1 in_time")
    );
    // Without a leader they stay as they were.
    model.freeze(1);
    model.freeze(2);
    let observed = model.observe();
    let plan = plan(&desired, &model.template, &observed, model.now);
    let notes = refresh(&desired, &observed, model.now);
    let later = compute(&desired, &observed, &plan, &notes, None, &status, model.now);
    assert_eq!(later.members[0].rank, Some(3));
    assert_eq!(later.members[0].fast_score, Some(100));
}

#[test]
fn a_lost_quorum_is_neither_ready_nor_healthy() {
    let mut model = Model::founded(&desired(3));
    model.freeze(1);
    model.freeze(2);
    let status = status_of(&desired(3), &model, &model.observe());
    assert_eq!(reason(&status, "Ready"), Some(("False", "NoLeader")));
    assert_eq!(
        reason(&status, "QuorumHealthy"),
        Some(("False", "NoLeader"))
    );
    assert_eq!(reason(&status, "Reconciling"), Some(("True", "QuorumLost")));
    assert_eq!(status.leader, None);
}

#[test]
fn an_unready_pod_is_named() {
    let model = Model::founded(&desired(3));
    let mut observed = model.observe();
    observed
        .ordinals
        .get_mut(&1)
        .unwrap()
        .pod
        .as_mut()
        .unwrap()
        .ready = false;
    let status = status_of(&desired(3), &model, &observed);
    assert_eq!(reason(&status, "Ready"), Some(("False", "PodNotReady")));
    assert_eq!(status.ready_replicas, 2);
}

#[test]
fn two_clusters_stall() {
    let mut model = Model::founded(&desired(3));
    let id = crate::ids::MemberId(9);
    model.claims.get_mut(&1).unwrap().identity = Some((crate::ids::ClusterId(9), id));
    let status = status_of(&desired(3), &model, &model.observe());
    assert_eq!(
        reason(&status, "Stalled"),
        Some(("True", "ClusterConflict"))
    );
}

#[test]
fn the_ledgers_export_is_the_leaders_word() {
    let model = Model::founded(&desired(3));
    let mut desired = desired(3);
    desired.mongodb = Some(Mongodb::External {
        secret: "s".to_owned(),
        key: "uri".to_owned(),
    });
    let mut observed = model.observe();
    let status = status_of(&desired, &model, &observed);
    assert_eq!(
        reason(&status, "LedgerExported"),
        Some(("False", "SecretMissing"))
    );
    observed.mongodb.has_uri = true;
    let status = status_of(&desired, &model, &observed);
    assert_eq!(
        reason(&status, "LedgerExported"),
        Some(("False", "NotConfigured"))
    );
    for (error, lost, expected) in [
        ("", 0, ("True", "Exported")),
        ("no route", 0, ("False", "ExportFailing")),
        ("no route", 3, ("False", "ExportFailing")),
        ("", 3, ("True", "Exported")),
    ] {
        for seen in observed.ordinals.values_mut() {
            let identity = seen
                .node
                .as_mut()
                .and_then(|node| node.identity.as_mut())
                .unwrap();
            identity.ledger.mongodb = true;
            identity.ledger.error = error.to_owned();
            identity.ledger.lost = lost;
        }
        let status = status_of(&desired, &model, &observed);
        assert_eq!(reason(&status, "LedgerExported"), Some(expected));
        assert_eq!(status.ledger_windows_lost, (lost > 0).then_some(3));
        let conditions = serde_json::to_string(&status.conditions).unwrap();
        assert_eq!(conditions.contains("ledgerWindowsLost"), lost > 0);
        assert!(
            is_true(&status.conditions, "Ready"),
            "MongoDB isn't part of it"
        );
    }
}

#[test]
fn a_lost_machine_is_a_condition_of_its_own() {
    let mut model = Model::founded(&desired(3));
    let pod = model.pods.get_mut(&2).unwrap();
    pod.terminating = true;
    pod.host = Host::NotReady;
    let status = status_of(&desired(3), &model, &model.observe());
    assert_eq!(
        reason(&status, "NodeLost"),
        Some(("True", "PodStuckTerminating"))
    );
}

#[test]
fn numbers_alone_are_written_rarely() {
    let model = Model::founded(&desired(3));
    let before = status_of(&desired(3), &model, &model.observe());
    let mut after = before.clone();
    after.members[0].score = Some(17);
    after.members[0].fast_score = Some(81);
    after.members[0].rank = Some(3);
    after.members[0].slow = Some(SlowStatus {
        since: None,
        minutes: "#".to_owned(),
        until: Some(Time(model.now)),
    });
    after.members[0].last_verdict = Some("in time".to_owned());
    assert!(!is_worth_writing(&before, &after, Duration::from_secs(29)));
    assert!(is_worth_writing(&before, &after, Duration::from_secs(30)));
    let mut failing = before.clone();
    failing.members[0].slow = Some(SlowStatus {
        since: Some(Time(model.now)),
        minutes: String::new(),
        until: None,
    });
    assert!(is_worth_writing(&before, &failing, Duration::ZERO));
    assert!(is_worth_writing(&failing, &before, Duration::ZERO));
    after.term = Some(99);
    assert!(is_worth_writing(&before, &after, Duration::ZERO));
    assert!(!is_worth_writing(&before, &before, Duration::from_secs(60)));
}

#[test]
fn the_time_of_transition_stays_while_the_status_does() {
    let (desired, mut model) = (desired(3), Model::founded(&desired(3)));
    let first = status_of(&desired, &model, &model.observe());
    model.pass(Duration::from_secs(60));
    let observed = model.observe();
    let plan = plan(&desired, &model.template, &observed, model.now);
    let notes = refresh(&desired, &observed, model.now);
    let second = compute(&desired, &observed, &plan, &notes, None, &first, model.now);
    assert_eq!(first.conditions, second.conditions);
}
