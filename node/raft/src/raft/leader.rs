//! Leading: taking office, heartbeats, the check of the quorum, commitment, stepping down.

use std::collections::BTreeMap;
use std::time::Duration;

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::lease::Lease;
use crate::limits::UNCOMMITTED_BYTES_MAX;
use crate::role::{Leader, Reads, Role};
use crate::tracker::Progress;
use crate::{Heartbeat, Instant, LogId, LogIndex, MemberId, MessageBody, Payload, ProposeError};

impl Raft {
    pub(super) fn become_leader(&mut self) {
        let next = self.log.last_index().next();
        let me = self.me();
        let others = self.membership.members().filter(|id| *id != me);
        let progress: BTreeMap<_, _> = others.map(|id| (id, Progress::new(next))).collect();
        let uncommitted = self.log.range(self.log.commit(), self.log.last_index());
        self.role = Role::Leader(Box::new(Leader {
            since: self.now,
            progress,
            heartbeat_due: self.now + self.timers.heartbeat_interval,
            moved: self.now,
            delays: BTreeMap::new(),
            heartbeat: 0,
            reads: Reads::default(),
            lease: Lease::default(),
            pending_conf: self.log.first_uncommitted_conf_change(),
            uncommitted_bytes: uncommitted.map(|entry| entry.payload.len()).sum(),
            transfer: None,
        }));
        // Entries of earlier terms are committed by committing one of this term (§3.6.2).
        self.append_own(Payload::Blank);
    }

    pub(super) fn tick_leader(&mut self) {
        if !self.has_contact_to_quorum() {
            // CheckQuorum: the others may have elected someone; clients should look for them.
            self.become_follower(self.term, None);
            return;
        }
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader
            .transfer
            .as_ref()
            .is_some_and(|t| self.now >= t.deadline)
        {
            leader.transfer = None;
        }
        let is_due = self.now >= leader.heartbeat_due;
        self.leave_joint();
        if is_due {
            self.beat();
        }
    }

    /// Whether a quorum, itself included, was heard within an election timeout.
    fn has_contact_to_quorum(&self) -> bool {
        let Role::Leader(leader) = &self.role else {
            return false;
        };
        let heard = self.of_voters(self.now, |id| {
            let progress = leader.progress.get(&id);
            progress.and_then(|p| p.last_heard).unwrap_or(leader.since)
        });
        heard.is_some_and(|at| self.now.since(at) < self.config.election_timeout)
    }

    /// What a quorum of the voters has reached, with `own` for this member.
    pub(super) fn of_voters<T: Ord + Copy>(&self, own: T, of: impl Fn(MemberId) -> T) -> Option<T> {
        let quorum = self.membership.quorum();
        quorum.reached(|id| if id == self.me() { own } else { of(id) })
    }

    /// Until when this member surely leads alone, whatever others do: reads may be served without
    /// asking anyone while the time is before this. It may lie in the past, and is as far away
    /// as can be for the only voter. `None` unless leading with an entry of this term committed,
    /// and after someone was told to campaign in this term.
    #[must_use]
    pub fn lease_until(&self) -> Option<Instant> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let has_lease = self.config.lease_reads
            && self.config.promise_max > Duration::ZERO
            && self.is_voter()
            && self.has_committed_in_term()
            && !leader.lease.is_given_up();
        if !has_lease {
            return None;
        }
        // It grants no vote while it leads, so itself it counts for ever.
        self.of_voters(Instant(Duration::MAX), |id| {
            if is_on(Defect::LeaseWithoutPromise) {
                let progress = leader.progress.get(&id);
                let heard = progress.and_then(|p| p.last_heard).unwrap_or_default();
                return heard + self.config.election_timeout;
            }
            leader.lease.of(id)
        })
    }

    /// The lease, if it holds now.
    pub(super) fn lease(&self) -> Option<Instant> {
        self.lease_until().filter(|until| self.now < *until)
    }

    /// As [`Raft::of_voters`], but learners may stand in for voters: a defect.
    fn of_voters_and_learners<T: Ord + Copy>(
        &self,
        own: T,
        of: impl Fn(MemberId) -> T,
    ) -> Option<T> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let mut values: Vec<_> = leader.progress.keys().map(|id| of(*id)).collect();
        values.push(own);
        values.sort_unstable_by(|a, b| b.cmp(a));
        values.get(self.membership.voters.len() / 2).copied()
    }

    /// One heartbeat round; it confirms the reads that came before it.
    pub(super) fn beat(&mut self) {
        self.attach_reads();
        let stalled = self.stalled();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.heartbeat_due = self.now + self.timers.heartbeat_interval;
        leader.lease.round_sent(leader.heartbeat, self.now);
        for (to, progress) in &leader.progress {
            let commit = if is_on(Defect::CommitBeyondTaken) {
                self.log.commit()
            } else {
                self.log.commit().min(progress.matched)
            };
            let beat = Heartbeat {
                number: leader.heartbeat,
                commit,
                interval: self.timers.heartbeat_interval,
                stalled,
                delay: leader.delays.get(to).copied().unwrap_or_default(),
            };
            self.outbox
                .send(*to, self.term, MessageBody::Heartbeat(beat));
        }
        self.confirm_reads();
    }

    pub(super) fn propose_data(
        &mut self,
        now: Instant,
        payload: Payload,
    ) -> Result<LogId, ProposeError> {
        let known = self.leader();
        let Role::Leader(leader) = &mut self.role else {
            return Err(ProposeError::NotLeader { leader: known });
        };
        if let Some(transfer) = &leader.transfer {
            return Err(ProposeError::Transferring { to: transfer.to });
        }
        let bytes = leader.uncommitted_bytes;
        if bytes > 0 && bytes + payload.len() > UNCOMMITTED_BYTES_MAX {
            return Err(ProposeError::TooManyUncommitted {
                bytes,
                bytes_max: UNCOMMITTED_BYTES_MAX,
            });
        }
        leader.uncommitted_bytes += payload.len();
        self.advance(now);
        Ok(self.append_own(payload))
    }

    /// Commits what a quorum of the voters holds durably, if the last of it is of the own term:
    /// an entry of an earlier one may still be overwritten though a majority holds it (§3.6.2,
    /// figure 3.7; figure 8 of the paper).
    pub(super) fn maybe_commit(&mut self) {
        // Again, because a change of membership that was committed changes the majority.
        while let Some(index) = self.committable() {
            self.commit_to(index);
        }
        self.leave_joint();
        if matches!(self.role, Role::Leader(_)) && !self.is_voter() {
            // Removed or demoted (§4.2.2). The others still learn from it that this is committed.
            self.replicate();
            self.become_follower(self.term, None);
        }
    }

    fn committable(&self) -> Option<LogIndex> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let own = if is_on(Defect::CountOwnUnsynced) {
            self.log.last_index()
        } else {
            self.log.durable()
        };
        let matched = |id| leader.progress.get(&id).map_or(LogIndex(0), |p| p.matched);
        let durable = if is_on(Defect::CountLearners) {
            self.of_voters_and_learners(own, matched)
        } else {
            self.of_voters(own, matched)
        }?;
        let is_own = self.log.term(durable) == Some(self.term) || is_on(Defect::CommitEarlierTerm);
        (is_own && durable > self.log.commit()).then_some(durable)
    }

    pub(super) fn has_committed_in_term(&self) -> bool {
        matches!(self.role, Role::Leader(_)) && self.log.term(self.log.commit()) == Some(self.term)
    }
}
