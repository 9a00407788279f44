//! A write that was acknowledged is on every member in the end, where it was acknowledged.

use raftery_raft::LogId;

use super::{Invariant, Observation};
use crate::clients::WriteId;

#[derive(Debug, Default)]
pub(super) struct NoLostWrite {
    acknowledged: Vec<(WriteId, LogId)>,
}

impl Invariant for NoLostWrite {
    fn name(&self) -> &'static str {
        "no acknowledged write lost"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::WriteAnswered { write, id, .. } => self.acknowledged.push((*write, *id)),
            Observation::Converged { member, machine } => {
                for (write, id) in &self.acknowledged {
                    let place = usize::try_from(id.index.prev().0).expect("a short log");
                    let found = machine.writes.get(place).copied().flatten();
                    if found != Some(*write) {
                        return Err(format!(
                            "{member} lacks {write:?}, acknowledged at {id}: found {found:?}"
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
