//! A joint configuration is left. The new half hears so, and nothing of what was written behind
//! that: only the old half holds it when the network splits. Answers come late, the last ones of
//! the old half before all others, so that all of it would be committed at once if the old half
//! was asked alone.

use std::time::Duration;

use raftery_raft::{ConfChange, Heartbeat, Instant, LogIndex, MemberId, MessageBody, PeerMessage};

use super::halves::{Halves, joint_since, last};
use super::{Clients, Next, Plot};
use crate::world::World;

#[derive(Debug)]
pub(super) struct NewHalf {
    sides: Halves,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The joint configuration isn't in force yet.
    Joining,
    /// Clients write; nobody answers the leader.
    Writing { leave: LogIndex, until: Instant },
    /// The old half has answered; the leader says how much is committed.
    Telling { leave: LogIndex },
}

impl NewHalf {
    pub(super) fn lay(
        world: &mut World<'_>,
        leader: MemberId,
        change: &ConfChange,
    ) -> Option<(Plot, Duration)> {
        let sides = Halves::of(world, leader, change, false)?;
        if !sides.leader_stays {
            return None; // it would step down when it leaves
        }
        world.scene.is_still = true;
        let stage = Stage::Joining;
        let plot = Plot::NewHalf(Self { sides, stage });
        Some((plot, Duration::from_millis(300)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        let stage = match self.stage {
            Stage::Joining => self.join(world),
            Stage::Writing { leave, until } if until <= world.now => self.answer(world, leave),
            Stage::Telling { leave } if self.is_told(world, leave) => {
                return self.spring(world, leave);
            }
            stage => Some(stage),
        };
        stage.map_or(Next::Over, |stage| {
            Next::Wait(Plot::NewHalf(Self { stage, ..self }))
        })
    }

    /// The entry that leaves is on its way; everything after that is held back.
    fn join(&self, world: &mut World<'_>) -> Option<Stage> {
        let leader = self.sides.leader;
        if joint_since(world, leader).is_none() {
            return Some(Stage::Joining);
        }
        for id in &self.sides.new {
            world.network.hold(leader, *id);
        }
        for id in self.sides.new.iter().chain(&self.sides.old) {
            world.network.hold(*id, leader);
        }
        world.scene.clients = Clients::Busy;
        let lasts = Duration::from_millis(30);
        world.look_again_in(lasts);
        Some(Stage::Writing {
            leave: last(world, leader),
            until: world.now + lasts,
        })
    }

    fn answer(&self, world: &mut World<'_>, leave: LogIndex) -> Option<Stage> {
        let has_it = |id: &MemberId| last(world, *id) >= leave;
        if !self.sides.new.iter().all(has_it) {
            return None;
        }
        for id in &self.sides.old {
            let mut held = world.network.release(*id, self.sides.leader);
            // What the last answer says the others said before; they may as well be lost.
            let furthest = held.iter().map(accepts).max().flatten();
            held.retain(|message| accepts(message).is_none_or(|to| Some(to) == furthest));
            world.deliver_late(held);
        }
        for id in &self.sides.new {
            let held = world.network.release(*id, self.sides.leader);
            world.deliver_after(Duration::from_millis(3), held);
        }
        world.scene.clients = Clients::Quiet;
        Some(Stage::Telling { leave })
    }

    /// Whether heartbeats that say so wait on the way to the new half.
    fn is_told(&self, world: &World<'_>, leave: LogIndex) -> bool {
        let tells = |id: &MemberId| {
            let mut held = world.network.held_back(self.sides.leader, *id);
            held.any(|message| says_left(message, leave))
        };
        self.sides.new.iter().all(tells)
    }

    fn spring(&self, world: &mut World<'_>, leave: LogIndex) -> Next {
        for id in &self.sides.new {
            let mut held = world.network.release(self.sides.leader, *id);
            held.retain(|message| says_left(message, leave));
            world.deliver_late(held);
        }
        self.sides.part(world, false);
        world.scene.clients = Clients::Usual;
        world.faults().left_new_halves += 1;
        Next::Sprung(Duration::from_millis(1200))
    }
}

/// Up to where a follower says that it holds the log.
fn accepts(message: &PeerMessage) -> Option<LogIndex> {
    match message.body {
        MessageBody::AppendAccepted { matched } => Some(matched),
        _ => None,
    }
}

fn says_left(message: &PeerMessage, leave: LogIndex) -> bool {
    matches!(message.body, MessageBody::Heartbeat(Heartbeat { commit, .. }) if commit >= leave)
}
