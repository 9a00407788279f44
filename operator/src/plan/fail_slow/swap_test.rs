//! Replacing slow members of clusters in memory, with an operator that dies at every step.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::{Desired, FailSlow, Veto};
use crate::ids::MemberId;
use crate::plan::model_test::{Model, desired};
use crate::plan::{Plan, State, Step};

/// Turns within which a swap ends, whatever the operator does.
const TURNS: usize = 400;

fn replacing(replicas: i32) -> Desired {
    Desired {
        fail_slow: FailSlow::Replace,
        ..desired(replicas)
    }
}

/// A cluster with a settled leader and a slow follower.
fn slow_follower(desired: &Desired) -> (Model, u32) {
    let mut model = Model::founded(desired);
    model.pass(Duration::from_secs(120));
    let slow = (0..desired.replicas)
        .find(|ordinal| model.leader_ordinal() != Some(*ordinal))
        .unwrap();
    model.slow_down(slow, true);
    (model, slow)
}

/// What may never be, whatever the operator does to a cluster that only has a slow member.
fn check(model: &Model, replicas: usize) {
    assert!(model.quorum_alive(), "{model:#?}");
    assert!(model.live_voters().len() >= replicas, "{model:#?}");
    assert!(model.learners() <= 1, "{model:#?}");
    assert!(model.raft.as_ref().unwrap().swaps <= 1, "{model:#?}");
}

/// Whether the cluster is as it was, with another member at the ordinal that was slow.
fn assert_replaced(model: &Model, desired: &Desired, ordinal: u32, old: MemberId) {
    let raft = model.raft.as_ref().unwrap();
    assert!(raft.removed.contains(&old), "{model:#?}");
    assert_ne!(model.member_at(ordinal), Some(old));
    assert_ne!(model.member_at(ordinal), None);
    assert_size(model, desired);
}

fn assert_size(model: &Model, desired: &Desired) {
    let wanted = desired.replicas as usize;
    let size = (model.voters(), model.pods.len(), model.claims.len());
    assert_eq!(size, (wanted, wanted, wanted), "{model:#?}");
    assert_eq!((model.learners(), &model.notes.swap), (0, &None));
    assert_eq!(model.plan(desired).state, State::Steady);
}

/// Goes on until all is steady and nobody is slow.
fn finish(model: &mut Model, desired: &Desired) -> Vec<String> {
    let mut steps = Vec::new();
    for _ in 0..TURNS {
        let plan = model.turn(desired);
        steps.extend(plan.step.as_ref().map(|step| step.kind().to_owned()));
        check(model, desired.replicas as usize);
        if plan.summary == "all is as it shall be" && model.notes.swap.is_none() {
            return steps;
        }
    }
    panic!("{}\n{model:#?}", model.plan(desired));
}

/// Turns until the next step is such a one, and gives it.
fn until(model: &mut Model, desired: &Desired, is_it: impl Fn(&Step) -> bool) -> Plan {
    for _ in 0..TURNS {
        let plan = model.plan(desired);
        if plan.step.as_ref().is_some_and(&is_it) {
            return plan;
        }
        model.turn(desired);
    }
    panic!("{}\n{model:#?}", model.plan(desired));
}

fn begin(model: &mut Model, desired: &Desired) {
    until(model, desired, |step| matches!(step, Step::NoteSwap { .. }));
    model.turn(desired);
}

fn until_swap(model: &mut Model, desired: &Desired) -> Plan {
    until(model, desired, |step| matches!(step, Step::Swap { .. }))
}

#[track_caller]
fn assert_watched(plan: &Plan, words: &str) {
    assert_eq!((plan.state, &plan.step), (State::Steady, &None), "{plan}");
    assert!(plan.summary.contains(words), "{plan}");
}

#[test]
fn a_slow_follower_is_swapped_for_one_beside_it_and_its_ordinal_joins_anew() {
    for replicas in [3, 5] {
        let desired = replacing(replicas);
        let (mut model, slow) = slow_follower(&desired);
        let old = model.member_at(slow).unwrap();
        model.turn(&desired);
        let expected = [
            "NoteSwap",
            "NoteJoin",
            "AddLearner",
            "Assign",
            "Swap",
            "DeleteClaim",
            "DeletePod",
            "Forget",
            "NoteJoin",
            "AddLearner",
            "Assign",
            "Promote",
            "NoteRemoval",
            "Remove",
            "DeleteClaim",
            "Forget",
        ];
        assert_eq!(finish(&mut model, &desired), expected);
        assert_replaced(&model, &desired, slow, old);
        assert_eq!(model.notes.replacements.len(), 1);
        assert!(!model.claims.values().any(|claim| claim.slow));
    }
}

#[test]
fn a_slow_leader_hands_over_first_and_is_replaced_then() {
    let desired = replacing(3);
    let mut model = Model::founded(&desired);
    model.pass(Duration::from_secs(120));
    let slow = model.leader_ordinal().unwrap();
    let old = model.member_at(slow).unwrap();
    model.slow_down(slow, true);
    model.turn(&desired);
    assert_watched(&model.plan(&desired), "has to hand over first");
    until(&mut model, &desired, |step| {
        matches!(step, Step::Transfer { .. })
    });
    begin(&mut model, &desired);
    finish(&mut model, &desired);
    assert_replaced(&model, &desired, slow, old);
}

#[test]
fn one_that_came_to_lead_hands_over_before_it_is_swapped() {
    let desired = replacing(3);
    let (mut model, slow) = slow_follower(&desired);
    let old = model.member_at(slow).unwrap();
    begin(&mut model, &desired);
    let raft = model.raft.as_mut().unwrap();
    (raft.leader, raft.term) = (Some(old), raft.term + 1);
    let steps = finish(&mut model, &desired);
    assert_replaced(&model, &desired, slow, old);
    let place = |kind: &str| steps.iter().position(|step| step == kind);
    assert!(place("Transfer") < place("Swap"), "{steps:?}");
}

#[test]
fn an_operator_that_dies_at_any_step_finds_its_way() {
    let desired = replacing(3);
    for deed_is_done in [false, true] {
        let mut died = 0;
        for dies_at in 0..TURNS {
            let (mut model, slow) = slow_follower(&desired);
            let old = model.member_at(slow).unwrap();
            model.turn(&desired);
            let mut step = 0;
            let mut has_died = false;
            while step <= dies_at {
                let plan = model.plan(&desired);
                if plan.summary == "all is as it shall be" {
                    break;
                }
                let dies = step == dies_at;
                has_died |= dies;
                // Dead before its deed, or after it and before its notes.
                if !dies || deed_is_done {
                    model.act(&desired, &plan, !dies);
                }
                // The world may go on before the next operator looks, or not.
                if dies_at % 2 == 0 {
                    model.settle();
                }
                check(&model, 3);
                model.settle();
                check(&model, 3);
                model.pass(Duration::from_secs(1));
                step += 1;
            }
            if !has_died {
                break;
            }
            died += 1;
            finish(&mut model, &desired);
            assert_replaced(&model, &desired, slow, old);
        }
        assert!(died > 15, "died only {died} times");
    }
}

#[test]
fn an_operator_that_dies_right_after_the_swap_sees_it_through_while_it_is_joint() {
    let desired = replacing(3);
    let (mut model, slow) = slow_follower(&desired);
    let old = model.member_at(slow).unwrap();
    begin(&mut model, &desired);
    let plan = until_swap(&mut model, &desired);
    model.act(&desired, &plan, false);
    assert!(model.raft.as_ref().unwrap().joint.is_some());
    // Another one takes over; it has neither heard of the swap nor is the joint step left.
    for _ in 0..5 {
        let plan = model.plan(&desired);
        assert!(
            matches!(plan.step, Some(Step::Remove { id, .. }) if id == old),
            "{plan}"
        );
        model.act(&desired, &plan, true);
    }
    assert!(model.raft.as_ref().unwrap().joint.is_some(), "refused");
    finish(&mut model, &desired);
    assert_replaced(&model, &desired, slow, old);
}

#[test]
fn the_disk_of_one_that_was_swapped_goes_though_it_fell_silent_and_the_operator_died() {
    let desired = replacing(3);
    let (mut model, slow) = slow_follower(&desired);
    let old = model.member_at(slow).unwrap();
    let plan = until_swap(&mut model, &desired);
    model.act(&desired, &plan, false);
    model.settle();
    // It neither answers nor ended as removed: nobody but the note tells what it was.
    model.freeze(slow);
    let mut observed = model.observe();
    let pod = observed.ordinals.get_mut(&slow).unwrap().pod.as_mut();
    pod.unwrap().ended_as_removed = false;
    let plan = crate::plan::plan(&desired, &model.template, &observed, model.now);
    assert!(
        matches!(plan.step, Some(Step::DeleteClaim { ordinal, .. }) if ordinal == slow),
        "{plan}"
    );
    finish(&mut model, &desired);
    assert_replaced(&model, &desired, slow, old);
}

#[test]
fn one_that_is_too_slow_to_keep_up_is_made_room_for_all_the_same() {
    let desired = replacing(3);
    let (mut model, slow) = slow_follower(&desired);
    begin(&mut model, &desired);
    let old = model.member_at(slow).unwrap();
    let mut observed = model.observe();
    for seen in observed.ordinals.values_mut() {
        let identity = seen.node.as_mut().unwrap().identity.as_mut().unwrap();
        let mut members = identity.members.iter_mut();
        members.find(|m| m.id == old).unwrap().caught_up = false;
    }
    let plan = crate::plan::plan(&desired, &model.template, &observed, model.now);
    assert_eq!((plan.replicas, plan.state), (4, State::Working), "{plan}");
}

/// What stops a swap at a moment, and the spec from then on.
type Stop = fn(&mut Model, &mut Desired, u32);

#[test]
fn whatever_speaks_against_it_before_the_swap_ends_it_and_the_extra_ordinal_goes() {
    let recovers: Stop = |model, _, slow| model.slow_down(slow, false);
    let vetoed: Stop = |_, desired, _| desired.fail_slow_veto = Veto::All;
    let vetoed_by_name: Stop = |_, desired, slow| {
        desired.fail_slow_veto = Veto::Pods([desired.pod_name(slow)].into());
    };
    let edited: Stop = |_, desired, _| desired.fail_slow = FailSlow::Transfer;
    for stop in [recovers, vetoed, vetoed_by_name, edited] {
        let mut stopped = 0;
        for turns in 0..TURNS {
            let mut desired = replacing(3);
            let (mut model, slow) = slow_follower(&desired);
            let ids = |model: &Model| -> BTreeSet<MemberId> {
                let members = &model.raft.as_ref().unwrap().members;
                members.keys().copied().collect()
            };
            let before = ids(&model);
            begin(&mut model, &desired);
            for _ in 0..turns {
                model.turn(&desired);
            }
            if model.raft.as_ref().unwrap().swaps > 0 {
                break;
            }
            stop(&mut model, &mut desired, slow);
            for _ in 0..20 {
                model.turn(&desired);
                check(&model, 3);
            }
            assert_eq!(ids(&model), before, "stopped after {turns} turns");
            assert_size(&model, &desired);
            stopped += 1;
        }
        assert!(stopped > 3, "stopped only {stopped} times");
    }
}

#[test]
fn another_size_ends_a_swap_and_the_cluster_gets_that_size() {
    for (size, turns) in [(5, 1), (5, 4), (1, 1), (1, 4)] {
        let desired = replacing(3);
        let (mut model, _) = slow_follower(&desired);
        begin(&mut model, &desired);
        for _ in 0..turns {
            model.turn(&desired);
        }
        let mut other = replacing(size);
        let plan = model.plan(&other);
        assert!(matches!(plan.step, Some(Step::CancelSwap { .. })), "{plan}");
        other.fail_slow = FailSlow::Observe;
        for _ in 0..60 {
            model.turn(&other);
        }
        assert_size(&model, &other);
    }
}

#[test]
fn a_broken_member_or_a_new_template_goes_before_a_slow_one() {
    let desired = replacing(3);
    let (mut model, slow) = slow_follower(&desired);
    begin(&mut model, &desired);
    let broken = (0..3)
        .find(|ordinal| *ordinal != slow && model.leader_ordinal() != Some(*ordinal))
        .unwrap();
    let mut emptied = model.clone();
    emptied.empty_disk(broken);
    let plan = emptied.plan(&desired);
    assert!(
        plan.to_string().contains("has to be replaced first"),
        "{plan}"
    );
    model.template = "t2".to_owned();
    let plan = model.plan(&desired);
    assert!(plan.to_string().contains("rolled first"), "{plan}");
}

#[test]
fn a_stand_in_that_never_answers_is_waited_for_and_holds_no_template_up() {
    let desired = replacing(3);
    let (mut model, _) = slow_follower(&desired);
    begin(&mut model, &desired);
    model.turn(&desired);
    model.freeze(3);
    for _ in 0..100 {
        let plan = model.turn(&desired);
        assert_eq!(plan.state, State::Waiting, "{plan}");
        check(&model, 3);
    }
    model.template = "t2".to_owned();
    for _ in 0..100 {
        model.turn(&desired);
    }
    assert!(model.pods.values().all(|pod| pod.template == "t2"));
}

#[test]
fn what_keeps_a_swap_from_beginning_is_said() {
    let spec = replacing(3);
    let (mut model, slow) = slow_follower(&spec);
    model.turn(&spec);
    assert!(matches!(
        model.plan(&spec).step,
        Some(Step::NoteSwap { .. })
    ));

    let mut old_version = model.clone();
    old_version.raft.as_mut().unwrap().cluster_version = 1;
    assert_watched(
        &old_version.plan(&spec),
        "needs cluster version 2, and the cluster goes by 1: update every node",
    );

    let mut few = replacing(3);
    few.replacements_per_hour_max = 2;
    let mut spent = model.clone();
    spent.notes.replacements = vec![model.now, model.now];
    assert_watched(&spent.plan(&few), "maxReplacementsPerHour");

    let mut two = model.clone();
    two.slow_down((slow + 1) % 3, true);
    two.turn(&Desired {
        fail_slow: FailSlow::Observe,
        ..replacing(3)
    });
    assert_watched(&two.plan(&spec), "to say who is to blame");

    assert_watched(&model.plan(&desired(3)), "failSlow isn't Replace");
}

#[test]
fn nothing_is_swapped_on_the_word_of_a_young_leader_or_while_another_is_silent() {
    let desired = replacing(3);
    let (mut model, slow) = slow_follower(&desired);
    begin(&mut model, &desired);
    until_swap(&mut model, &desired);
    let mut young = model.clone();
    young.raft.as_mut().unwrap().term += 1;
    young.turn(&desired);
    let plan = young.plan(&desired);
    assert_eq!((plan.state, &plan.step), (State::Waiting, &None), "{plan}");
    let other = (0..3)
        .find(|ordinal| *ordinal != slow && model.leader_ordinal() != Some(*ordinal))
        .unwrap();
    model.freeze(other);
    let plan = model.plan(&desired);
    assert_eq!((plan.state, &plan.step), (State::Waiting, &None), "{plan}");
    model.thaw(other);
    // One that is slow and then silent isn't swapped as slow.
    model.freeze(slow);
    assert_eq!(model.plan(&desired).step, None);
}
