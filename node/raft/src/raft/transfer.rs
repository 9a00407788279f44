//! Leadership transfer (§3.10).

use std::cmp::Reverse;

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::role::{Role, Transfer};
use crate::{Instant, MemberId, MessageBody, Term, TransferError};

impl Raft {
    /// Hands leadership to `to`: no proposals are taken until it has caught up and is told to
    /// campaign, or an election timeout has passed without success. To the leader itself: nothing
    /// happens. A later call replaces an earlier one.
    ///
    /// # Errors
    /// Not the leader; not a voter, or only in the old half of a joint configuration.
    pub fn transfer_leader(&mut self, now: Instant, to: MemberId) -> Result<(), TransferError> {
        let known = self.leader();
        let is_voter = self.membership.voters.contains(&to);
        let me = self.me();
        let Role::Leader(leader) = &mut self.role else {
            return Err(TransferError::NotLeader { leader: known });
        };
        if !is_voter {
            return Err(TransferError::NotVoter(to));
        }
        if to == me
            || leader
                .transfer
                .as_ref()
                .is_some_and(|transfer| transfer.to == to)
        {
            return Ok(());
        }
        let deadline = self.now.max(now) + self.config.election_timeout;
        leader.transfer = Some(Transfer {
            to,
            deadline,
            is_sent: false,
        });
        self.advance(now);
        self.maybe_hand_over();
        Ok(())
    }

    /// Stops leading at once, because this member can't do the work: who of the other voters holds
    /// most of the log is told to campaign, and this one stands back for an election timeout. Gives
    /// who was told; `None` when it doesn't lead, or there is nobody else. What waits for this leader
    /// is lost as with any change of leaders.
    pub fn resign(&mut self, now: Instant) -> Option<MemberId> {
        self.advance(now);
        let me = self.me();
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let delay = |id: &MemberId| leader.delays.get(id).copied().unwrap_or_default();
        let others = self.membership.voters.iter().filter(|id| **id != me);
        let rank = |id: &&MemberId| {
            let matched = leader.progress.get(*id).map(|peer| peer.matched);
            (matched, Reverse(delay(id)))
        };
        let to = *others.max_by_key(rank)?;
        self.outbox.send(to, self.term, MessageBody::TimeoutNow);
        // With the role goes the lease, and every read that waits.
        self.become_follower(self.term, None);
        self.timer.since = self.now + self.config.election_timeout;
        Some(to)
    }

    /// Tells the target to campaign once it holds the whole log.
    pub(super) fn maybe_hand_over(&mut self) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(transfer) = &mut leader.transfer else {
            return;
        };
        let has_all = leader
            .progress
            .get(&transfer.to)
            .is_some_and(|progress| progress.matched == self.log.last_index());
        if has_all && !transfer.is_sent {
            transfer.is_sent = true;
            if !is_on(Defect::LeaseAfterTimeoutNow) {
                leader.lease.give_up();
            }
            self.outbox
                .send(transfer.to, self.term, MessageBody::TimeoutNow);
        }
    }

    /// The leader hands over: campaign at once, without asking whether it could be won.
    pub(super) fn on_timeout_now(&mut self, from: MemberId) {
        let Role::Follower(follower) = &self.role else {
            return;
        };
        let is_from_leader = follower.leader.is_none_or(|leader| leader == from);
        let is_bound = self.is_bound(Term(self.term.0 + 1), Some(from));
        if is_from_leader && self.may_campaign() && !is_bound {
            self.stand(Some(from));
        }
    }
}
