//! Reads, writes and compare-and-puts take effect one at a time, each between its call and its
//! answer (linearizability, §6.3, §6.4).
//!
//! The log is the witness, so nothing has to be searched for: a write took effect at its index, a
//! read right behind the index at which it was served. That order is a legal history of the
//! registers if every answer is what a replay gives there; and it respects real time if nothing
//! that was asked for after an answer stands before what was answered.

use std::collections::HashMap;

use raftery_raft::{LogIndex, ReadId};

use super::{Invariant, Observation};
use crate::clients::WriteId;
use crate::model::Model;

#[derive(Debug)]
pub(super) struct Linearizability {
    /// Replays what was committed.
    model: Model,
    /// The latest place of anything that was answered.
    answered: LogIndex,
    /// The latest place that had been answered when each was asked for.
    writes: HashMap<WriteId, LogIndex>,
    reads: HashMap<ReadId, LogIndex>,
}

impl Default for Linearizability {
    fn default() -> Self {
        Self {
            model: Model::new(),
            answered: LogIndex(0),
            writes: HashMap::new(),
            reads: HashMap::new(),
        }
    }
}

impl Invariant for Linearizability {
    fn name(&self) -> &'static str {
        "linearizability"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Applied { entries, .. } => {
                for entry in *entries {
                    self.model.apply(entry);
                }
            }
            Observation::WriteAsked { write } => {
                self.writes.insert(write.id, self.answered);
            }
            Observation::WriteAnswered {
                write,
                id,
                took_effect,
            } => {
                let Some(floor) = self.writes.remove(write) else {
                    return Err(format!("{write:?} is answered twice, or unasked"));
                };
                if id.index <= floor {
                    return Err(format!("{write:?} is at {id}, {floor} was answered before"));
                }
                let effect = self.model.effect(id.index);
                if effect.map(|(_, effect)| effect) != Some(*took_effect) {
                    return Err(format!(
                        "{write:?} at {id}: {took_effect} is the wrong answer"
                    ));
                }
                self.answered = self.answered.max(id.index);
            }
            Observation::ReadAsked { read } => {
                self.reads.insert(*read, self.answered);
            }
            Observation::ReadAnswered {
                member,
                read,
                key,
                at,
                value,
            } => {
                let Some(floor) = self.reads.remove(read) else {
                    return Err(format!("{member} serves read {read} twice, or unasked"));
                };
                if *at < floor {
                    return Err(format!(
                        "{member} serves read {read} at {at}, {floor} was answered before"
                    ));
                }
                let right = self.model.value(*key, *at);
                if right != *value {
                    return Err(format!(
                        "{member} reads {value:?} from {key:?} at {at}, right is {right:?}"
                    ));
                }
                self.answered = self.answered.max(*at);
            }
            _ => {}
        }
        Ok(())
    }
}
