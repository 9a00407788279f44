//! What judging comes to for Raft, whatever the scores: timers that change at any time, wishes about
//! who campaigns first, leaders that give up. Drawn by chance, so that no wish is too odd to be seen.

use std::collections::BTreeMap;
use std::time::Duration;

use raftery_raft::{MemberId, Timers};

use super::{Broken, World};
use crate::faults::micros;

impl World<'_> {
    /// Somebody who runs gets other timers; a leader has other wishes, or resigns.
    pub(super) fn judge(&mut self) -> Result<(), Broken> {
        let awake = self.members.iter().filter(|(_, member)| {
            let running = member.running.as_ref();
            running.is_some_and(|running| !running.is_suspended())
        });
        let awake: Vec<_> = awake.map(|(id, _)| *id).collect();
        let Some(id) = self.rng.choice(awake) else {
            return Ok(());
        };
        if self.rng.bool() {
            return self.retime(id);
        }
        if !self.leads(id) {
            return Ok(());
        }
        if self.rng.u8(0..8) == 0 {
            self.faults().resignations += 1;
            let to = self.input(id, |raft, now| raft.resign(now))?;
            self.say(format_args!("{id} resigns in favour of {to:?}"));
            return Ok(());
        }
        let members: Vec<_> = self.members.keys().copied().collect();
        let mut wishes = BTreeMap::new();
        for member in members {
            wishes.insert(member, self.a_delay());
        }
        self.faults().delays += 1;
        self.input(id, |raft, _| raft.set_delays(wishes)).map(drop)
    }

    fn retime(&mut self, id: MemberId) -> Result<(), Broken> {
        let election_timeout = micros(&mut self.rng, 150_000, 600_000);
        let timers = Timers {
            heartbeat_interval: micros(&mut self.rng, 10_000, 50_000),
            election_timeout,
        };
        self.faults().retimed += 1;
        self.input(id, |raft, now| raft.set_timers(now, timers))
            .map(drop)
    }

    /// Often none, sometimes more than anybody will obey.
    fn a_delay(&mut self) -> Duration {
        match self.rng.u8(0..8) {
            0..4 => Duration::ZERO,
            4..7 => micros(&mut self.rng, 0, 200_000),
            _ => Duration::from_secs(3600),
        }
    }
}
