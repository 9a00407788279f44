//! A joint configuration is left, and the network splits: a majority of the old half doesn't know
//! that it was left, the leader goes on with a majority of the new half.

use std::time::Duration;

use raftery_raft::{ConfChange, LogIndex, MemberId};

use super::halves::{Halves, joint_since, last};
use super::{Clients, Next, Plot};
use crate::world::World;

#[derive(Debug)]
pub(super) struct OldHalf {
    sides: Halves,
    /// Where the entry that leaves stands, once it does.
    leave: Option<LogIndex>,
}

impl OldHalf {
    pub(super) fn lay(
        world: &mut World<'_>,
        leader: MemberId,
        change: &ConfChange,
    ) -> Option<(Plot, Duration)> {
        let sides = Halves::of(world, leader, change, true)?;
        world.scene.clients = Clients::Quiet;
        world.scene.is_still = true;
        let plot = Self { sides, leave: None };
        Some((Plot::OldHalf(plot), Duration::from_millis(150)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        let leader = self.sides.leader;
        match (self.leave, joint_since(world, leader)) {
            (None, Some(_)) => {
                // What tells them of the joint configuration is on its way, with the entry that
                // leaves it. They answer to that.
                for id in &self.sides.old {
                    world.network.cut_one_way(leader, *id);
                }
                let leave = Some(last(world, leader));
                Next::Wait(Plot::OldHalf(Self { leave, ..self }))
            }
            (Some(leave), None) => self.spring(world, leave),
            (None, None) | (Some(_), Some(_)) => Next::Wait(Plot::OldHalf(self)),
        }
    }

    fn spring(&self, world: &mut World<'_>, leave: LogIndex) -> Next {
        let is_left_out = |id: &&MemberId| joint_since(world, **id).is_some();
        let (old, new) = (&self.sides.old, &self.sides.new);
        if old.iter().filter(is_left_out).count() <= usize::midpoint(old.len(), 1) {
            // The leader is gone, or too few of them have got as far.
            return Next::Over;
        }
        if !new.iter().all(|id| last(world, *id) >= leave) {
            return Next::Over;
        }
        self.sides.part(world, true);
        world.scene.clients = Clients::Usual;
        world.faults().left_old_halves += 1;
        Next::Sprung(Duration::from_millis(1200))
    }
}
