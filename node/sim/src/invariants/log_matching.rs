//! If two logs contain an entry with the same index and term, they are the same up to it (§3.5).
//!
//! Said of each entry alone: an index and a term have one content and one predecessor, in all
//! logs and for ever. The property follows by going back step by step.

use std::collections::HashMap;

use raftery_raft::{LogId, Payload};

use super::{Invariant, Observation};

#[derive(Debug, Default)]
pub(super) struct LogMatching {
    entries: HashMap<LogId, (LogId, Payload)>,
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
        } = observation
        else {
            return Ok(());
        };
        let mut before = *before;
        for entry in *entries {
            let known = self
                .entries
                .entry(entry.id)
                .or_insert_with(|| (before, entry.payload.clone()));
            if known.0 != before {
                let other = known.0;
                return Err(format!(
                    "{member}: {} follows {before}, elsewhere {other}",
                    entry.id
                ));
            }
            if known.1 != entry.payload {
                return Err(format!(
                    "{member}: {} has another content elsewhere",
                    entry.id
                ));
            }
            before = entry.id;
        }
        Ok(())
    }
}
