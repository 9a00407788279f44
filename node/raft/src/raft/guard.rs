//! What a peer may say. Looked at before anything changes.

use raftery_defects::{Defect, are_assertions_off, is_on};

use super::Raft;
use crate::role::Role;
use crate::{
    ConfChange, Entry, Heartbeat, LogId, LogIndex, MemberId, MessageBody, Payload, PeerMessage,
    SnapshotMeta, StepError, Term,
};

/// Terms and indexes beyond this come from no honest peer; it leaves room to count on.
const NUMBER_MAX: u64 = u64::MAX / 2;

impl Raft {
    pub(super) fn guard(&self, message: &PeerMessage) -> Result<(), StepError> {
        let PeerMessage {
            from,
            to,
            term,
            body,
        } = message;
        if *to != self.me() && !is_on(Defect::TakeOthersMessages) {
            return Err(StepError::WrongReceiver {
                to: *to,
                me: self.me(),
            });
        }
        if self.membership.removed.contains(from) {
            return Err(StepError::Removed { from: *from });
        }
        self.contradiction(*from, *term, body)
            .map_or(Ok(()), |what| {
                Err(StepError::Malformed { from: *from, what })
            })
    }

    fn contradiction(
        &self,
        from: MemberId,
        term: Term,
        body: &MessageBody,
    ) -> Option<&'static str> {
        if from == self.me() {
            return Some("sent by the receiver itself");
        }
        if term.0 == 0 || term.0 > NUMBER_MAX {
            return Some("term out of range");
        }
        if term < self.term {
            return None; // only its term is looked at
        }
        if are_assertions_off() {
            return None;
        }
        match body {
            MessageBody::Append { prev, entries, .. } => self
                .rival(from, term)
                .or_else(|| bad_entries(term, *prev, entries))
                .or_else(|| self.conflict_with_settled(term, *prev, entries)),
            MessageBody::Heartbeat(Heartbeat { commit, .. }) => {
                self.rival(from, term).or_else(|| {
                    // An index beyond the log isn't nonsense: see `Raft::follow_commit`.
                    (commit.0 > NUMBER_MAX).then_some("commit index out of range")
                })
            }
            MessageBody::AppendAccepted { .. }
            | MessageBody::AppendRejected { .. }
            | MessageBody::HeartbeatResponse { .. } => self.bad_answer(term, body),
            MessageBody::TimeoutNow => self.rival(from, term),
            MessageBody::InstallSnapshot { meta } => self
                .rival(from, term)
                .or_else(|| bad_snapshot(term, meta))
                .or_else(|| self.conflict_with_settled(term, meta.last, &[])),
            MessageBody::PreVote { .. }
            | MessageBody::PreVoteResponse { .. }
            | MessageBody::Vote { .. }
            | MessageBody::VoteResponse { .. }
            | MessageBody::ReadIndex { .. }
            | MessageBody::ReadIndexResponse { .. } => None,
        }
    }

    /// Two leaders in one term.
    fn rival(&self, from: MemberId, term: Term) -> Option<&'static str> {
        let known = if term == self.term {
            self.leader()
        } else {
            None
        };
        known
            .is_some_and(|leader| leader != from)
            .then_some("a second leader in one term")
    }

    /// What is committed stays, and what a leader sent in a term it doesn't take back in it.
    fn conflict_with_settled(
        &self,
        term: Term,
        prev: LogId,
        entries: &[Entry],
    ) -> Option<&'static str> {
        let accepted = match &self.role {
            Role::Follower(follower) if term == self.term => follower.accepted,
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                LogIndex(0)
            }
        };
        let settled = self.log.commit().max(accepted);
        let conflicts = |id: LogId| id.index <= settled && !self.log.holds_or_held(id);
        (conflicts(prev) || entries.iter().any(|entry| conflicts(entry.id)))
            .then_some("conflicts with a committed or accepted entry")
    }

    /// Answers to a leader that speak of what it never sent.
    fn bad_answer(&self, term: Term, body: &MessageBody) -> Option<&'static str> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        if term != self.term {
            return None;
        }
        let last = self.log.last_index();
        match body {
            MessageBody::AppendAccepted { matched } if *matched > last => {
                Some("accepted beyond the leader's log")
            }
            MessageBody::AppendRejected { rejected, hint }
                if *rejected > last || hint.index > *rejected =>
            {
                Some("rejected beyond the leader's log")
            }
            MessageBody::HeartbeatResponse { number, .. } if *number > leader.heartbeat => {
                Some("answers a heartbeat that was never sent")
            }
            MessageBody::AppendAccepted { .. }
            | MessageBody::AppendRejected { .. }
            | MessageBody::HeartbeatResponse { .. }
            | MessageBody::PreVote { .. }
            | MessageBody::PreVoteResponse { .. }
            | MessageBody::Vote { .. }
            | MessageBody::VoteResponse { .. }
            | MessageBody::Append { .. }
            | MessageBody::Heartbeat(_)
            | MessageBody::ReadIndex { .. }
            | MessageBody::ReadIndexResponse { .. }
            | MessageBody::TimeoutNow
            | MessageBody::InstallSnapshot { .. } => None,
        }
    }
}

/// A snapshot of nothing, of a later term than its leader's, or with an impossible membership.
fn bad_snapshot(term: Term, meta: &SnapshotMeta) -> Option<&'static str> {
    let SnapshotMeta { last, membership } = meta;
    if last.index == LogIndex(0) || last.index.0 > NUMBER_MAX || last.term == Term(0) {
        return Some("impossible last entry of a snapshot");
    }
    if last.term > term {
        return Some("a snapshot of a later term than its leader's");
    }
    if membership.index > last.index || membership.voters.is_empty() {
        return Some("impossible membership in a snapshot");
    }
    membership.contradiction()
}

/// Entries that don't follow `prev` and each other, or are of a later term than their leader's.
fn bad_entries(term: Term, prev: LogId, entries: &[Entry]) -> Option<&'static str> {
    if (prev.index == LogIndex(0)) != (prev.term == Term(0)) || prev.index.0 > NUMBER_MAX {
        return Some("impossible previous entry");
    }
    let mut before = prev;
    for entry in entries {
        if entry.id.index != before.index.next() {
            return Some("entries not contiguous");
        }
        if entry.id.term < before.term || entry.id.term == Term(0) {
            return Some("terms fall");
        }
        let founds = matches!(entry.payload, Payload::ConfChange(ConfChange::Found { .. }));
        if founds != (entry.id.index == LogIndex(1)) {
            return Some("founding is the first entry and no other");
        }
        before = entry.id;
    }
    (before.term > term).then_some("an entry of a later term than its leader's")
}
