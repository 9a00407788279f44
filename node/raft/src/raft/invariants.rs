//! What must hold after every input. Cheap: it looks at ends, not at the whole log.

use raftery_defects::are_assertions_off;

use super::Raft;
use crate::limits::READS_WAITING_MAX;
use crate::role::{Follower, Leader, Role};

impl Raft {
    /// Asserts the invariants; tests and the simulator do so after every input.
    ///
    /// # Panics
    /// When one doesn't hold: a bug of this crate.
    pub fn check_invariants(&self) {
        if are_assertions_off() {
            return;
        }
        self.log.check_invariants();
        self.membership.check_invariants();
        self.persistence.check_invariants();
        assert!(
            self.log.last_id().term <= self.term,
            "an entry of a term to come"
        );
        assert!(
            self.membership.index <= self.log.commit(),
            "uncommitted membership is active"
        );
        assert!(
            self.owed_vote.is_none() || self.owed_vote == self.vote,
            "owes another's vote"
        );
        assert!(
            self.outbox.messages.iter().all(|m| m.to != self.me()),
            "a message to itself"
        );
        assert!(
            self.repair_until
                .is_none_or(|until| !self.log.is_durable(until)),
            "repairs what it has"
        );
        if let Some(installing) = &self.install {
            assert!(
                matches!(self.role, Role::Follower(_)),
                "campaigns or leads while it installs a snapshot"
            );
            installing.check_invariants(&self.log);
        }
        assert!(
            self.snapshots.is_empty() || matches!(self.role, Role::Leader(_)),
            "only a leader sends snapshots"
        );
        match &self.role {
            Role::Follower(follower) => self.check_follower(follower),
            Role::PreCandidate(_) => {
                assert!(self.may_campaign(), "must not campaign");
                assert!(
                    self.promises.end() <= self.now,
                    "campaigns despite a promise"
                );
            }
            Role::Candidate(candidate) => {
                assert!(self.may_campaign(), "must not campaign");
                assert_eq!(
                    self.vote,
                    Some(self.me()),
                    "a candidate without its own vote"
                );
                assert!(!candidate.has_asked || self.persistence.is_term_durable());
            }
            Role::Leader(leader) => self.check_leader(leader),
        }
    }

    fn check_follower(&self, follower: &Follower) {
        assert_ne!(follower.leader, Some(self.me()), "follows itself");
        assert!(
            follower.accepted <= self.log.last_index(),
            "accepted what is gone"
        );
        assert!(
            follower.reported <= follower.accepted.min(self.log.durable()),
            "promised what isn't durable"
        );
        assert!(follower.reported.0 == 0 || self.persistence.is_term_durable());
    }

    fn check_leader(&self, leader: &Leader) {
        assert!(self.may_campaign(), "must not lead");
        assert_eq!(self.vote, Some(self.me()), "a leader without its own vote");
        assert!(
            self.persistence.is_term_durable(),
            "leads in a term that may be forgotten"
        );
        let others = self
            .membership
            .members()
            .filter(|id| *id != self.me())
            .count();
        assert_eq!(
            leader.progress.len(),
            others,
            "progress of others than the members"
        );
        for (id, progress) in &leader.progress {
            assert!(self.membership.contains(*id) && *id != self.me());
            assert!(progress.heartbeat_answered <= leader.heartbeat);
            progress.check_invariants(self.log.last_index());
        }
        assert!(
            leader
                .pending_conf
                .is_none_or(|index| index > self.log.commit()),
            "a committed change is pending"
        );
        if self.log.commit() == self.log.last_index() {
            assert_eq!(leader.uncommitted_bytes, 0, "bytes miscounted");
        }
        assert!(leader.reads.len() <= READS_WAITING_MAX);
        assert!(
            leader
                .reads
                .rounds
                .iter()
                .is_sorted_by_key(|round| round.heartbeat)
        );
        leader.lease.check_invariants();
        if let Some(transfer) = &leader.transfer {
            assert!(self.membership.voters.contains(&transfer.to) && transfer.to != self.me());
        }
    }
}
