//! A joint configuration is committed, and the network splits: on one side a majority of the new
//! half that knows of it, on the other a majority of the old half that doesn't. The leader is on
//! the side of the new half, or it is on the other and crashes before it has said anything there.

use std::time::Duration;

use raftery_raft::{ConfChange, MemberId};

use super::halves::{Halves, joint_since};
use super::{Clients, Next, Plot};
use crate::world::World;
use crate::world::crash::Crash;

#[derive(Debug)]
pub(super) struct PartedHalves {
    sides: Halves,
    leads_new: bool,
    has_parted: bool,
}

impl PartedHalves {
    pub(super) fn lay(
        world: &mut World<'_>,
        leader: MemberId,
        change: &ConfChange,
    ) -> Option<(Plot, Duration)> {
        let leads_new = world.rng.bool();
        let sides = Halves::of(world, leader, change, leads_new)?;
        for id in &sides.old {
            // They answer, and don't hear that it is committed.
            world.network.cut_one_way(leader, *id);
        }
        world.scene.clients = Clients::Quiet;
        world.scene.is_still = true;
        let plot = Self {
            sides,
            leads_new,
            has_parted: false,
        };
        Some((Plot::PartedHalves(plot), Duration::from_millis(150)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        if self.has_parted {
            return self.count(world);
        }
        let leader = self.sides.leader;
        if joint_since(world, leader).is_none() {
            return Next::Wait(Plot::PartedHalves(self));
        }
        self.sides.part(world, self.leads_new);
        if !self.leads_new {
            self.crash_leader(world);
        }
        Next::Wait(Plot::PartedHalves(Self {
            has_parted: true,
            ..self
        }))
    }

    fn crash_leader(&self, world: &mut World<'_>) {
        let leader = self.sides.leader;
        // What it would add to its log isn't there yet.
        let how = Crash {
            loses_all: true,
            rots: false,
            away: 3_000..10_000,
        };
        world.crash_so(leader, how);
        for id in &self.sides.old {
            world.network.join(leader, *id);
        }
    }

    /// The last messages arrive.
    fn count(self, world: &mut World<'_>) -> Next {
        let knows = |id: &MemberId| joint_since(world, *id).is_some();
        if self.sides.old.iter().any(knows) {
            return Next::Over;
        }
        if !self.sides.new.iter().all(knows) {
            return Next::Wait(Plot::PartedHalves(self));
        }
        world.scene.clients = Clients::Usual;
        world.faults().parted_halves += 1;
        Next::Sprung(Duration::from_millis(1500))
    }
}
