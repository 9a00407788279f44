//! The two sides of a joint configuration that ambushes part: a majority of the new half, and the
//! rest of the old half, which is a majority of that.

use std::collections::BTreeSet;

use raftery_raft::{ConfChange, LogIndex, MemberChange, MemberId};

use crate::world::World;

/// Entries that may be on their way when the change is sent.
const LACKS_MAX: u64 = 6;

#[derive(Debug)]
pub(super) struct Halves {
    pub(super) leader: MemberId,
    /// Whether it votes in the new half, too.
    pub(super) leader_stays: bool,
    /// A majority of the new half, the leader apart.
    pub(super) new: BTreeSet<MemberId>,
    /// A majority of the old half, the leader apart.
    pub(super) old: BTreeSet<MemberId>,
}

impl Halves {
    /// The leader has just sent `change` to everybody; it is to be on the side of the new half or
    /// on that of the old. `None` if there are no two such sides that follow it closely.
    pub(super) fn of(
        world: &mut World<'_>,
        leader: MemberId,
        change: &ConfChange,
        leads_new: bool,
    ) -> Option<Self> {
        let mut rng = world.rng.fork();
        let voters = &world.members[&leader].shown()?.membership.voters;
        let (mut new, leave) = coming_and_going(change)?;
        let half = (voters.len() + new.len() - leave.len()) / 2;
        let is_fine = |id: &MemberId| world.follows(*id, leader) && is_near(world, *id, leader);
        let may_be_new = |id: &MemberId| *id != leader && !leave.contains(id) && is_fine(id);
        let mut stay: Vec<_> = voters.iter().copied().filter(may_be_new).collect();
        rng.shuffle(&mut stay);
        if leads_new && !leave.contains(&leader) {
            stay.insert(0, leader);
        }
        let more = (half + 1).saturating_sub(new.len());
        new.extend(stay.iter().take(more));
        let mut old: BTreeSet<_> = voters.difference(&new).copied().collect();
        let are_sides = new.contains(&leader) == leads_new
            && new.len() > half
            && new.iter().all(is_fine)
            && old.iter().filter(|id| is_fine(id)).count() > voters.len() / 2;
        new.remove(&leader);
        old.remove(&leader);
        are_sides.then_some(Self {
            leader,
            leader_stays: !leave.contains(&leader),
            new,
            old,
        })
    }

    /// The sides don't reach each other any more.
    pub(super) fn part(&self, world: &mut World<'_>, leads_new: bool) {
        let with = |side: &BTreeSet<MemberId>, has_leader: bool| -> Vec<MemberId> {
            let leader = has_leader.then_some(self.leader);
            side.iter().copied().chain(leader).collect()
        };
        for new in with(&self.new, leads_new) {
            for old in with(&self.old, !leads_new) {
                world.network.part(new, old);
            }
        }
    }
}

/// Who becomes a voter, and who isn't one any more.
fn coming_and_going(change: &ConfChange) -> Option<(BTreeSet<MemberId>, BTreeSet<MemberId>)> {
    let ConfChange::Change { changes } = change else {
        return None;
    };
    let (mut come, mut go) = (BTreeSet::new(), BTreeSet::new());
    for change in changes {
        match change {
            MemberChange::AddLearner { .. } => false,
            MemberChange::Promote { id } => come.insert(*id),
            MemberChange::Demote { id } | MemberChange::Remove { id } => go.insert(*id),
        };
    }
    (come.len() + go.len() > 1).then_some((come, go))
}

/// Whether a member's log lacks hardly anything.
fn is_near(world: &World<'_>, id: MemberId, leader: MemberId) -> bool {
    last(world, id).0 + LACKS_MAX >= last(world, leader).0
}

/// Where a member's log ends; 0 while it is down.
pub(super) fn last(world: &World<'_>, id: MemberId) -> LogIndex {
    let member = world.members.get(&id);
    let running = member.and_then(|member| member.running.as_ref());
    running.map_or(LogIndex(0), |running| running.raft.last_index())
}

/// Since when the joint configuration is in force for a member, if it is.
pub(super) fn joint_since(world: &World<'_>, id: MemberId) -> Option<LogIndex> {
    let membership = &world.members.get(&id)?.shown()?.membership;
    membership.is_joint().then_some(membership.index)
}
