//! Whether a leader that beats also leads: one that has applied nothing for long, though something
//! waits, is followed but no longer counted on.
//!
//! A process whose disk or state machine hangs can go on sending heartbeats for ever (etcd #13527,
//! hashicorp/raft #666): nothing is written any more and nobody takes over. So heartbeats tell for
//! how long nothing has moved. Beyond a bound they neither put off this member's election nor get
//! a promise. What it takes to depose the leader stays the same, a majority that doesn't hear one:
//! one member's distrust alone changes nothing.
//!
//! Who is no better doesn't judge: a follower whose own disk or state machine hangs puts up with it.
//! And each stall that made this member campaign doubles the bound for the stalls to come, so that a
//! cluster in which nobody can get on doesn't spend its time on elections. While one goes on the
//! bound stays: members whose bounds grew by turns would refuse each other again and again (the model
//! in `raftery-model` shows it).

use std::time::Duration;

use super::Raft;
use crate::limits::{DISTRUST_DOUBLINGS_MAX, DISTRUST_FORGOTTEN_AFTER, STALLED_MIN};
use crate::role::Role;
use crate::{Instant, LogIndex, MemberId, Term};

/// Of leaders that beat without getting on.
///
/// Invariants: `doublings <= DISTRUST_DOUBLINGS_MAX`.
#[derive(Debug, Default)]
pub(super) struct Distrust {
    /// Whose heartbeats and appends don't count, in which term.
    pub(super) of: Option<(MemberId, Term)>,
    /// How often the bound has doubled.
    doublings: u32,
    /// This member has campaigned because of the present stall, and when.
    has_campaigned: Option<Instant>,
    /// When the bound last doubled.
    doubled_at: Instant,
    /// What was owed by the own disk and state machine when they last kept up: once both have done
    /// as much, they have again.
    owed: Owed,
}

#[derive(Debug, Default)]
struct Owed {
    accepted: LogIndex,
    committed: LogIndex,
    since: Instant,
}

impl Raft {
    /// A leader's heartbeat says for how long it has got nowhere. Gives whether it counts.
    pub(super) fn looks_after_progress(&mut self, from: MemberId, stalled: Duration) -> bool {
        let least = (self.timers.election_timeout * 2).max(STALLED_MIN);
        if stalled <= least {
            self.end_of_stall();
        }
        let bound = least * (1 << self.distrust.doublings);
        let is_fit = self.is_fit_to_judge();
        let is_trusted = stalled <= bound || !is_fit;
        self.distrust.of = (!is_trusted).then_some((from, self.term));
        is_trusted
    }

    /// The leader gets on: what the stall has taught counts from the next one on.
    fn end_of_stall(&mut self) {
        let distrust = &mut self.distrust;
        if let Some(at) = distrust.has_campaigned.take() {
            distrust.doublings = DISTRUST_DOUBLINGS_MAX.min(distrust.doublings + 1);
            distrust.doubled_at = at;
        } else if self.now.since(distrust.doubled_at) >= DISTRUST_FORGOTTEN_AFTER {
            distrust.doublings = 0;
        }
    }

    /// Whether this member's own disk and state machine have kept up of late.
    fn is_fit_to_judge(&mut self) -> bool {
        let accepted = match &self.role {
            Role::Follower(follower) => follower.accepted,
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => LogIndex(0),
        };
        let owed = &mut self.distrust.owed;
        if owed.accepted <= self.log.durable() && owed.committed <= self.log.applied() {
            *owed = Owed {
                accepted,
                committed: self.log.commit(),
                since: self.now,
            };
        }
        self.now.since(owed.since) < STALLED_MIN / 2
    }

    /// Whether to look at a leader's append. Who campaigns because it doesn't get on treats it as
    /// lost at first: to take it would end the campaign. But only for half an election timeout, by
    /// when whoever can be asked has answered. It may be that nothing is committed just because this
    /// member takes nothing: with one of three down, a leader that slept for a moment would be
    /// distrusted for ever by the follower that it needs.
    pub(super) fn may_take_appends(&self, from: MemberId) -> bool {
        let is_distrusted = self.distrust.of == Some((from, self.term));
        let asked_for = self.now.since(self.timer.since);
        !is_distrusted
            || matches!(self.role, Role::Follower(_))
            || asked_for >= self.timers.election_timeout / 2
    }

    /// A campaign begins. If it is out of distrust, the next stall is put up with for longer.
    pub(super) fn campaigns_out_of_distrust(&mut self) {
        if self.distrust.of.is_some_and(|(_, term)| term == self.term) {
            self.distrust.has_campaigned = Some(self.now);
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
