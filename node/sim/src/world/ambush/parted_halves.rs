//! A joint configuration is committed, and the network splits: on one side a majority of the new
//! half that knows of it, on the other a majority of the old half that doesn't. The leader, which
//! does, crashes before it has said so there.

use std::collections::BTreeSet;
use std::time::Duration;

use raftery_raft::{ConfChange, MemberChange, MemberId};

use super::{Clients, Next, Plot};
use crate::world::World;
use crate::world::crash::Crash;

/// Entries that may be on their way when the change is sent.
const LACKS_MAX: u64 = 6;

#[derive(Debug)]
pub(super) struct PartedHalves {
    leader: MemberId,
    /// A majority of the new half.
    new: BTreeSet<MemberId>,
    /// The rest of the old half, the leader apart.
    old: BTreeSet<MemberId>,
    has_crashed: bool,
}

impl PartedHalves {
    /// The leader has just sent `change` to everybody.
    pub(super) fn lay(
        world: &mut World<'_>,
        leader: MemberId,
        change: &ConfChange,
    ) -> Option<(Plot, Duration)> {
        let ConfChange::Change { changes } = change else {
            return None;
        };
        let mut rng = world.rng.fork();
        let voters = &world.members[&leader].shown()?.membership.voters;
        let (mut new, mut leave) = (BTreeSet::new(), BTreeSet::new());
        for change in changes {
            match change {
                MemberChange::AddLearner { .. } => false,
                MemberChange::Promote { id } => new.insert(*id),
                MemberChange::Demote { id } | MemberChange::Remove { id } => leave.insert(*id),
            };
        }
        let is_fine = |id: &MemberId| world.follows(*id, leader) && is_near(world, *id, leader);
        let stays = |id: &MemberId| *id != leader && !leave.contains(id) && is_fine(id);
        let mut stay: Vec<_> = voters.iter().copied().filter(stays).collect();
        let half = (voters.len() + new.len() - leave.len()) / 2;
        rng.shuffle(&mut stay);
        let more = (half + 1).saturating_sub(new.len());
        new.extend(stay.iter().take(more));
        let mut old: BTreeSet<_> = voters.difference(&new).copied().collect();
        let are_enough = new.len() > half
            && new.iter().all(is_fine)
            && old.iter().filter(|id| is_fine(id)).count() > voters.len() / 2;
        old.remove(&leader);
        if !are_enough {
            return None;
        }
        for id in &old {
            // They answer, and don't hear that it is committed.
            world.network.cut_one_way(leader, *id);
        }
        world.scene.clients = Clients::Quiet;
        world.scene.is_still = true;
        let plot = Self {
            leader,
            new,
            old,
            has_crashed: false,
        };
        Some((Plot::PartedHalves(plot), Duration::from_millis(150)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        if self.has_crashed {
            return self.count(world);
        }
        if !knows(world, self.leader) {
            return Next::Wait(Plot::PartedHalves(self));
        }
        for old in self.old.iter().chain([&self.leader]) {
            for new in &self.new {
                world.network.part(*old, *new);
            }
        }
        // What it would add to its log isn't there yet.
        let how = Crash {
            loses_all: true,
            rots: false,
            away: 3_000..10_000,
        };
        world.crash_so(self.leader, how);
        for id in &self.old {
            world.network.join(self.leader, *id);
        }
        Next::Wait(Plot::PartedHalves(Self {
            has_crashed: true,
            ..self
        }))
    }

    /// The last messages arrive.
    fn count(self, world: &mut World<'_>) -> Next {
        if self.old.iter().any(|id| knows(world, *id)) {
            return Next::Over;
        }
        if !self.new.iter().all(|id| knows(world, *id)) {
            return Next::Wait(Plot::PartedHalves(self));
        }
        world.scene.clients = Clients::Usual;
        world.faults().parted_halves += 1;
        Next::Sprung(Duration::from_millis(1500))
    }
}

/// Whether a member's log lacks hardly anything.
fn is_near(world: &World<'_>, id: MemberId, leader: MemberId) -> bool {
    let last = |id| {
        let running = world.members[&id].running.as_ref();
        running.map_or(0, |running| running.raft.last_index().0)
    };
    last(id) + LACKS_MAX >= last(leader)
}

/// Whether the joint configuration is in force for a member.
fn knows(world: &World<'_>, id: MemberId) -> bool {
    let shown = world.members.get(&id).and_then(|member| member.shown());
    shown.is_some_and(|status| status.membership.is_joint())
}
