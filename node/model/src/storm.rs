//! Safety: anything that a rule doesn't forbid may happen at any time.
//!
//! **Time** is a step of its own: it takes one tick off everything that runs. Nothing else takes
//! time, so any number of steps fit into a tick.
//!
//! **Messages** aren't kept one by one. What was sent once may arrive at any later time, again and
//! again, or never; so it is enough to know what was sent: who led each term, and whom it told to
//! campaign. A vote that was granted counts whenever the candidate looks. For the lease, messages
//! that take no time are the worst case: it runs from the sending of a heartbeat and ends when it
//! ends, so that delays only make the leader enjoy less of it, and nobody else looks at it.
//!
//! **The log** is the term of its last entry. Each leader appends one entry, which stands for its
//! blank one and for a client's write at once, and commits it. Further writes of the same leader
//! add nothing: a leader knows what it acknowledged itself, and a read can only miss what *another*
//! one did. A leader's entry is in memory first and on its own disk later; it may be committed
//! without that, by the others' disks.
//!
//! **Pre-votes** are left out: they only keep members from campaigning, who here may or may not.

mod action;
mod packed;
mod properties;
mod rename;
mod rules;
mod state;

use stateright::{Model, Property};

pub use action::Action;
pub use properties::{
    EXEMPTION, LATE_LEASE, NO_STALE_READ, NO_WRITE_LOST, ONE_LEADER, PROMISES_KEPT, RIVALS,
};
pub use state::{Member, Role, State, TERM_MAX, TermRecord, Wrong};

use crate::Defect;

/// The model of safety.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// What is done wrong.
    pub defect: Option<Defect>,
    /// Members differ by nothing but their names, so states that differ by names alone are taken
    /// for one. That leaves a sixth of them, but a trace changes names halfway, so that it is off
    /// where a trace is what one wants.
    pub is_nameless: bool,
}

impl Model for Storm {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::in_service()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // After these nothing means much any more. After a broken promise much does: what it
        // leads to.
        if !state.wrong.two_leaders && !state.wrong.write_lost {
            action::collect(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = rules::apply(state, action, self.defect)?;
        if next == *state {
            return None;
        }
        next.forget_what_is_over();
        if self.is_nameless {
            next = rename::representative(&next);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
