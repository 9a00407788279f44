//! With any wishes about who campaigns when, a majority that can talk elects a leader in bounded time:
//! wishes delay, and veto nothing.

use std::time::Duration;

use super::{Invariant, Observation};

/// For how long nobody may lead where nothing is wrong any more: what a promise and the wait after a
/// start may take, and several elections by the longest timers and the longest delay that is obeyed.
const LEADERLESS_MAX: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(super) struct NoVeto;

impl Invariant for NoVeto {
    fn name(&self) -> &'static str {
        "no veto"
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Healed { leaderless } if *leaderless > LEADERLESS_MAX => Err(format!(
                "nobody has led for {leaderless:?}, and nothing is wrong any more"
            )),
            _ => Ok(()),
        }
    }
}
