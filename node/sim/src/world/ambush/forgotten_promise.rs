//! A leader's lease rests on a voter that has just promised not to vote for another. That voter
//! crashes, forgets the promise with its memory, and is back in no time, without the leader but
//! with those who have been cut off from it for nearly an election timeout and will campaign in a
//! moment.

use std::time::Duration;

use raftery_raft::{Instant, MemberId};

use super::{Clients, Next, Plot};
use crate::faults::micros;
use crate::world::World;
use crate::world::crash::Crash;

#[derive(Debug)]
pub(super) struct ForgottenPromise {
    leader: MemberId,
    /// They lack the vote of one.
    away: Vec<MemberId>,
    witness: MemberId,
    /// How long before the first of them campaigns.
    ahead: Duration,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// What was written arrives everywhere.
    Quieting { until: Instant },
    /// Those who are cut off come near the end of their patience.
    Waiting,
}

impl ForgottenPromise {
    pub(super) fn lay(world: &mut World<'_>) -> Option<(Plot, Duration)> {
        let (leader, mut others) = world.calm_cluster()?;
        if others.len() % 2 == 1 {
            return None; // no half of the others is enough for a lease and for an election
        }
        world.rng.shuffle(&mut others);
        let witness = others.pop()?;
        others.truncate(others.len().div_ceil(2));
        world.scene.clients = Clients::Quiet;
        world.scene.is_still = true;
        let quiet = Duration::from_millis(40);
        world.look_again_in(quiet);
        let plot = Plot::ForgottenPromise(Self {
            leader,
            away: others,
            witness,
            ahead: micros(&mut world.rng, 15_000, 60_000),
            stage: Stage::Quieting {
                until: world.now + quiet,
            },
        });
        Some((plot, Duration::from_millis(900)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        let campaign = self.away.iter().map(|id| world.deadline(*id)).min();
        let Some(campaign) = campaign.flatten() else {
            return Next::Over;
        };
        match self.stage {
            Stage::Quieting { until } if world.now < until => {
                Next::Wait(Plot::ForgottenPromise(self))
            }
            Stage::Quieting { .. } => self.cut(world, campaign),
            Stage::Waiting if campaign.since(world.now) > self.ahead => {
                Next::Wait(Plot::ForgottenPromise(self))
            }
            Stage::Waiting => self.spring(world),
        }
    }

    fn cut(self, world: &mut World<'_>, campaign: Instant) -> Next {
        if !world.has_lease(self.leader) {
            return Next::Over;
        }
        for id in &self.away {
            world.network.part(self.leader, *id);
        }
        let ahead = campaign.since(world.now).saturating_sub(self.ahead);
        world.look_again_in(ahead);
        Next::Wait(Plot::ForgottenPromise(Self {
            stage: Stage::Waiting,
            ..self
        }))
    }

    fn spring(self, world: &mut World<'_>) -> Next {
        if !world.has_lease(self.leader) || world.members[&self.witness].running.is_none() {
            return Next::Over;
        }
        world.network.part(self.leader, self.witness);
        let how = Crash {
            loses_all: world.rng.bool(),
            rots: false,
            away: 1_000..8_000,
        };
        world.crash_so(self.witness, how);
        world.scene.clients = Clients::Usual;
        world.scene.reads_at = Some(self.leader);
        world.faults().forgotten_promises += 1;
        Next::Sprung(Duration::from_millis(500))
    }
}
