//! A read sees every write that was acknowledged before it was asked for (§6.4).

use std::collections::BTreeMap;

use raftery_raft::{LogIndex, ReadId};

use super::{Invariant, Observation};

#[derive(Debug, Default)]
pub(super) struct LinearizableReads {
    acknowledged: LogIndex,
    /// What was acknowledged when each read was asked for.
    asked: BTreeMap<ReadId, LogIndex>,
}

impl Invariant for LinearizableReads {
    fn name(&self) -> &'static str {
        "linearizable reads"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Acknowledged { id, .. } => {
                self.acknowledged = self.acknowledged.max(id.index);
            }
            Observation::ReadAsked { read } => {
                self.asked.insert(*read, self.acknowledged);
            }
            Observation::ReadServed {
                member,
                read,
                index,
            } => {
                let Some(needed) = self.asked.remove(read) else {
                    return Err(format!("{member} serves read {read} twice, or unasked"));
                };
                if *index < needed {
                    return Err(format!(
                        "{member} serves read {read} at {index}, and {needed} was acknowledged"
                    ));
                }
            }
            Observation::Elected { .. }
            | Observation::Written { .. }
            | Observation::Applied { .. }
            | Observation::Started { .. }
            | Observation::Converged { .. } => {}
        }
        Ok(())
    }
}
