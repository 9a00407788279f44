//! A state machine takes long to become durable while many entries are applied. When it is done at
//! last, and the log has been cut behind it, its machine crashes and loses every unsynced byte.

use std::time::Duration;

use raftery_raft::{Instant, MemberId};

use super::{Clients, Next, Plot};
use crate::faults::micros;
use crate::world::World;
use crate::world::crash::Crash;

#[derive(Debug)]
pub(super) struct LaggingStore {
    victim: MemberId,
    /// Until then the disk is busy.
    until: Instant,
}

impl LaggingStore {
    pub(super) fn lay(world: &mut World<'_>) -> Option<(Plot, Duration)> {
        let (_, others) = world.calm_cluster()?;
        let victim = world.rng.choice(others)?;
        world.scene.slow_store = Some(victim);
        world.scene.clients = Clients::Busy;
        world.scene.is_still = true;
        let lasts = micros(&mut world.rng, 200_000, 500_000);
        world.look_again_in(lasts);
        let plot = Plot::LaggingStore(Self {
            victim,
            until: world.now + lasts,
        });
        Some((plot, lasts + Duration::from_millis(50)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        let Some(running) = world.members[&self.victim].running.as_ref() else {
            return Next::Over;
        };
        if world.now < self.until {
            return Next::Wait(Plot::LaggingStore(self));
        }
        if world.scene.slow_store.take().is_some() && !running.keeper.is_syncing() {
            return Next::Over;
        }
        if running.keeper.is_syncing() {
            return Next::Wait(Plot::LaggingStore(self));
        }
        let how = Crash {
            loses_all: true,
            rots: false,
            away: 5_000..50_000,
        };
        world.crash_so(self.victim, how);
        world.faults().lagging_stores += 1;
        Next::Sprung(Duration::from_millis(50))
    }
}
