//! A disk gives back what it acknowledged: all of it and, behind it, at most further whole batches
//! in the order in which they were written (§3.8).

use super::{Invariant, Observation};

#[derive(Debug, Default)]
pub(super) struct AcknowledgedIsRecovered;

impl Invariant for AcknowledgedIsRecovered {
    fn name(&self) -> &'static str {
        "acknowledged is recovered"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Started {
            member, verdict, ..
        } = observation
        else {
            return Ok(());
        };
        (*verdict)
            .clone()
            .map_err(|what| format!("{member}: {what}"))
    }
}
