//! Tables of (spec, observed) -> plan.

use std::time::Duration;

use super::model_test::{Model, desired};
use super::{Plan, Removal, State, Step};
use crate::api::MemberPhase;
use crate::ids::{ClusterId, Incarnation, MemberId};
use crate::observe::Host;

fn steps(model: &mut Model, desired: &crate::api::Desired, turns: usize) -> Vec<String> {
    let mut steps = Vec::new();
    for _ in 0..turns {
        let plan = model.turn(desired);
        if let Some(step) = plan.step {
            steps.push(step.kind().to_owned());
        }
    }
    steps
}

#[track_caller]
fn assert_holds(plan: &Plan, state: State, words: &str) {
    assert_eq!((plan.state, &plan.step), (state, &None), "{plan}");
    assert!(plan.summary.contains(words), "{plan}");
}

#[test]
fn a_new_cluster_is_founded_by_ordinal_0_and_opened_once_all_vote() {
    let mut model = Model::empty();
    let steps = steps(&mut model, &desired(3), 20);
    let join = ["AddLearner", "Assign", "Promote"];
    let mut expected = vec!["NoteFounding", "Assign"];
    expected.extend(join);
    expected.extend(join);
    expected.extend(["LatchFounded", "Open"]);
    assert_eq!(steps, expected);
    assert_eq!(model.plan(&desired(3)).state, State::Steady);
}

#[test]
fn founding_waits_until_every_ordinal_answers() {
    let mut model = Model::empty();
    model.turn(&desired(3));
    model.freeze(2);
    assert_holds(
        &model.plan(&desired(3)),
        State::Founding,
        "waiting for demo-2 to answer",
    );
}

#[test]
fn a_founder_that_lost_its_disk_before_anyone_had_data_is_founded_anew() {
    let mut model = Model::empty();
    while !matches!(
        model.turn(&desired(3)).step,
        Some(Step::NoteFounding { .. })
    ) {}
    model.empty_disk(0);
    assert!(matches!(
        model.plan(&desired(3)).step,
        Some(Step::NoteFounding { .. })
    ));
}

#[test]
fn a_founding_that_lost_its_quorum_is_wiped_and_begun_anew_under_another_id() {
    let mut model = Model::empty();
    while model.voters() < 2 {
        model.turn(&desired(3));
    }
    let first = model.notes.cluster_id;
    model.empty_disk(0);
    assert!(matches!(
        model.plan(&desired(3)).step,
        Some(Step::AbandonFounding { .. })
    ));
    model.turn(&desired(3));
    assert!(
        model
            .notes
            .members
            .iter()
            .all(|note| note.phase == MemberPhase::Abandoned)
    );
    for _ in 0..40 {
        model.turn(&desired(3));
    }
    assert_ne!(model.notes.cluster_id, first);
    assert_eq!(model.voters(), 3);
}

#[test]
fn a_failed_founding_is_left_alone_while_a_node_is_silent() {
    let mut model = Model::empty();
    while model.voters() < 2 {
        model.turn(&desired(3));
    }
    model.empty_disk(0);
    model.freeze(2);
    assert_holds(
        &model.plan(&desired(3)),
        State::Founding,
        "waiting for demo-2 to answer",
    );
}

#[test]
fn an_emptied_ordinal_0_is_replaced_and_founds_nothing() {
    let mut model = Model::founded(&desired(3));
    let old = model.member_at(0).unwrap();
    model.empty_disk(0);
    model.pass(Duration::from_secs(1));
    model.settle();
    let plan = model.plan(&desired(3));
    let expected = Step::NoteRemoval {
        id: old,
        ordinal: 0,
        reason: Removal::LostDisk,
    };
    assert_eq!(plan.step, Some(expected));
    let steps = steps(&mut model, &desired(3), 12);
    assert_eq!(
        steps,
        [
            "NoteRemoval",
            "Remove",
            "Forget",
            "NoteJoin",
            "AddLearner",
            "Assign",
            "Promote"
        ]
    );
    assert_ne!(model.member_at(0).unwrap(), old);
    assert_eq!(model.foundings, 1);
}

#[test]
fn a_lost_status_is_adopted_from_the_members() {
    let mut model = Model::founded(&desired(3));
    let before = model.notes.clone();
    model.notes = Default::default();
    let plan = model.plan(&desired(3));
    let Some(Step::Adopt {
        cluster_id,
        members,
        founded: true,
    }) = plan.step
    else {
        panic!("{plan}")
    };
    assert_eq!(Some(cluster_id), before.cluster_id);
    assert_eq!(members.len(), 3);
}

#[test]
fn an_empty_status_and_an_emptied_ordinal_0_found_nothing() {
    let mut model = Model::founded(&desired(3));
    model.notes = Default::default();
    model.empty_disk(0);
    model.settle();
    for _ in 0..20 {
        model.turn(&desired(3));
    }
    assert_eq!(model.foundings, 1);
    assert_eq!(model.voters(), 3);
}

/// What nodes say before they have read their disks.
fn still_reading(model: &Model, ordinals: std::ops::Range<u32>) -> crate::observe::Observed {
    let mut observed = model.observe();
    for ordinal in ordinals {
        let node = observed
            .ordinals
            .get_mut(&ordinal)
            .unwrap()
            .node
            .as_mut()
            .unwrap();
        node.identity = None;
    }
    observed
}

#[test]
fn a_member_that_hasnt_read_its_disk_yet_isnt_taken_for_one_that_lost_it() {
    let model = Model::founded(&desired(3));
    let follower = (0..3)
        .find(|ordinal| Some(*ordinal) != model.leader_ordinal())
        .unwrap();
    let observed = still_reading(&model, follower..follower + 1);
    let plan = super::plan(&desired(3), "t1", &observed, model.now);
    assert_holds(&plan, State::Waiting, "to answer");
}

#[test]
fn a_founding_noted_while_nodes_read_their_disks_gives_way_to_the_cluster_that_is_there() {
    let mut model = Model::founded(&desired(3));
    let cluster_id = model.notes.cluster_id;
    model.notes = Default::default();
    let observed = still_reading(&model, 0..3);
    let plan = super::plan(&desired(3), "t1", &observed, model.now);
    assert!(
        matches!(plan.step, Some(Step::NoteFounding { .. })),
        "{plan}"
    );
    model.act(&desired(3), &plan, true);
    assert_ne!(model.notes.cluster_id, cluster_id);
    let steps = steps(&mut model, &desired(3), 5);
    assert_eq!(steps, ["Adopt"]);
    assert_eq!((model.notes.cluster_id, model.foundings), (cluster_id, 1));
    assert_eq!(model.notes.members.len(), 3);
}

#[test]
fn two_clusters_among_the_nodes_stall_everything() {
    let mut model = Model::founded(&desired(3));
    model.claims.get_mut(&1).unwrap().identity = Some((ClusterId(0xbad), MemberId(0xbad)));
    let plan = model.plan(&desired(3));
    assert_holds(&plan, State::Stalled, "bad (demo-1)");
}

#[test]
fn paused_touches_nothing_whatever_is_wrong() {
    let mut model = Model::founded(&desired(3));
    model.empty_disk(1);
    let mut paused = desired(5);
    paused.paused = true;
    let plan = model.plan(&paused);
    assert_holds(&plan, State::Paused, "paused");
}

#[test]
fn a_lost_quorum_touches_nothing() {
    let mut model = Model::founded(&desired(3));
    model.empty_disk(1);
    model.empty_disk(2);
    model.settle();
    assert!(!model.has_leader(&desired(3)));
    assert_holds(
        &model.plan(&desired(3)),
        State::QuorumLost,
        "nothing is touched",
    );
}

#[test]
fn an_accidentally_shrunk_statefulset_is_restored_even_without_quorum() {
    let mut model = Model::founded(&desired(3));
    model.replicas = Some(1);
    model.settle();
    let plan = model.plan(&desired(3));
    assert_eq!((plan.state, plan.replicas), (State::QuorumLost, 3));
}

#[test]
fn a_deleted_statefulset_comes_back_in_the_size_that_has_data() {
    let mut model = Model::founded(&desired(3));
    model.replicas = None;
    assert_eq!(model.plan(&desired(5)).replicas, 3);
}

#[test]
fn a_frozen_member_is_replaced_after_its_time_and_not_before() {
    let mut model = Model::founded(&desired(3));
    let frozen = (0..3)
        .find(|ordinal| Some(*ordinal) != model.leader_ordinal())
        .unwrap();
    let old = model.member_at(frozen).unwrap();
    model.freeze(frozen);
    for _ in 0..10 {
        let plan = model.turn(&desired(3));
        assert_holds(&plan, State::Waiting, "to answer");
    }
    let steps = steps(&mut model, &desired(3), 20);
    let expected = [
        "NoteRemoval",
        "Remove",
        "DeleteClaim",
        "DeletePod",
        "Forget",
        "NoteJoin",
        "AddLearner",
        "Assign",
        "Promote",
    ];
    assert_eq!(steps, expected);
    assert_ne!(model.member_at(frozen), Some(old));
}

#[test]
fn a_member_that_comes_back_before_its_removal_stays() {
    let mut model = Model::founded(&desired(3));
    let frozen = (0..3)
        .find(|ordinal| Some(*ordinal) != model.leader_ordinal())
        .unwrap();
    model.freeze(frozen);
    while !matches!(model.turn(&desired(3)).step, Some(Step::NoteRemoval { .. })) {}
    model.thaw(frozen);
    assert!(matches!(
        model.plan(&desired(3)).step,
        Some(Step::CancelRemoval { .. })
    ));
}

#[test]
fn silence_doesnt_count_where_a_pod_cant_run() {
    for (host, replaced) in [
        (Host::Ready, true),
        (Host::Deleted, true),
        (Host::OutOfService, true),
        (Host::NotReady, false),
        (Host::None, false),
    ] {
        let mut model = Model::founded(&desired(3));
        let frozen = (0..3)
            .find(|ordinal| Some(*ordinal) != model.leader_ordinal())
            .unwrap();
        model.freeze(frozen);
        model.pods.get_mut(&frozen).unwrap().host = host;
        model.pass(Duration::from_secs(60));
        let step = model.plan(&desired(3)).step;
        assert_eq!(
            matches!(step, Some(Step::NoteRemoval { .. })),
            replaced,
            "{host:?}"
        );
    }
}

#[test]
fn silence_doesnt_count_before_the_image_was_there() {
    let mut model = Model::founded(&desired(3));
    let frozen = (0..3)
        .find(|ordinal| Some(*ordinal) != model.leader_ordinal())
        .unwrap();
    model.freeze(frozen);
    model.pass(Duration::from_secs(60));
    let mut observed = model.observe();
    observed
        .ordinals
        .get_mut(&frozen)
        .unwrap()
        .pod
        .as_mut()
        .unwrap()
        .image_present = false;
    let plan = super::plan(&desired(3), &model.template, &observed, model.now);
    assert_eq!(plan.step, None, "{plan}");
}

#[test]
fn a_leader_that_never_heard_a_member_counts_from_its_own_beginning() {
    let mut model = Model::founded(&desired(3));
    let frozen = model.leader_ordinal().unwrap();
    model.freeze(frozen);
    let forget_heard = |model: &Model| {
        let mut observed = model.observe();
        for seen in observed.ordinals.values_mut() {
            let identity = seen.node.as_mut().and_then(|node| node.identity.as_mut());
            for member in identity.into_iter().flat_map(|i| &mut i.members) {
                if !member.active {
                    member.last_heard_ms = None;
                }
            }
        }
        observed
    };
    let desired = desired(3);
    model.notes = super::refresh(&desired, &forget_heard(&model), model.now);
    model.pass(Duration::from_secs(9));
    let plan = super::plan(&desired, "t1", &forget_heard(&model), model.now);
    assert_eq!(plan.step, None, "{plan}");
    model.pass(Duration::from_secs(1));
    let plan = super::plan(&desired, "t1", &forget_heard(&model), model.now);
    assert!(
        matches!(plan.step, Some(Step::NoteRemoval { .. })),
        "{plan}"
    );
}

#[test]
fn a_spent_budget_waits() {
    let mut model = Model::founded(&desired(3));
    model.empty_disk(1);
    model.settle();
    let mut few = desired(3);
    few.replacements_per_hour_max = 2;
    model.notes.replacements = vec![model.now, model.now];
    assert_holds(&model.plan(&few), State::Waiting, "maxReplacementsPerHour");
    model.pass(Duration::from_secs(3600));
    assert!(model.plan(&few).step.is_some());
}

#[test]
fn a_second_broken_member_keeps_the_first_from_being_replaced() {
    let mut model = Model::founded(&desired(5));
    model.empty_disk(1);
    model.freeze(2);
    model.settle();
    assert_holds(
        &model.plan(&desired(5)),
        State::Waiting,
        "waiting to replace demo-1: demo-2",
    );
}

#[test]
fn nothing_is_begun_while_a_pod_hangs_on_a_lost_machine() {
    let mut model = Model::founded(&desired(3));
    let lost = (0..3)
        .find(|ordinal| Some(*ordinal) != model.leader_ordinal())
        .unwrap();
    model.freeze(lost);
    let pod = model.pods.get_mut(&lost).unwrap();
    pod.host = Host::NotReady;
    pod.terminating = true;
    model.pass(Duration::from_secs(600));
    let plan = model.plan(&desired(1));
    assert_holds(&plan, State::Waiting, "machine is lost");
}

#[test]
fn growing_adds_one_member_after_the_other() {
    let mut model = Model::founded(&desired(3));
    let plan = model.plan(&desired(5));
    assert_eq!((plan.step, plan.replicas), (None, 4));
    let steps = steps(&mut model, &desired(5), 20);
    let join = ["NoteJoin", "AddLearner", "Assign", "Promote"];
    assert_eq!(steps, [join, join].concat());
    assert_eq!(model.voters(), 5);
}

#[test]
fn shrinking_moves_leadership_off_the_top_and_deletes_the_claim_last() {
    let mut model = Model::founded(&desired(5));
    let top = model.member_at(4).unwrap();
    model.raft.as_mut().unwrap().leader = Some(top);
    let steps = steps(&mut model, &desired(3), 20);
    assert_eq!(
        steps,
        [
            "Transfer",
            "NoteRemoval",
            "Remove",
            "DeleteClaim",
            "Forget",
            "NoteRemoval",
            "Remove",
            "DeleteClaim",
            "Forget"
        ]
    );
    assert_eq!(
        (model.voters(), model.claims.len(), model.pods.len()),
        (3, 3, 3)
    );
}

#[test]
fn the_statefulset_shrinks_only_after_the_id_is_removed() {
    let mut model = Model::founded(&desired(5));
    let smaller = desired(4);
    while model.member_at(4).is_some() {
        assert_eq!(model.plan(&smaller).replicas, 5);
        model.turn(&smaller);
    }
    assert_eq!(model.plan(&smaller).replicas, 4);
}

#[test]
fn a_member_whose_claim_somebody_deleted_is_replaced_before_it_loses_its_disk() {
    let mut model = Model::founded(&desired(3));
    let ordinal = model.leader_ordinal().unwrap();
    model.claims.get_mut(&ordinal).unwrap().terminating = true;
    let steps = steps(&mut model, &desired(3), 20);
    let expected = [
        "NoteRemoval",
        "Transfer",
        "Remove",
        "DeletePod",
        "Forget",
        "NoteJoin",
        "AddLearner",
        "Assign",
        "Promote",
    ];
    assert_eq!(steps, expected);
}

#[test]
fn a_member_whose_disk_went_back_to_an_earlier_state_is_replaced_unless_it_is_the_only_one() {
    let mut model = Model::founded(&desired(3));
    let ordinal = (model.leader_ordinal().unwrap() + 1) % 3;
    model.claims.get_mut(&ordinal).unwrap().rolled_back = true;
    let steps = steps(&mut model, &desired(3), 20);
    let expected = [
        "NoteRemoval",
        "Remove",
        "DeleteClaim",
        "DeletePod",
        "Forget",
        "NoteJoin",
        "AddLearner",
        "Assign",
        "Promote",
    ];
    assert_eq!(steps, expected);
    let mut alone = Model::founded(&desired(1));
    alone.claims.get_mut(&0).unwrap().rolled_back = true;
    assert_eq!(alone.plan(&desired(1)).step, None);
}

#[test]
fn the_only_member_keeps_its_pod_when_somebody_deleted_its_claim() {
    let mut model = Model::founded(&desired(1));
    model.claims.get_mut(&0).unwrap().terminating = true;
    model.template = "t2".to_owned();
    assert_holds(
        &model.plan(&desired(1)),
        State::Waiting,
        "not rolling demo-0",
    );
}

#[test]
fn a_noted_shrink_gives_way_to_a_member_that_lost_its_disk() {
    let mut model = Model::founded(&desired(5));
    while !matches!(model.turn(&desired(4)).step, Some(Step::NoteRemoval { .. })) {}
    model.empty_disk(1);
    model.settle();
    let steps = steps(&mut model, &desired(4), 3);
    assert_eq!(steps, ["CancelRemoval", "NoteRemoval", "Remove"]);
}

#[test]
fn a_removed_identity_that_boots_again_is_wiped() {
    let mut model = Model::founded(&desired(3));
    let id = MemberId(0x77);
    let raft = model.raft.as_mut().unwrap();
    raft.removed.insert(id);
    let cluster_id = raft.cluster_id;
    // Its claim was left behind by hand, and the cluster grows into it.
    let template = model.claims[&0].clone();
    let leftover = super::model_test::Claim {
        uid: "left".to_owned(),
        incarnation: Incarnation(0x99),
        identity: Some((cluster_id, id)),
        ..template
    };
    model.claims.insert(3, leftover);
    for _ in 0..30 {
        model.turn(&desired(4));
    }
    assert_eq!(model.voters(), 4);
    assert_ne!(model.claims[&3].uid, "left");
}

#[test]
fn a_roll_takes_followers_first_and_the_leader_last() {
    let mut model = Model::founded(&desired(3));
    model.raft.as_mut().unwrap().leader = model.member_at(0);
    model.template = "t2".to_owned();
    let mut order = Vec::new();
    for _ in 0..20 {
        match model.turn(&desired(3)).step {
            Some(Step::DeletePod {
                ordinal,
                grace_seconds: None,
                ..
            }) => {
                order.push(format!("{ordinal}"));
            }
            Some(Step::Transfer { from, to, .. }) => order.push(format!("{from}->{to}")),
            other => assert_eq!(other, None),
        }
    }
    assert_eq!(order, ["1", "2", "0->1", "0"]);
}

#[test]
fn a_roll_waits_until_the_others_are_ready() {
    let mut model = Model::founded(&desired(3));
    model.template = "t2".to_owned();
    let mut observed = model.observe();
    observed
        .ordinals
        .get_mut(&2)
        .unwrap()
        .pod
        .as_mut()
        .unwrap()
        .ready = false;
    let plan = super::plan(&desired(3), "t2", &observed, model.now);
    assert!(
        matches!(plan.step, Some(Step::DeletePod { ordinal: 2, .. })),
        "{plan}"
    );
    observed
        .ordinals
        .get_mut(&2)
        .unwrap()
        .pod
        .as_mut()
        .unwrap()
        .template_hash = Some("t2".to_owned());
    let plan = super::plan(&desired(3), "t2", &observed, model.now);
    assert_holds(&plan, State::Waiting, "demo-2 isn't ready");
}

#[test]
fn a_roll_waits_for_the_statefulset_to_know_its_template() {
    let mut model = Model::founded(&desired(3));
    model.template = "t2".to_owned();
    let mut observed = model.observe();
    observed.statefulset.as_mut().unwrap().settled_hash = Some("t1".to_owned());
    let plan = super::plan(&desired(3), "t2", &observed, model.now);
    assert_holds(&plan, State::Waiting, "take note of its new template");
}

#[test]
fn a_changed_way_of_judging_is_a_log_entry_and_no_restart() {
    let model = Model::founded(&desired(3));
    let mut stricter = desired(3);
    stricter.scoring.points.restarted = 30;
    let scoring = stricter.scoring;
    assert_eq!(
        model.plan(&stricter).step,
        Some(Step::Configure { scoring })
    );
}

#[test]
fn a_deposed_leader_isnt_believed() {
    let mut model = Model::founded(&desired(3));
    model.freeze(0);
    let mut observed = model.observe();
    // 0 answers again, still thinking that it leads in an old term, heard by nobody.
    let stale = {
        let mut thawed = model.clone();
        thawed.thaw(0);
        let mut report = thawed.observe().ordinals[&0].node.clone().unwrap();
        let identity = report.identity.as_mut().unwrap();
        identity.role = crate::observe::Role::Leader;
        identity.term = 1;
        for member in &mut identity.members {
            member.active = false;
        }
        report
    };
    observed.ordinals.get_mut(&0).unwrap().node = Some(stale);
    let desired = desired(3);
    let view = super::View::new(&desired, "t1", &observed, model.now);
    assert_ne!(view.leader.unwrap().ordinal, 0);
}

#[test]
fn plans_print_as_sentences() {
    let mut model = Model::founded(&desired(3));
    model.empty_disk(1);
    model.settle();
    let id = model.member_at(1).unwrap();
    assert_eq!(
        model.plan(&desired(3)).to_string(),
        format!("Working: begin to remove member {id} of ordinal 1: it lost its disk")
    );
}
