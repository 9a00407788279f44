//! A write that was acknowledged is in the log where it was acknowledged, and every member has
//! applied it in the end.

use raftery_raft::LogId;

use super::{Invariant, Observation};
use crate::clients::WriteId;
use crate::model::Model;

#[derive(Debug)]
pub(super) struct NoLostWrite {
    acknowledged: Vec<(WriteId, LogId)>,
    /// What was applied first at each index: that others apply the same is another property.
    model: Model,
}

impl Default for NoLostWrite {
    fn default() -> Self {
        Self {
            acknowledged: Vec::new(),
            model: Model::new(),
        }
    }
}

impl Invariant for NoLostWrite {
    fn name(&self) -> &'static str {
        "no acknowledged write lost"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Applied { entries, .. } => {
                for entry in *entries {
                    self.model.apply(entry);
                }
            }
            Observation::WriteAnswered { write, id, .. } => self.acknowledged.push((*write, *id)),
            Observation::Converged { member, applied } => {
                for (write, id) in &self.acknowledged {
                    let found = self.model.effect(id.index).map(|(write, _)| write.id);
                    if found != Some(*write) || id.index > *applied {
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
