//! A leader is cut off from everybody in the instant in which it tells another to campaign. That
//! one may be elected in spite of what was promised to the leader, whose clients read on.

use std::time::Duration;

use raftery_raft::MemberId;

use super::{Next, Plot};
use crate::world::{Broken, World};

#[derive(Debug)]
pub(super) struct HandOver {
    leader: MemberId,
}

impl HandOver {
    pub(super) fn lay(world: &mut World<'_>) -> Result<Option<(Plot, Duration)>, Broken> {
        let Some((leader, others)) = world.calm_cluster() else {
            return Ok(None);
        };
        let to = world.rng.choice(others).expect("others follow");
        world.scene.handed_over = None;
        world.input(leader, |raft, now| raft.transfer_leader(now, to))?;
        let plot = Plot::HandOver(Self { leader });
        Ok(Some((plot, Duration::from_millis(300))))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        let Self { leader } = self;
        if world.scene.handed_over != Some(leader) {
            return Next::Wait(Plot::HandOver(self));
        }
        world.isolate(leader);
        world.scene.is_still = true;
        world.scene.reads_at = Some(leader);
        world.faults().lonely_hand_overs += 1;
        Next::Sprung(Duration::from_millis(600))
    }
}
