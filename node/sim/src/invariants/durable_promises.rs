//! A vote or an accepted entry is promised only once the disk has acknowledged it (§3.8, §10.2.1).

use super::{Invariant, Observation, Promise};

#[derive(Debug, Default)]
pub(super) struct DurablePromises;

impl Invariant for DurablePromises {
    fn name(&self) -> &'static str {
        "durable promises"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Promised {
            member,
            promise,
            shadow,
        } = observation
        else {
            return Ok(());
        };
        let durable = &shadow.durable;
        let is_durable = match promise {
            Promise::Vote { term, to } => {
                let hard_state = &durable.hard_state;
                hard_state.term == *term && hard_state.vote == Some(*to)
            }
            Promise::Holds(id) => durable.holds(*id),
        };
        if is_durable {
            return Ok(());
        }
        let (state, last) = (durable.hard_state, shadow.last());
        Err(format!(
            "{member} promises {promise:?}, durable are {state:?} and a log up to {last}"
        ))
    }
}
