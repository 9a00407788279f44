//! At most one leader in a term (§3.2, figure 3.2).

use std::collections::BTreeMap;

use raftery_raft::{MemberId, Term};

use super::{Invariant, Observation};

#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<Term, MemberId>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Elected { member, term, .. } = observation else {
            return Ok(());
        };
        match self.leaders.insert(*term, *member) {
            Some(other) if other != *member => {
                Err(format!("term {term} has two leaders, {other} and {member}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
