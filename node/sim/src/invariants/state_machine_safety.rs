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
            Observation::Started {
                member, applied, ..
            } => {
                self.applied.insert(*member, *applied);
            }
            Observation::Installed { member, last } => {
                let before = self.applied.insert(*member, last.index).unwrap_or_default();
                if before >= last.index {
                    return Err(format!("{member} goes back from {before} to {last}"));
                }
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
                        None if position == self.committed.len() => {
                            self.committed.push(entry.clone());
                        }
                        None => return Err(format!("nobody applied what is before {index}")),
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
