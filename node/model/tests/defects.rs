//! The models find what they should: each rule done wrong is refuted, by the property that it is
//! there for. The shortest trace is printed.

use std::fmt::Debug;
use std::hash::Hash;

use raftery_model::Defect;
use raftery_model::calm::{Calm, ELECTED_IN_TIME, Patience, Scene};
use raftery_model::storm::{NO_STALE_READ, NO_WRITE_LOST, ONE_LEADER, PROMISES_KEPT, Storm};
use stateright::{Checker, HasDiscoveries, Model};

/// Searches for a counterexample and prints it.
fn refute<M>(model: M, what: &str, property: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Hash + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug,
{
    // One thread finds the shortest.
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyOf([property].into()))
        .spawn_bfs()
        .join();
    let Some(path) = checker.discovery(property) else {
        panic!("\"{property}\" holds despite {what}");
    };
    let states = checker.unique_state_count();
    println!("{what}, against \"{property}\", after {states} states:");
    for action in path.into_actions() {
        println!("  {action:?}");
    }
}

fn refute_storm(defect: Defect, property: &'static str) {
    let storm = Storm {
        defect: Some(defect),
        is_nameless: false,
    };
    refute(storm, &format!("{defect:?}"), property);
}

#[test]
fn a_vote_despite_a_promise_is_noticed_and_gives_stale_reads() {
    refute_storm(Defect::GrantDespitePromise, PROMISES_KEPT);
    refute_storm(Defect::GrantDespitePromise, NO_STALE_READ);
}

#[test]
fn a_lease_kept_after_timeout_now_gives_stale_reads() {
    refute_storm(Defect::LeaseAfterTimeoutNow, NO_STALE_READ);
}

#[test]
fn a_lease_that_rests_on_the_configured_timeout_gives_stale_reads() {
    refute_storm(Defect::LeaseOnConfiguredTimeout, NO_STALE_READ);
}

#[test]
fn without_a_wait_after_a_start_promises_are_forgotten_and_reads_are_stale() {
    refute_storm(Defect::NoWaitAfterStart, PROMISES_KEPT);
    refute_storm(Defect::NoWaitAfterStart, NO_STALE_READ);
}

#[test]
fn a_heartbeat_that_is_not_counted_must_not_extend_the_lease() {
    refute_storm(Defect::UncountedExtendsLease, NO_STALE_READ);
}

#[test]
fn a_forgotten_vote_gives_two_leaders() {
    refute_storm(Defect::ForgetsVote, ONE_LEADER);
}

#[test]
fn a_vote_for_a_stale_log_loses_writes() {
    refute_storm(Defect::VotesForStaleLog, NO_WRITE_LOST);
}

#[test]
fn a_vote_refused_by_rank_keeps_a_majority_without_a_leader() {
    let calm = Calm {
        scene: Scene::Pair,
        patience: Patience::GrowsDuringStall,
        // Many times what the rules take.
        ticks_max: 100,
        defect: Some(Defect::RankVetoes),
    };
    refute(calm, "RankVetoes", ELECTED_IN_TIME);
}
