//! No read is granted by a lease when a promise that it rests on is over: nobody has been elected in a
//! later term by then. (It may be served whenever its index is applied.)

use raftery_raft::{MemberId, Term};

use super::{Invariant, Observation};

#[derive(Debug, Default)]
pub(super) struct UnexpiredPromises {
    latest: Option<(Term, MemberId)>,
}

impl Invariant for UnexpiredPromises {
    fn name(&self) -> &'static str {
        "unexpired promises"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Elected { member, term, .. } => {
                self.latest = self.latest.max(Some((*term, *member)));
                Ok(())
            }
            Observation::ReadGranted { member, read, term } => match self.latest {
                Some((later, other)) if later > *term => Err(format!(
                    "{member} granted {read} by its lease of term {term} when {other} had been \
                     elected in {later}"
                )),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
