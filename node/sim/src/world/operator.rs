//! An operator that never rests: it adds members, removes and demotes others and moves leadership.

use bytes::Bytes;
use raftery_raft::{
    ConfChange, ConfChangeError, LogIndex, MemberChange, MemberId, Membership, ProposeError,
    Recovered,
};

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
        let is_greedy = |error: &ProposeError| {
            let ProposeError::InvalidConfChange(error) = error else {
                return false;
            };
            matches!(error, ConfChangeError::TooManyLoseVote { .. })
        };
        let is_greedy = proposed.is_some_and(|result| result.is_err_and(|e| is_greedy(&e)));
        self.faults().greedy_changes += u64::from(is_greedy);
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

    /// A voter is to be removed, or to be a learner again.
    fn leaves(&mut self, id: MemberId) -> MemberChange {
        if self.rng.u8(0..3) == 0 {
            MemberChange::Demote { id }
        } else {
            MemberChange::Remove { id }
        }
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
            // Two may be too many: Raft has to say so.
            voters.truncate(if self.rng.u8(0..4) == 0 { 2 } else { 1 });
            let mut changes = [one, two].map(|id| MemberChange::Promote { id }).to_vec();
            changes.extend(voters.into_iter().map(|id| self.leaves(id)));
            return Some(ConfChange::Change { changes });
        }
        if membership.voters.len() > self.size {
            if is_any_rotten {
                let broken = membership.voters.iter().find(|id| is_broken(id));
                return broken.map(|id| ConfChange::Remove { id: *id });
            }
            let id = *self.rng.choice(&membership.voters).expect("there are many");
            let changes = vec![self.leaves(id)];
            return Some(match changes[..] {
                [MemberChange::Remove { id }] => ConfChange::Remove { id },
                _ => ConfChange::Change { changes },
            });
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
