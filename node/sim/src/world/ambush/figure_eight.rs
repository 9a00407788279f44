//! Figure 3.7 of the thesis (8 of the paper), with three voters. The first leads and takes writes
//! that reach nobody. The second is elected by the third, and is cut off before it can say
//! anything. The first is elected again, by the third, and brings it what it took in its earlier
//! term; as soon as the third has something of it, the first is cut off, and the second, whose log
//! ends with a later term, comes back.

use std::time::Duration;

use raftery_raft::{LogIndex, MemberId, RoleKind, Term};

use super::halves::last;
use super::{Clients, Next, Plot};
use crate::world::World;

#[derive(Debug)]
pub(super) struct FigureEight {
    first: MemberId,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The others are to elect one of them in a term after this one.
    Elect { others: [MemberId; 2], term: Term },
    /// The third has been asked for its vote; then the second is to lead.
    Lead { second: MemberId, third: MemberId },
    /// The first is to bring the third more than this.
    Bring {
        second: MemberId,
        third: MemberId,
        before: LogIndex,
    },
    /// The third has something; is it to hear the rest or not?
    Answer { second: MemberId, third: MemberId },
}

impl FigureEight {
    pub(super) fn lay(world: &mut World<'_>) -> Option<(Plot, Duration)> {
        let (first, one, other) = world.calm_three()?;
        let term = world.members[&first].shown()?.term;
        world.isolate(first);
        world.scene.is_still = true;
        let others = [one, other];
        let plot = Self {
            first,
            stage: Stage::Elect { others, term },
        };
        Some((Plot::FigureEight(plot), Duration::from_millis(2500)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        let first = self.first;
        let stage = match self.stage {
            Stage::Elect { others, term } => elect(world, others, term),
            Stage::Lead { second, third } => lead(world, first, second, third),
            Stage::Bring {
                second,
                third,
                before,
            } if last(world, third) > before => {
                // Whatever else it sends doesn't arrive; the answer does.
                world.network.cut_one_way(first, third);
                world.look_again_in(Duration::from_millis(20));
                Stage::Answer { second, third }
            }
            Stage::Answer { second, third } if has_answer(world, first, third) => {
                world.isolate(first);
                world.network.join(second, third);
                world.scene.clients = Clients::Usual;
                world.faults().figure_eights += 1;
                return Next::Sprung(Duration::from_millis(1500));
            }
            stage => stage,
        };
        Next::Wait(Plot::FigureEight(Self { first, stage }))
    }
}

/// One of the two asks the other, which enters the new term before it answers.
fn elect(world: &mut World<'_>, others: [MemberId; 2], term: Term) -> Stage {
    let [one, other] = others;
    for (second, third) in [(one, other), (other, one)] {
        let is_asking = world.role(second) == Some(RoleKind::Candidate);
        let is_asked = world.members[&third]
            .shown()
            .is_some_and(|status| status.term > term && status.role == RoleKind::Follower);
        if is_asking && is_asked {
            world.network.hold(second, third);
            return Stage::Lead { second, third };
        }
    }
    Stage::Elect { others, term }
}

/// The second leads, and is cut off from now on. The first meets the third.
fn lead(world: &mut World<'_>, first: MemberId, second: MemberId, third: MemberId) -> Stage {
    if world.role(second) != Some(RoleKind::Leader) {
        return Stage::Lead { second, third };
    }
    world.isolate(second);
    // What it said is lost.
    drop(world.network.release(second, third));
    world.network.join(first, third);
    world.scene.clients = Clients::Quiet;
    Stage::Bring {
        second,
        third,
        before: last(world, third),
    }
}

/// Whether the first knows what the third holds.
fn has_answer(world: &World<'_>, first: MemberId, third: MemberId) -> bool {
    let running = world.members[&first].running.as_ref();
    let status = running.map(|running| running.raft.status());
    status.is_some_and(|status| {
        let progress = status.progress.get(&third);
        progress.is_some_and(|progress| progress.matched == last(world, third))
    })
}
