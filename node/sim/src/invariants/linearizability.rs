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
use crate::clients::{Key, Value, WriteId};
use crate::machine::Machine;

#[derive(Debug)]
pub(super) struct Linearizability {
    /// Replays what was committed.
    model: Machine,
    /// Whether the write at each index took effect, from 1 on.
    effects: Vec<bool>,
    /// Of each register: where it changed, and to what.
    changes: Vec<Vec<(LogIndex, Value)>>,
    /// The latest place of anything that was answered.
    answered: LogIndex,
    /// The latest place that had been answered when each was asked for.
    writes: HashMap<WriteId, LogIndex>,
    reads: HashMap<ReadId, LogIndex>,
}

impl Default for Linearizability {
    fn default() -> Self {
        Self {
            model: Machine::new(),
            effects: Vec::new(),
            changes: vec![Vec::new(); Key::COUNT],
            answered: LogIndex(0),
            writes: HashMap::new(),
            reads: HashMap::new(),
        }
    }
}

impl Linearizability {
    fn value(&self, key: Key, at: LogIndex) -> Value {
        let changes = &self.changes[key.place()];
        let count = changes.partition_point(|(index, _)| *index <= at);
        count.checked_sub(1).and_then(|last| changes[last].1)
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
                    if entry.id.index != self.model.applied.next() {
                        continue; // another member was first
                    }
                    let write = self.model.apply(entry);
                    self.effects.push(write.is_some_and(|(_, effect)| effect));
                    if let Some((write, true)) = write {
                        let change = (entry.id.index, Some(write.id));
                        self.changes[write.key.place()].push(change);
                    }
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
                let place = usize::try_from(id.index.prev().0).expect("a short log");
                if self.effects.get(place) != Some(took_effect) {
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
                let right = self.value(*key, *at);
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
