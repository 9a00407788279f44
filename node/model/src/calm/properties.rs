//! No veto.

use stateright::Property;

use super::Calm;
use super::state::State;

/// Members that can talk, a majority, have a leader within the given time.
pub const ELECTED_IN_TIME: &str = "a majority that can talk elects a leader in time";
/// The bound isn't generous: someone is elected at the last moment.
pub const ELECTED_LATE: &str = "a leader is elected in the last tick";

pub(super) fn all() -> Vec<Property<Calm>> {
    vec![
        Property::always(ELECTED_IN_TIME, |_, state: &State| {
            state.is_elected || !has_run_out(state)
        }),
        Property::sometimes(ELECTED_LATE, |_, state: &State| {
            state.is_elected && state.left == 0
        }),
    ]
}

/// Whether time is over. Who is due in the last tick still has its try.
fn has_run_out(state: &State) -> bool {
    state.left == 0 && !state.members.iter().any(super::Member::is_due)
}
