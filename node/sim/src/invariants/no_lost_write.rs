//! A write that was acknowledged is on every member in the end, where it was acknowledged.

use std::collections::BTreeMap;

use raftery_raft::LogId;

use super::{Invariant, Observation};
use crate::machine::WriteId;

#[derive(Debug, Default)]
pub(super) struct NoLostWrite {
    acknowledged: BTreeMap<WriteId, LogId>,
}

impl Invariant for NoLostWrite {
    fn name(&self) -> &'static str {
        "no acknowledged write lost"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Acknowledged { write, id } => {
                if let Some(other) = self.acknowledged.insert(*write, *id) {
                    return Err(format!("{write:?} acknowledged twice, at {other} and {id}"));
                }
            }
            Observation::Converged { member, machine } => {
                for (write, id) in &self.acknowledged {
                    let found = machine.writes.get(write);
                    if found != Some(id) {
                        return Err(format!(
                            "{member} lacks {write:?}, acknowledged at {id}: found {found:?}"
                        ));
                    }
                }
            }
            Observation::Elected { .. }
            | Observation::Written { .. }
            | Observation::Applied { .. }
            | Observation::Started { .. }
            | Observation::ReadAsked { .. }
            | Observation::ReadServed { .. } => {}
        }
        Ok(())
    }
}
