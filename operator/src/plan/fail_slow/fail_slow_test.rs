//! Plans for clusters in memory with slow disks.

use std::time::Duration;

use crate::api::{Desired, FailSlow, Veto};
use crate::plan::model_test::{Model, desired};
use crate::plan::{Plan, State, Step};

/// A cluster of three whose leader is trusted, with a slow disk at one ordinal, and what was
/// noted of it.
fn with_slow(desired: &Desired, is_slow: impl Fn(&Model, u32) -> bool) -> (Model, u32) {
    let mut model = Model::founded(desired);
    let slow = (0..desired.replicas)
        .find(|ordinal| is_slow(&model, *ordinal))
        .unwrap();
    model.pass(Duration::from_secs(120));
    model.slow_down(slow, true);
    model.turn(desired);
    (model, slow)
}

fn slow_leader(desired: &Desired) -> (Model, u32) {
    with_slow(desired, |model, ordinal| {
        model.leader_ordinal() == Some(ordinal)
    })
}

#[track_caller]
fn assert_watched(plan: &Plan, words: &str) {
    assert_eq!((plan.state, &plan.step), (State::Steady, &None), "{plan}");
    assert!(plan.summary.contains(words), "{plan}");
}

#[test]
fn a_slow_leader_gets_a_minute_to_hand_over_by_itself() {
    let desired = desired(3);
    let (mut model, slow) = slow_leader(&desired);
    model.pass(Duration::from_secs(58));
    assert_watched(&model.plan(&desired), "fails slowly and is only watched");
    model.pass(Duration::from_secs(1));
    let plan = model.turn(&desired);
    let Some(Step::Transfer { from, because, .. }) = &plan.step else {
        panic!("{plan}");
    };
    assert_eq!(*from, slow);
    let because = because.as_ref().unwrap();
    assert!(
        because.contains("fast score 100, slow score -600"),
        "{plan}"
    );
    assert_ne!(model.leader_ordinal(), Some(slow));
    for _ in 0..300 {
        assert_eq!(model.turn(&desired).step, None);
    }
}

#[test]
fn the_best_ranked_voter_that_isnt_slow_takes_over() {
    let desired = desired(5);
    let (mut model, slow) = slow_leader(&desired);
    model.pass(Duration::from_secs(60));
    let mut observed = model.observe();
    let ids: Vec<_> = (0..5).map(|ordinal| model.member_at(ordinal)).collect();
    // Falls behind as it is slow now, has caught up last, has been best.
    let scores = [(100, 900), (1, 100), (1, 700), (50, 900), (1, 400)];
    let others = (0..5).filter(|ordinal| *ordinal != slow);
    let scored: Vec<_> = others.zip(scores).collect();
    for seen in observed.ordinals.values_mut() {
        let identity = seen.node.as_mut().unwrap().identity.as_mut().unwrap();
        for member in &mut identity.members {
            for (ordinal, (fast, slow)) in &scored {
                if ids[*ordinal as usize] == Some(member.id) {
                    (member.fast_score, member.score) = (Some(*fast), *slow);
                }
            }
        }
    }
    let best = scored[2].0;
    let plan = crate::plan::plan(&desired, &model.template, &observed, model.now);
    assert!(
        matches!(plan.step, Some(Step::Transfer { to, .. }) if to == best),
        "{plan}"
    );
}

#[test]
fn nothing_begins_on_the_word_of_a_young_leader() {
    let desired = desired(3);
    let mut model = Model::founded(&desired);
    let slow = model.leader_ordinal().unwrap();
    model.slow_down(slow, true);
    model.raft.as_mut().unwrap().term += 1;
    model.turn(&desired);
    let began = model.now;
    for _ in 0..200 {
        let plan = model.turn(&desired);
        let noted = model.notes.members.iter();
        let fails = noted.filter(|n| n.slowness.since.is_some()).count();
        let lasts = model.now.duration_since(began).as_secs();
        assert_eq!(fails, usize::from(lasts >= 120), "after {lasts} s: {plan}");
        if fails > 0 {
            return;
        }
    }
    panic!("{:#?}", model.notes);
}

#[test]
fn observing_and_a_veto_leave_a_slow_leader_where_it_is_and_say_so() {
    let mut observing = desired(3);
    observing.fail_slow = FailSlow::Observe;
    let mut vetoed = desired(3);
    vetoed.fail_slow_veto = Veto::All;
    for (desired, words) in [(observing, "is Observe"), (vetoed, "veto-fail-slow")] {
        let (mut model, slow) = slow_leader(&desired);
        for _ in 0..300 {
            model.turn(&desired);
        }
        assert_watched(&model.plan(&desired), words);
        assert_eq!(model.leader_ordinal(), Some(slow));
    }
}

#[test]
fn a_veto_for_other_pods_vetoes_nothing() {
    let mut desired = desired(3);
    let (mut model, slow) = slow_leader(&desired);
    model.pass(Duration::from_secs(60));
    let other = desired.pod_name((slow + 1) % 3);
    desired.fail_slow_veto = Veto::Pods([other].into());
    assert!(model.plan(&desired).step.is_some());
    desired.fail_slow_veto = Veto::Pods([desired.pod_name(slow)].into());
    assert_watched(&model.plan(&desired), "veto-fail-slow");
}

#[test]
fn a_leader_that_recovered_leads_on_and_isnt_told_of_any_more() {
    let desired = desired(3);
    let (mut model, slow) = slow_leader(&desired);
    model.slow_down(slow, false);
    model.pass(Duration::from_secs(60));
    assert_watched(&model.plan(&desired), "all is as it shall be");
    model.turn(&desired);
    let mut noted = model.notes.members.iter();
    assert!(noted.all(|note| note.slowness == super::Slowness::default()));
}

#[test]
fn scores_of_a_leader_that_judges_no_more_move_nobody() {
    let desired = desired(3);
    let (mut model, _) = slow_leader(&desired);
    model.pass(Duration::from_secs(60));
    let moves = |model: &Model| matches!(model.plan(&desired).step, Some(Step::Transfer { .. }));
    assert!(moves(&model));
    model.raft.as_mut().unwrap().judged_ago = Duration::from_secs(10);
    assert!(!moves(&model), "{}", model.plan(&desired));
}

#[test]
fn leadership_stays_while_another_voter_is_silent_or_nobody_is_fit() {
    let desired = desired(3);
    let (mut model, slow) = slow_leader(&desired);
    model.pass(Duration::from_secs(60));
    let mut all_slow = model.clone();
    (0..3).for_each(|ordinal| all_slow.slow_down(ordinal, true));
    all_slow.turn(&desired);
    assert_watched(&all_slow.plan(&desired), "fails slowly");
    model.freeze((slow + 1) % 3);
    assert_eq!(model.plan(&desired).step, None);
}

#[test]
fn a_slow_follower_keeps_its_vote_and_a_silent_one_isnt_slow() {
    let desired = desired(3);
    let (mut model, slow) = with_slow(&desired, |model, ordinal| {
        model.leader_ordinal() != Some(ordinal)
    });
    model.pass(Duration::from_secs(600));
    assert_watched(&model.plan(&desired), "is only watched");
    model.freeze(slow);
    let plan = model.plan(&desired);
    assert_eq!(plan.state, State::Waiting, "{plan}");
}
