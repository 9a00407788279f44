//! Members apply the same entries in the same order, none left out (§3.6.3).

use std::collections::BTreeMap;

use raftery_raft::{Entry, LogIndex, MemberId};

use super::{Invariant, Observation};

#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    /// By index.
    committed: Vec<Entry>,
    applied: BTreeMap<MemberId, LogIndex>,
}

impl Invariant for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state-machine safety"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Started { member, .. } => {
                self.applied.insert(*member, LogIndex(0));
            }
            Observation::Applied {
                member, entries, ..
            } => {
                let applied = self.applied.entry(*member).or_default();
                for entry in *entries {
                    let index = entry.id.index;
                    if index != applied.next() {
                        return Err(format!("{member} applies {index} after {applied}"));
                    }
                    *applied = index;
                    let position = usize::try_from(index.prev().0).expect("a short log");
                    match self.committed.get(position) {
                        None => self.committed.push(entry.clone()),
                        Some(known) if known == entry => {}
                        Some(known) => {
                            let (own, other) = (entry.id, known.id);
                            return Err(format!("{member} applies {own}, another applied {other}"));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
