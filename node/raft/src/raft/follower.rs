//! What a follower does with its leader's appends and heartbeats (§3.5).

use std::time::Duration;

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::role::Role;
use crate::{Entry, Heartbeat, LogId, LogIndex, MemberId, MessageBody};

impl Raft {
    /// Entries after `prev`. Accepted once they are durable: see [`Raft::report_accepted`].
    pub(super) fn on_append(
        &mut self,
        from: MemberId,
        prev: LogId,
        entries: Vec<Entry>,
        commit: LogIndex,
    ) {
        if !self.may_take_appends(from) {
            return;
        }
        self.hear_leader(from);
        if self.install.is_some() {
            // As if it was lost: what it says of this log is about to be out of date.
            return;
        }
        let fits = self.log.holds_or_held(prev)
            || (is_on(Defect::AppendWithoutMatch) && prev.index <= self.log.last_index());
        if !fits {
            let base = self.log.base();
            let hint = self.log.last_at_most(prev.index, prev.term);
            let body = MessageBody::AppendRejected {
                rejected: prev.index,
                hint: hint.unwrap_or(base),
            };
            self.outbox.send(from, self.term, body);
            return;
        }
        let last = entries.last().map_or(prev.index, |entry| entry.id.index);
        self.log.merge(entries);
        if let Role::Follower(follower) = &mut self.role {
            // Up to the base all is committed, so the leader has it.
            let matched = last.max(self.log.base().index);
            follower.accepted = follower.accepted.max(matched);
            follower.owes_answer = true;
        }
        // Beyond `last` the logs may differ.
        self.commit_to(commit.min(last));
    }

    /// The leader lives; everything up to `commit` was acknowledged by this member.
    pub(super) fn on_heartbeat(&mut self, from: MemberId, beat: &Heartbeat) {
        let counts = self.looks_after_progress(from, beat.stalled);
        if counts {
            self.hear_leader(from);
            self.delay = beat.delay;
        } else if let Role::Follower(follower) = &mut self.role {
            follower.leader = Some(from);
        }
        if self.install.is_none() && matches!(self.role, Role::Follower(_)) {
            self.follow_commit(from, beat.commit);
        }
        // Promises nothing about the disk: the term in memory is enough, because a vote in a
        // higher one would have been cast after this answer.
        let promise = if counts {
            self.timers.election_timeout.min(self.config.promise_max)
        } else {
            Duration::ZERO
        };
        if !promise.is_zero() {
            self.promises.promise(self.now, promise, from, self.term);
        }
        let body = MessageBody::HeartbeatResponse {
            number: beat.number,
            promise,
        };
        self.outbox.send(from, self.term, body);
    }

    /// The leader holds that this member acknowledged everything up to `commit`. What it told
    /// this leader in this term it knows; beyond that, it was before a restart, and what the disk
    /// holds there now may be something else. So the leader is asked for an append that shows it,
    /// by the answer to one that doesn't match; and if the log ends before, the disk went back.
    fn follow_commit(&mut self, from: MemberId, commit: LogIndex) {
        let accepted = match &self.role {
            Role::Follower(follower) => follower.accepted,
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => LogIndex(0),
        };
        let accepted = if is_on(Defect::CommitBeyondTaken) {
            self.log.last_index()
        } else {
            accepted
        };
        self.commit_to(commit.min(accepted));
        if commit <= self.log.commit() {
            return;
        }
        if commit > self.log.last_index() {
            self.acknowledged_more(self.term, commit);
        }
        let hint = self.log.last_at_most(commit, self.term);
        let body = MessageBody::AppendRejected {
            rejected: commit,
            hint: hint.unwrap_or_else(|| self.log.base()),
        };
        self.outbox.send(from, self.term, body);
    }

    pub(super) fn hear_leader(&mut self, from: MemberId) {
        if !matches!(&self.role, Role::Follower(_)) {
            self.become_follower(self.term, Some(from));
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.leader = Some(from);
            if self.distrust.of == Some((from, self.term)) {
                return;
            }
            follower.heard = Some(self.now);
        }
        self.timer.since = self.now;
    }

    /// Tells the leader how far its entries are durable here: one answer for all appends that
    /// one sync has made durable, and one for each append that brought nothing new. An append
    /// whose entries wait for the disk isn't answered halfway, for what stood before them: the
    /// leader would send them again.
    pub(super) fn report_accepted(&mut self, has_synced: bool) {
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let Some(leader) = follower.leader else {
            return;
        };
        let mut durable = self.log.durable();
        if is_on(Defect::AnswerSnapshotBeforeSync) {
            durable = durable.max(self.log.base().index);
        }
        let matched = follower.accepted.min(durable);
        let is_complete = matched == follower.accepted;
        let is_news = matched > follower.reported;
        if (is_news && (is_complete || has_synced)) || (follower.owes_answer && is_complete) {
            follower.reported = matched;
            follower.owes_answer &= !is_complete;
            let body = MessageBody::AppendAccepted { matched };
            self.outbox.send(leader, self.term, body);
        }
    }
}
