//! The end of some runs, once all agree: the leader wishes that nobody campaigns for an hour, and is
//! never heard again. Wishes delay and veto nothing, so another one leads soon.

use std::time::Duration;

use super::{Broken, World};
use crate::invariants::Observation;

/// One run of so many.
const ONE_OF: u8 = 8;
/// By then everyone has heard of it.
const SPREADS: Duration = Duration::from_millis(300);
const WISH: Duration = Duration::from_secs(3600);

impl World<'_> {
    pub(super) fn last_wish(&mut self) -> Result<(), Broken> {
        let Some((leader, others)) = self.calm_cluster() else {
            return Ok(());
        };
        if others.len() < 2 || self.rng.u8(..ONE_OF) > 0 {
            return Ok(());
        }
        self.say(format_args!("{leader} wishes that nobody campaigns"));
        let wishes = others.iter().map(|id| (*id, WISH)).collect();
        self.input(leader, |raft, _| raft.set_delays(wishes))?;
        let spread = self.now + SPREADS;
        while self.now < spread {
            self.next()?;
        }
        self.say(format_args!("{leader} is cut off for good"));
        self.faults().last_wishes += 1;
        self.isolate(leader);
        let cut_at = self.now;
        while !others.iter().any(|id| self.leads(*id)) {
            self.next()?;
            let leaderless = self.now.since(cut_at);
            self.invariants
                .observe(&Observation::Healed { leaderless })?;
        }
        Ok(())
    }
}
