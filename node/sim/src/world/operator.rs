//! An operator that never rests: it adds members, removes others and moves leadership.

use bytes::Bytes;
use raftery_raft::{ConfChange, LogIndex, MemberChange, MemberId, Membership, Recovered};

use super::{Broken, World};

impl World<'_> {
    /// One step: finish the change under way, begin another, or hand over leadership.
    pub(super) fn operate(&mut self) -> Result<(), Broken> {
        let Some(leader) = self.leader() else {
            return Ok(());
        };
        let member = &self.members[&leader];
        if member.running.as_ref().is_none_or(|r| r.is_suspended()) {
            return Ok(()); // it doesn't answer
        }
        let membership = member.shown().expect("it leads").membership.clone();
        if self.rng.u8(0..6) == 0 {
            let to = self
                .rng
                .choice(&membership.voters)
                .copied()
                .expect("it leads voters");
            self.say(format_args!("operator: {leader} hands over to {to}"));
            return self
                .input(leader, |raft, now| raft.transfer_leader(now, to))
                .map(drop);
        }
        let has_proposed = self.change(leader, &membership)?;
        if has_proposed && self.rng.u8(0..3) == 0 {
            self.faults().hasty_changes += 1;
            self.change(leader, &membership)?;
        }
        Ok(())
    }

    /// Proposes the next change; gives whether the leader took it.
    fn change(&mut self, leader: MemberId, membership: &Membership) -> Result<bool, Broken> {
        let Some(change) = self.next_change(membership) else {
            return Ok(false);
        };
        self.say(format_args!("operator: {change:?}"));
        let added = match &change {
            ConfChange::AddLearner { id, .. } => Some(*id),
            ConfChange::Found { .. }
            | ConfChange::Promote { .. }
            | ConfChange::Remove { .. }
            | ConfChange::Change { .. }
            | ConfChange::LeaveJoint => None,
        };
        let expected: LogIndex = membership.index;
        let proposed = self.input(leader, |raft, now| {
            raft.propose_conf_change(now, change.clone(), Some(expected))
        })?;
        let is_proposed = matches!(proposed, Some(Ok(_)));
        if is_proposed {
            self.ambush_change(leader, &change);
        }
        if let Some(id) = added
            && is_proposed
        {
            // Its ID is used up, whatever becomes of the change.
            self.next_member = MemberId(id.0 + 1);
            self.install(id, &Recovered::default())?;
        }
        Ok(is_proposed)
    }

    /// Grow by one or two through learners, then shrink as much, at once or in a second step: who
    /// lost its log if someone did, or any voters, the leader too. Nobody leaves while another
    /// one's log is lost, noticed or not.
    fn next_change(&mut self, membership: &Membership) -> Option<ConfChange> {
        if membership.is_joint() {
            return None; // the leader leaves it by itself
        }
        let is_broken = |id: &MemberId| self.members.get(id).is_some_and(|m| m.is_broken);
        let is_rotten = |id: MemberId| {
            let disk = self.members.get(&id).map(|member| &member.disk);
            disk.is_some_and(|disk| disk.is_rotten || disk.is_repairing)
        };
        if let Some(id) = membership.learners.iter().find(|id| is_broken(id)) {
            return Some(ConfChange::Remove { id: *id });
        }
        let is_any_rotten = membership.members().any(is_rotten);
        let learners: Vec<_> = membership.learners.iter().copied().collect();
        if let [one, two, ..] = learners[..]
            && !is_any_rotten
            && membership.voters.len() <= self.size
        {
            let mut voters: Vec<_> = membership.voters.iter().copied().collect();
            self.rng.shuffle(&mut voters);
            // Who leaves is told so and stops, perhaps before the others know for certain that the
            // joint configuration was left: a majority of its old half has to be among those
            // that stay.
            let leave = voters.len() - (voters.len() / 2 + 1);
            let promoted = [one, two].map(|id| MemberChange::Promote { id });
            let removed = voters[..leave].iter().take(2);
            let removed = removed.map(|id| MemberChange::Remove { id: *id });
            let changes = promoted.into_iter().chain(removed).collect();
            return Some(ConfChange::Change { changes });
        }
        if membership.voters.len() > self.size {
            let any = self.rng.choice(&membership.voters).copied();
            let leaves = if is_any_rotten {
                membership.voters.iter().find(|id| is_broken(id)).copied()
            } else {
                any
            };
            return leaves.map(|id| ConfChange::Remove { id });
        }
        if let Some(id) = learners.first()
            && (learners.len() > 1 || self.rng.bool())
        {
            return Some(ConfChange::Promote { id: *id });
        }
        Some(ConfChange::AddLearner {
            id: self.next_member,
            context: Bytes::new(),
        })
    }
}
