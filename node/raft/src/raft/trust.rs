//! Whether a leader that beats also leads: one that has applied nothing for long, though something
//! waits, is followed but no longer counted on.
//!
//! A process whose disk or state machine hangs can go on sending heartbeats for ever (etcd #13527,
//! hashicorp/raft #666): nothing is written any more and nobody takes over. So heartbeats tell for
//! how long nothing has moved. Beyond a bound they neither put off this member's election nor get
//! a promise. What it takes to depose the leader stays the same, a majority that doesn't hear one:
//! one member's distrust alone changes nothing.
//!
//! Who is no better doesn't judge: a follower whose own disk owes something, or whose own state
//! machine lags, puts up with it. And each election that distrust began doubles the bound, so that
//! a cluster in which nobody can get on doesn't spend its time on elections.

use std::time::Duration;

use super::Raft;
use crate::limits::{DISTRUST_DOUBLINGS_MAX, DISTRUST_FORGOTTEN_AFTER, STALLED_MIN};
use crate::role::Role;
use crate::{Instant, MemberId, Term};

/// Of leaders that beat without getting on.
///
/// Invariants: `doublings <= DISTRUST_DOUBLINGS_MAX`.
#[derive(Debug, Default)]
pub(super) struct Distrust {
    /// Whose heartbeats and appends don't count, in which term.
    pub(super) of: Option<(MemberId, Term)>,
    /// How often the bound has doubled.
    pub(super) doublings: u32,
    /// When it last did.
    doubled_at: Instant,
}

impl Raft {
    /// A leader's heartbeat says for how long it has got nowhere. Gives whether it counts.
    pub(super) fn looks_after_progress(&mut self, from: MemberId, stalled: Duration) -> bool {
        let least = (self.timers.election_timeout * 2).max(STALLED_MIN);
        let bound = least * (1 << self.distrust.doublings);
        let is_trusted = stalled <= bound || !self.is_fit_to_judge();
        if is_trusted {
            self.distrust.of = None;
            if self.now.since(self.distrust.doubled_at) >= DISTRUST_FORGOTTEN_AFTER {
                self.distrust.doublings = 0;
            }
        } else {
            self.distrust.of = Some((from, self.term));
        }
        is_trusted
    }

    /// Whether nothing waits for this member's own disk or state machine.
    fn is_fit_to_judge(&self) -> bool {
        let has_synced = match &self.role {
            Role::Follower(follower) => follower.accepted <= self.log.durable(),
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => true,
        };
        has_synced && self.log.applied() == self.log.commit()
    }

    /// Whether to look at a leader's append. Who campaigns because it doesn't get on treats it as
    /// lost: to take it would end the campaign.
    pub(super) fn may_take_appends(&self, from: MemberId) -> bool {
        let is_distrusted = self.distrust.of == Some((from, self.term));
        !is_distrusted || matches!(self.role, Role::Follower(_))
    }

    /// A campaign begins. If it is out of distrust, the next one takes longer.
    pub(super) fn campaigns_out_of_distrust(&mut self) {
        if self.distrust.of.is_some_and(|(_, term)| term == self.term) {
            self.distrust.doublings = DISTRUST_DOUBLINGS_MAX.min(self.distrust.doublings + 1);
            self.distrust.doubled_at = self.now;
        }
    }

    /// For how long this leader has applied nothing, though something waits.
    pub(super) fn stalled(&self) -> Duration {
        match &self.role {
            Role::Leader(leader) if self.log.applied() < self.log.last_index() => {
                self.now.since(leader.moved)
            }
            Role::Leader(_) | Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                Duration::ZERO
            }
        }
    }

    /// The state machine got on, or an entry is about to be appended with nothing before it that
    /// waits.
    pub(super) fn moves(&mut self) {
        let now = self.now;
        if let Role::Leader(leader) = &mut self.role {
            leader.moved = now;
        }
    }
}
