//! What a follower does with its leader's appends and heartbeats (§3.5).

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::role::Role;
use crate::{Entry, LogId, LogIndex, MemberId, MessageBody};

impl Raft {
    /// Entries after `prev`. Accepted once they are durable: see [`Raft::report_accepted`].
    pub(super) fn on_append(
        &mut self,
        from: MemberId,
        prev: LogId,
        entries: Vec<Entry>,
        commit: LogIndex,
    ) {
        self.hear_leader(from);
        let fits = self.log.holds(prev)
            || (is_on(Defect::AppendWithoutMatch) && prev.index <= self.log.last_index());
        if !fits {
            let hint = self.log.last_at_most(prev.index, prev.term);
            let body = MessageBody::AppendRejected {
                rejected: prev.index,
                hint,
            };
            self.outbox.send(from, self.term, body);
            return;
        }
        let last = entries.last().map_or(prev.index, |entry| entry.id.index);
        self.log.merge(entries);
        if let Role::Follower(follower) = &mut self.role {
            follower.accepted = follower.accepted.max(last);
            follower.owes_answer = true;
        }
        // Beyond `last` the logs may differ.
        self.commit_to(commit.min(last));
    }

    /// The leader lives; everything up to `commit` is known to be its own here.
    pub(super) fn on_heartbeat(&mut self, from: MemberId, number: u64, commit: LogIndex) {
        self.hear_leader(from);
        let commit = if is_on(Defect::CommitBeyondTaken) {
            commit.min(self.log.last_index())
        } else {
            commit
        };
        self.commit_to(commit);
        // Promises nothing about the disk: the term in memory is enough, because a vote in a
        // higher one would have been cast after this answer.
        self.outbox
            .send(from, self.term, MessageBody::HeartbeatResponse { number });
    }

    fn hear_leader(&mut self, from: MemberId) {
        if !matches!(&self.role, Role::Follower(_)) {
            self.become_follower(self.term, Some(from));
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.leader = Some(from);
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
        let matched = follower.accepted.min(self.log.durable());
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
