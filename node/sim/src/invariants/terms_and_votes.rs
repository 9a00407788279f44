//! A member's term never falls, and within a term it doesn't change its vote (§3.4, figure 3.1).

use std::collections::BTreeMap;

use raftery_raft::{HardState, MemberId};

use super::{Invariant, Observation};

#[derive(Debug, Default)]
pub(super) struct TermsAndVotes {
    /// In the present life.
    last: BTreeMap<MemberId, HardState>,
}

impl Invariant for TermsAndVotes {
    fn name(&self) -> &'static str {
        "terms never fall, votes are final"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            // What was on its way may be lost.
            Observation::Started {
                member, hard_state, ..
            } => {
                self.last.insert(*member, **hard_state);
            }
            Observation::Written {
                member, hard_state, ..
            } => {
                let before = self.last.insert(*member, **hard_state).unwrap_or_default();
                let is_same_term = before.term == hard_state.term;
                let changes_vote = before.vote.is_some() && before.vote != hard_state.vote;
                if hard_state.term < before.term || (is_same_term && changes_vote) {
                    return Err(format!("{member} goes from {before:?} to {hard_state:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
