//! An entry that was committed in a term is in the logs of the leaders of all later terms (§3.6.3).

use raftery_raft::{LogId, Term};

use super::{Invariant, Observation};

#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    /// By index: the entry, and a term in which it was known to be committed. The terms never
    /// fall.
    committed: Vec<(LogId, Term)>,
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Applied { term, entries, .. } => {
                for entry in *entries {
                    if entry.id.index.0 == self.committed.len() as u64 + 1 {
                        let highest = self.committed.last().map_or(*term, |(_, t)| *t.max(term));
                        self.committed.push((entry.id, highest));
                    }
                }
                Ok(())
            }
            Observation::Elected { member, term, log } => {
                // The last one that counts: log matching vouches for those before it.
                let count = self
                    .committed
                    .partition_point(|(_, committed_in)| committed_in < term);
                let Some((id, committed_in)) = self.committed[..count].last() else {
                    return Ok(());
                };
                // What the log was cut behind is committed, and in the state machine.
                if id.index <= log.base.index || log.id_at(id.index) == Some(*id) {
                    return Ok(());
                }
                Err(format!(
                    "{member} leads term {term} without {id}, committed in {committed_in}"
                ))
            }
            _ => Ok(()),
        }
    }
}
