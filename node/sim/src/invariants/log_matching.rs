//! If two logs contain an entry with the same index and term, they are the same up to it (§3.5).
//!
//! Said of each entry alone: an index and a term have one content and one predecessor, in all
//! logs and for ever. The property follows by going back step by step.

use raftery_raft::{LogId, Payload};

use super::{Invariant, Observation};

#[derive(Debug, Default)]
pub(super) struct LogMatching {
    /// By index, those of each term: few.
    entries: Vec<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    id: LogId,
    before: LogId,
    payload: Payload,
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Written {
            member,
            before,
            entries,
            ..
        } = observation
        else {
            return Ok(());
        };
        let mut before = *before;
        for entry in *entries {
            let (id, place) = (entry.id, usize::try_from(entry.id.index.0));
            let place = place.expect("a short log");
            if self.entries.len() <= place {
                self.entries.resize_with(place + 1, Vec::new);
            }
            let found = self.entries[place].iter().find(|known| known.id == id);
            match found {
                None => self.entries[place].push(Known {
                    id,
                    before,
                    payload: entry.payload.clone(),
                }),
                Some(known) if known.before != before => {
                    let other = known.before;
                    return Err(format!(
                        "{member}: {id} follows {before}, elsewhere {other}"
                    ));
                }
                Some(known) if known.payload != entry.payload => {
                    return Err(format!("{member}: {id} has another content elsewhere"));
                }
                Some(_) => {}
            }
            before = id;
        }
        Ok(())
    }
}
