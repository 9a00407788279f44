//! Nothing bad happens in any state of a storm.
//!
//! Three terms and promises of up to two ticks: 3.2 million states (of members without names; about
//! six times as many with) and 48 million steps between them, up to 30 in a row. That takes 40 s of
//! one core, or half of it on two.

use std::time::Instant;

use raftery_model::storm::Storm;
use stateright::{Checker, Model};

#[test]
fn one_leader_a_term_no_stale_read_and_no_broken_promise_in_any_state() {
    let start = Instant::now();
    let storm = Storm {
        defect: None,
        is_nameless: true,
    };
    let checker = storm.checker().threads(2).spawn_bfs().join();
    println!(
        "storm: {} states, {} steps, depth {}, {:.1?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed(),
    );
    checker.assert_properties();
}
