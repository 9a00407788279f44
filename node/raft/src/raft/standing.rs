//! Who may campaign, and for whom this member may vote, given what its disk has lost.
//!
//! The argument of Raft rests on members that forget neither votes nor what they acknowledged.
//! Two kinds of disk break that and can be told:
//!
//! - *The middle of the log is rotten.* Term and vote are known (every batch carries them), and so
//!   is the last entry that was written: `repair_until`. Whatever the member acknowledged is at or
//!   before it. A voter refuses candidates whose log is behind its own; with `repair_until` in
//!   place of the log's end it refuses just those that it would have refused with its log whole.
//!   Once what is durable reaches that far again, in the same order, the log's end refuses as much.
//! - *The disk went back to an earlier state.* Nothing is known of what was forgotten, so there is
//!   no vote that could be given safely. The member may go on acknowledging: any two majorities,
//!   one that acknowledged and one that voted without it, have another member in common.
//!
//! Evidence of the second kind comes from peers: a leader's heartbeat names what this member
//! acknowledged to it and is committed ([`Raft::follow_commit`]), and the first words on a
//! connection say more ([`Raft::on_rolled_back`]). Before any evidence arrives a vote may be cast;
//! that is why a member waits after a start.

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::role::Role;
use crate::{Instant, LogId, LogIndex, Rollback, Term};

impl Raft {
    /// Campaigns at once, without asking first whether the election could be won; nothing for a
    /// leader, for those who must not campaign and for those who have promised not to. For tests that compare implementations; the
    /// product's elections begin with timers and transfers.
    pub fn campaign(&mut self, now: Instant) {
        self.advance(now);
        let is_bound = self.is_bound(Term(self.term.0 + 1), None);
        if !matches!(self.role, Role::Leader(_)) && self.may_campaign() && !is_bound {
            self.stand(None);
        }
    }

    /// A peer showed that this member's disk went back to an earlier state: from now on it
    /// neither votes nor campaigns nor leads. The first evidence stays.
    ///
    /// The caller compares with the log as it was when the peer was greeted: by now the leader may
    /// have brought back what was forgotten, but not what was voted. A log that ends early because
    /// its middle was lost, which is known and being repaired, is no evidence.
    pub fn on_rolled_back(&mut self, now: Instant, evidence: Rollback) {
        self.advance(now);
        match evidence {
            Rollback::LogEndsEarly { term, acknowledged } => {
                self.acknowledged_more(term, acknowledged);
            }
            Rollback::BootCounterWentBack => self.roll_back(evidence),
        }
    }

    /// A peer knows that this member acknowledged `acknowledged`, which it doesn't hold.
    pub(super) fn acknowledged_more(&mut self, term: Term, acknowledged: LogIndex) {
        let is_repaired = self
            .repair_until
            .is_some_and(|until| acknowledged <= until.index);
        if !is_repaired {
            self.roll_back(Rollback::LogEndsEarly { term, acknowledged });
        }
    }

    fn roll_back(&mut self, evidence: Rollback) {
        if self.rolled_back.is_some() {
            return;
        }
        self.rolled_back = Some(evidence);
        self.owed_vote = None;
        match &self.role {
            Role::Follower(_) => {}
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                self.become_follower(self.term, None);
            }
        }
    }

    /// Whether this member may campaign and lead, as far as it stands to it; what it has promised
    /// is asked for apart ([`Raft::is_bound`]).
    pub(super) fn may_campaign(&self) -> bool {
        self.is_voter()
            && self.install.is_none()
            && self.repair_until.is_none()
            && self.rolled_back.is_none()
    }

    /// Whether the vote may go to a candidate whose log ends with `last`, as far as lost entries
    /// and votes are concerned.
    pub(super) fn may_vote_for(&self, last: LogId) -> bool {
        self.rolled_back.is_none()
            && (is_on(Defect::VoteWhileRepairing)
                || self.repair_until.is_none_or(|until| last >= until))
    }

    /// More has become durable: the log may be whole again.
    pub(super) fn look_at_repair(&mut self) {
        if self
            .repair_until
            .is_some_and(|until| self.log.is_durable(until))
        {
            self.repair_until = None;
        }
    }
}
