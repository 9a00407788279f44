//! An operator that never rests: it adds members, removes others and moves leadership.

use bytes::Bytes;
use raftery_raft::{ConfChange, MemberId, Recovered, Status};

use super::{Broken, World};

impl World {
    /// One step: finish the change under way, begin another, or hand over leadership.
    pub(super) fn operate(&mut self) -> Result<(), Broken> {
        let Some((leader, status)) = self.leader() else {
            return Ok(());
        };
        if self.rng.u8(0..6) == 0 {
            let to = self
                .rng
                .choice(status.membership.voters)
                .expect("it leads voters");
            return self
                .input(leader, |raft, now| raft.transfer_leader(now, to))
                .map(drop);
        }
        let change = self.next_change(&status);
        let added = match &change {
            ConfChange::AddLearner { id, .. } => Some(*id),
            ConfChange::Found { .. }
            | ConfChange::Promote { .. }
            | ConfChange::Remove { .. }
            | ConfChange::Change { .. }
            | ConfChange::LeaveJoint => None,
        };
        let expected = Some(status.membership.index);
        let propose = self.input(leader, |raft, now| {
            raft.propose_conf_change(now, change, expected)
        });
        if let (Some(Ok(_)), Some(id)) = (propose?, added) {
            // Its ID is used up, whatever becomes of the change.
            self.next_member = MemberId(id.0 + 1);
            self.install(id, &Recovered::default())?;
        }
        Ok(())
    }

    /// Grow by one through a learner, then shrink by one: any voter, the leader too.
    fn next_change(&mut self, status: &Status) -> ConfChange {
        let membership = &status.membership;
        if let Some(id) = membership.learners.first() {
            return ConfChange::Promote { id: *id };
        }
        if membership.voters.len() > self.size {
            let id = self
                .rng
                .choice(&membership.voters)
                .copied()
                .expect("it leads voters");
            return ConfChange::Remove { id };
        }
        ConfChange::AddLearner {
            id: self.next_member,
            context: Bytes::new(),
        }
    }
}
