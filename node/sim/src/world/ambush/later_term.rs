//! A voter hears of a later term while it keeps a promise: it has no leader any more then, and
//! nothing but the promise keeps it from voting.
//!
//! Of three voters, the leader's answers come late, so that it leads on while the two others,
//! who don't hear it, both begin to campaign. The first gets as far as a term of its own; its
//! requests for votes and its refusal of the other's come late, too. The second hears the leader
//! again and promises; and then the refusal arrives, and the leader is cut off.

use std::time::Duration;

use raftery_raft::{Instant, MemberId, RoleKind};

use super::{Clients, Next, Plot};
use crate::world::World;

#[derive(Debug)]
pub(super) struct LaterTerm {
    leader: MemberId,
    others: [MemberId; 2],
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// What was written arrives everywhere.
    Quieting { until: Instant },
    /// Answers to the leader are held back.
    Holding { until: Instant },
    /// The leader is silent. Its last answers arrive when it would soon give up.
    Silent { until: Instant },
    /// The first is to enter a term of its own.
    First,
    /// The second is to ask the first.
    Second { first: MemberId, second: MemberId },
    /// The second is to promise the leader once more.
    Again { first: MemberId, second: MemberId },
}

impl LaterTerm {
    pub(super) fn lay(world: &mut World<'_>) -> Option<(Plot, Duration)> {
        let (leader, one, other) = world.calm_three()?;
        world.scene.clients = Clients::Quiet;
        world.scene.is_still = true;
        let until = world.now + Duration::from_millis(30);
        let plot = Self {
            leader,
            others: [one, other],
            stage: Stage::Quieting { until },
        };
        Some((Plot::LaterTerm(plot), Duration::from_millis(2000)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        if world.role(self.leader) != Some(RoleKind::Leader) {
            return Next::Over;
        }
        let now = world.now;
        let stage = match self.stage {
            Stage::Quieting { until } if until <= now => self.hold_answers(world),
            Stage::Holding { until } if until <= now => self.silence_leader(world),
            Stage::Silent { until } if until <= now => self.release_answers(world),
            Stage::First => self.await_first(world),
            Stage::Second { first, second } if self.asks(world, second) => {
                world.network.join(self.leader, second);
                Some(Stage::Again { first, second })
            }
            Stage::Again { first, second } if self.is_ripe(world, first, second) => {
                return self.spring(world, first, second);
            }
            stage => Some(stage),
        };
        stage.map_or(Next::Over, |stage| {
            Next::Wait(Plot::LaterTerm(Self { stage, ..self }))
        })
    }

    fn hold_answers(&self, world: &mut World<'_>) -> Option<Stage> {
        for id in self.others {
            world.network.hold(id, self.leader);
        }
        // As long as a heartbeat round, so that there is an answer to hold back.
        let lasts = Duration::from_millis(55);
        world.look_again_in(lasts);
        let until = world.now + lasts;
        Some(Stage::Holding { until })
    }

    fn silence_leader(&self, world: &mut World<'_>) -> Option<Stage> {
        for id in self.others {
            world.network.cut_one_way(self.leader, id);
        }
        let lasts = Duration::from_millis(185);
        world.look_again_in(lasts);
        let until = world.now + lasts;
        Some(Stage::Silent { until })
    }

    fn release_answers(&self, world: &mut World<'_>) -> Option<Stage> {
        for id in self.others {
            let held = world.network.release(id, self.leader);
            world.deliver_late(held);
        }
        Some(Stage::First)
    }

    fn await_first(&self, world: &mut World<'_>) -> Option<Stage> {
        let [one, other] = self.others;
        let (first, second) = match (world.role(one)?, world.role(other)?) {
            (RoleKind::Candidate, _) => (one, other),
            (_, RoleKind::Candidate) => (other, one),
            _ => return Some(Stage::First),
        };
        world.network.hold(first, second);
        world.network.part(first, self.leader);
        Some(Stage::Second { first, second })
    }

    fn asks(&self, world: &World<'_>, id: MemberId) -> bool {
        world.role(id) == Some(RoleKind::PreCandidate)
    }

    /// Whether the second has promised, and the first will ask again while the promise runs.
    fn is_ripe(&self, world: &World<'_>, first: MemberId, second: MemberId) -> bool {
        let follows = world.members[&second]
            .shown()
            .is_some_and(|status| status.leader == Some(self.leader));
        let deadline = world.deadline(first);
        let is_soon = deadline.is_some_and(|at| at.since(world.now) < Duration::from_millis(150));
        follows && is_soon && world.has_lease(self.leader)
    }

    fn spring(&self, world: &mut World<'_>, first: MemberId, second: MemberId) -> Next {
        world.isolate(self.leader);
        let held = world.network.release(first, second);
        world.deliver_late(held);
        world.scene.clients = Clients::Usual;
        world.scene.reads_at = Some(self.leader);
        world.faults().promises_in_later_terms += 1;
        Next::Sprung(Duration::from_millis(500))
    }
}
