//! Liveness: once nothing fails any more, the members that can talk elect a leader in time.
//!
//! The states that the search starts from are not those that a storm leads to but all that can be
//! written down: every combination of timers, timeouts, promises, waits, logs and terms. What holds
//! for them holds for the reachable ones. From the start a countdown runs, and the property is that
//! it never runs out before a leader is elected: a bound in ticks, where "eventually" would have to
//! look for cycles.
//!
//! **Calm** means: messages arrive at once, a campaign is over before the next one begins, each
//! timer is followed exactly. So split votes don't happen; that they are rare is what random
//! timeouts are for, and no matter of a model without chance. Whatever keeps a majority without a
//! leader here does so by rule: it is a *veto*. Timeouts differ between members; each draw from
//! `[E, 2E)` and each delay up to `E` is a choice of the search.
//!
//! In a [`Scene`] either nobody leads, or someone does who can apply nothing and beats on.

mod properties;
mod rules;
mod scene;
mod state;

use stateright::{Model, Property};

pub use properties::{ELECTED_IN_TIME, ELECTED_LATE};
pub use rules::{PATIENCE_MAX, STALL_MIN};
pub use scene::Scene;
pub use state::{Member, State};

use crate::Defect;

/// The model of liveness.
#[derive(Clone, Copy, Debug)]
pub struct Calm {
    /// Where it begins.
    pub scene: Scene,
    /// When a stalled leader's heartbeats stop to count.
    pub patience: Patience,
    /// Within how many ticks there must be a leader.
    pub ticks_max: u8,
    /// What is done wrong.
    pub defect: Option<Defect>,
}

/// How a member's tolerance for a leader that stalls grows with its vain attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// It doubles as soon as a pre-campaign began, while the same stall goes on.
    GrowsDuringStall,
    /// It stays as it was when the stall began; what was learnt counts for the next one.
    GrowsBetweenStalls,
}

/// A step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A tick passes; a leader beats.
    Tick,
    /// The member's election timer fires.
    Fire {
        /// Its place among those that can talk.
        at: usize,
        /// What its timer is set to next: a draw and a delay.
        span: u8,
    },
}

impl Model for Calm {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.scene.starts(self.ticks_max)
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.is_elected {
            return;
        }
        for (at, member) in state.members.iter().enumerate() {
            if member.is_due() {
                actions.extend(member.spans().map(|span| Action::Fire { at, span }));
            }
        }
        // Whoever is due does not wait for the next tick.
        if actions.is_empty() && state.left > 0 {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Tick => rules::tick(&mut next),
            Action::Fire { at, span } => {
                rules::fire(&mut next, at, span, self.patience, self.defect);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
