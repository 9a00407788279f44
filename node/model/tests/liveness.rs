//! A majority that can talk elects a leader in time.
//!
//! Timeouts are 1 and 3 ticks, so that a tick is 167 ms where the longer one is 500 ms, and the
//! shortest stall that is too long 6. Each bound is the least that holds. The largest scene, three
//! members and nobody leading, has 3.1 million states and takes 4 s; the others have 0.3 million or
//! fewer.

use std::time::Instant;

use raftery_model::calm::{Calm, ELECTED_IN_TIME, PATIENCE_MAX, Patience, Scene};
use stateright::{Checker, HasDiscoveries, Model};

/// Checks that a leader is elected within `ticks_max`, and not always sooner.
fn elects_within(ticks_max: u8, scene: Scene, patience: Patience) {
    let start = Instant::now();
    let calm = Calm {
        scene,
        patience,
        ticks_max,
        defect: None,
    };
    let checker = calm.checker().threads(2).spawn_bfs().join();
    println!(
        "{scene:?}, {patience:?}, {ticks_max} ticks: {} states, {:.1?}",
        checker.unique_state_count(),
        start.elapsed(),
    );
    checker.assert_properties();
}

#[test]
fn two_that_can_talk_elect_one_of_them() {
    elects_within(18, Scene::Pair, Patience::GrowsDuringStall);
}

#[test]
fn three_that_can_talk_elect_one_of_them() {
    elects_within(10, Scene::Whole, Patience::GrowsDuringStall);
}

#[test]
fn a_leader_that_stalls_is_replaced_when_tolerance_is_as_long_as_can_be() {
    let scene = Scene::Stalled {
        patience_max: PATIENCE_MAX,
    };
    elects_within(56, scene, Patience::GrowsBetweenStalls);
    elects_within(56, scene, Patience::GrowsDuringStall);
}

/// With timeouts that differ, two followers cease to count at different times. If tolerance grows
/// while the stall goes on, the one begins to count again before the other has ceased to, and each
/// is refused by the other, time after time, until both can't grow any more.
#[test]
fn a_first_stall_is_over_soon_only_if_tolerance_does_not_grow_meanwhile() {
    let scene = Scene::Stalled { patience_max: 0 };
    elects_within(14, scene, Patience::GrowsBetweenStalls);
    elects_within(52, scene, Patience::GrowsDuringStall);
    let calm = Calm {
        scene,
        patience: Patience::GrowsDuringStall,
        ticks_max: 51,
        defect: None,
    };
    let checker = calm
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let path = checker.assert_any_discovery(ELECTED_IN_TIME);
    let begin = path.clone().into_states().into_iter().next();
    println!("from {:?}:", begin.map(|state| state.members));
    println!("{:?}", path.into_actions());
}
