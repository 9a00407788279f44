//! A member's state is what a replay of the log gives there, history included: after each start,
//! after each snapshot, and in the end.

use super::{Invariant, Observation};
use crate::model::Model;

#[derive(Debug)]
pub(super) struct StateIsReplayed {
    model: Model,
}

impl Default for StateIsReplayed {
    fn default() -> Self {
        Self {
            model: Model::new(),
        }
    }
}

impl Invariant for StateIsReplayed {
    fn name(&self) -> &'static str {
        "the state is the log's"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Applied { entries, .. } => {
                for entry in *entries {
                    self.model.apply(entry);
                }
                Ok(())
            }
            Observation::State { member, machine } => self
                .model
                .check(machine)
                .map_err(|what| format!("{member}: {what}")),
            _ => Ok(()),
        }
    }
}
