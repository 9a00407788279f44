//! Changes of membership, one member at a time (§4.1), active once committed.

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::role::Role;
use crate::tracker::Progress;
use crate::{
    ConfChange, ConfChangeError, Instant, LogId, LogIndex, MemberId, Payload, ProposeError,
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
        if let ConfChange::Promote { id } = &change
            && !self.has_caught_up(*id)
        {
            return Err(ProposeError::InvalidConfChange(
                ConfChangeError::NotCaughtUp(*id),
            ));
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
        match change {
            ConfChange::Found { .. } | ConfChange::Promote { .. } => {}
            ConfChange::AddLearner { id, .. } => {
                if *id != me {
                    leader
                        .progress
                        .entry(*id)
                        .or_insert_with(|| Progress::new(next));
                }
            }
            ConfChange::Remove { id } => {
                if leader
                    .transfer
                    .as_ref()
                    .is_some_and(|transfer| transfer.to == *id)
                {
                    leader.transfer = None;
                }
                self.say_farewell(*id);
            }
        }
    }
}
