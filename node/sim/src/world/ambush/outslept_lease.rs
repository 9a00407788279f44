//! A leader is suspended for longer than its lease while clients read there; the others elect
//! somebody else, who takes writes. Then it goes on, and gets to the reads before anything else.

use std::time::Duration;

use raftery_raft::MemberId;

use super::{Next, Plot};
use crate::faults::micros;
use crate::world::World;

#[derive(Debug)]
pub(super) struct OutsleptLease {
    leader: MemberId,
}

impl OutsleptLease {
    pub(super) fn lay(world: &mut World<'_>) -> Option<(Plot, Duration)> {
        let (leader, _) = world.calm_cluster()?;
        let lasts = micros(&mut world.rng, 600_000, 1_100_000);
        world.suspend_for(leader, lasts);
        let member = world.members.get_mut(&leader).expect("it leads");
        member.running.as_mut().expect("it leads").wakes_to_reads = true;
        world.scene.is_still = true;
        world.scene.reads_at = Some(leader);
        let plot = Plot::OutsleptLease(Self { leader });
        Some((plot, Duration::from_millis(1200)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        let running = world.members[&self.leader].running.as_ref();
        if running.is_some_and(|running| running.is_suspended()) {
            return Next::Wait(Plot::OutsleptLease(self));
        }
        let is_deposed = world.leader().is_some_and(|leader| leader != self.leader);
        world.faults().outslept_leases += u64::from(is_deposed);
        Next::Over
    }
}
