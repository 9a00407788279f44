//! Changes of membership, one at a time (§4.1, §4.3), active once committed.

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::role::{Role, Transfer};
use crate::tracker::Progress;
use crate::{
    ConfChange, ConfChangeError, Instant, LogId, LogIndex, MemberChange, MemberId, Payload,
    ProposeError,
};

/// A learner is promoted when it holds this share of what the leader holds (as etcd).
const READY_PERCENT: u64 = 90;

impl Raft {
    /// Proposes a change of membership; `expected` fences callers that planned against another
    /// one: it is the index of the configuration that they saw.
    ///
    /// # Errors
    /// As [`Raft::propose`]; a change is pending; nothing of this term is committed; the
    /// configuration isn't the expected one; the change makes no sense there.
    pub fn propose_conf_change(
        &mut self,
        now: Instant,
        change: ConfChange,
        expected: Option<LogIndex>,
    ) -> Result<LogId, ProposeError> {
        let Role::Leader(leader) = &self.role else {
            return Err(ProposeError::NotLeader {
                leader: self.leader(),
            });
        };
        if let Some(transfer) = &leader.transfer {
            return Err(ProposeError::Transferring { to: transfer.to });
        }
        if !self.has_committed_in_term() {
            return Err(ProposeError::NothingCommittedInTerm);
        }
        if let Some(index) = leader.pending_conf
            && !is_on(Defect::TwoChangesAtOnce)
        {
            return Err(ProposeError::ConfChangePending { index });
        }
        let actual = self.membership.index;
        if let Some(expected) = expected
            && expected != actual
        {
            return Err(ProposeError::ConfigurationMoved { expected, actual });
        }
        self.membership
            .check(&change)
            .map_err(ProposeError::InvalidConfChange)?;
        if let Some(id) = promoted(&change).find(|id| !self.has_caught_up(*id)) {
            let error = ConfChangeError::NotCaughtUp(id);
            return Err(ProposeError::InvalidConfChange(error));
        }
        let id = self.propose_data(now, Payload::ConfChange(change))?;
        if let Role::Leader(leader) = &mut self.role {
            leader.pending_conf = Some(id.index);
        }
        Ok(id)
    }

    fn has_caught_up(&self, id: MemberId) -> bool {
        let Role::Leader(leader) = &self.role else {
            return false;
        };
        let own = self.log.durable().0;
        leader
            .progress
            .get(&id)
            .is_some_and(|p| p.matched.0 * 100 >= own * READY_PERCENT)
    }

    /// The committed entry at `index` changes the membership.
    pub(super) fn activate(&mut self, index: LogIndex, change: &ConfChange) {
        self.membership.activate(index, change);
        let next = self.log.last_index().next();
        let me = self.me();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.pending_conf.is_some_and(|pending| pending <= index) {
            leader.pending_conf = None;
        }
        let membership = &self.membership;
        let can_take_over = |t: &Transfer| membership.voters.contains(&t.to);
        if !leader.transfer.as_ref().is_some_and(can_take_over) {
            leader.transfer = None;
        }
        for id in membership.members().filter(|id| *id != me) {
            let progress = leader.progress.entry(id);
            progress.or_insert_with(|| Progress::new(next));
        }
        let known = leader.progress.keys().copied();
        let gone: Vec<_> = known.filter(|id| !membership.contains(*id)).collect();
        for id in gone {
            self.say_farewell(id);
        }
    }

    /// A leader leaves a joint configuration by itself, also one that it found. Not while it
    /// hands over: the target would lack the entry, so its successor does it.
    pub(super) fn leave_joint(&mut self) {
        let is_joint = self.membership.is_joint() && self.has_committed_in_term();
        let is_free = matches!(&self.role, Role::Leader(leader)
            if leader.pending_conf.is_none() && leader.transfer.is_none());
        if !is_joint || !is_free {
            return;
        }
        let leave = self.append_own(Payload::ConfChange(ConfChange::LeaveJoint));
        if let Role::Leader(leader) = &mut self.role {
            leader.pending_conf = Some(leave.index);
        }
    }
}

/// Whom `change` makes voters.
fn promoted(change: &ConfChange) -> impl Iterator<Item = MemberId> + '_ {
    let (one, several): (_, &[MemberChange]) = match change {
        ConfChange::Promote { id } => (Some(*id), &[]),
        ConfChange::Change { changes } => (None, changes),
        ConfChange::Found { .. }
        | ConfChange::AddLearner { .. }
        | ConfChange::Remove { .. }
        | ConfChange::LeaveJoint => (None, &[]),
    };
    let of_several = several.iter().filter_map(|change| match change {
        MemberChange::Promote { id } => Some(*id),
        MemberChange::AddLearner { .. }
        | MemberChange::Demote { .. }
        | MemberChange::Remove { .. } => None,
    });
    one.into_iter().chain(of_several)
}
