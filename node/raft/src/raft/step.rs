//! Messages: the rules about terms, then whom they concern.

use std::cmp::Ordering;
use std::time::Duration;

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::role::Role;
use crate::{Instant, MemberId, MessageBody, PeerMessage, StepError, Term};

impl Raft {
    /// A message arrived. Messages may be lost, late, doubled and out of order.
    ///
    /// # Errors
    /// For someone else; from a removed member, which wants to be told so; or in contradiction
    /// to the protocol.
    pub fn step(&mut self, now: Instant, message: PeerMessage) -> Result<(), StepError> {
        self.guard(&message)?;
        self.advance(now);
        let PeerMessage {
            from,
            to: _,
            term,
            body,
        } = message;
        if let MessageBody::Vote { transfer, .. } = &body
            && term >= self.term
            && self.is_bound(term, *transfer)
        {
            // As if it hadn't arrived: whom this member promised to may still lead.
            return Ok(());
        }
        if !self.meet_term(from, term, &body) {
            return Ok(());
        }
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&from)
        {
            progress.last_heard = Some(self.now);
        }
        match body {
            MessageBody::PreVote { last } => self.on_pre_vote(from, term, last),
            MessageBody::PreVoteResponse { granted } => {
                self.on_pre_vote_response(from, term, granted);
            }
            MessageBody::Vote { last, transfer: _ } => self.on_vote(from, last),
            MessageBody::VoteResponse { granted } => self.on_vote_response(from, granted),
            MessageBody::Append {
                prev,
                entries,
                commit,
            } => {
                self.on_append(from, prev, entries, commit);
            }
            MessageBody::AppendAccepted { matched } => self.on_append_accepted(from, matched),
            MessageBody::AppendRejected { rejected, hint } => {
                self.on_append_rejected(from, rejected, hint);
            }
            MessageBody::Heartbeat(beat) => self.on_heartbeat(from, &beat),
            MessageBody::HeartbeatResponse { number, promise } => {
                self.on_heartbeat_response(from, number, promise);
            }
            MessageBody::ReadIndex { id } => self.on_read_index(from, id),
            MessageBody::ReadIndexResponse { id, index } => self.on_read_answer(id, index),
            MessageBody::TimeoutNow => self.on_timeout_now(from),
            MessageBody::InstallSnapshot { meta } => self.on_install_snapshot(from, meta),
        }
        self.settle(false);
        Ok(())
    }

    /// Compares terms (§3.3) and gives whether the message is to be looked at further.
    fn meet_term(&mut self, from: MemberId, term: Term, body: &MessageBody) -> bool {
        match term.cmp(&self.term) {
            Ordering::Equal => true,
            Ordering::Less if is_on(Defect::TakeOldTerms) => true,
            Ordering::Less => {
                self.answer_old_term(from, body);
                false
            }
            Ordering::Greater => match body {
                // These don't speak of the present: nobody's term changes.
                MessageBody::PreVote { .. } | MessageBody::PreVoteResponse { granted: true } => {
                    true
                }
                MessageBody::Vote { transfer: None, .. } if self.hears_a_leader() => false,
                MessageBody::Append { .. }
                | MessageBody::Heartbeat(_)
                | MessageBody::TimeoutNow
                | MessageBody::InstallSnapshot { .. } => {
                    self.become_follower(term, Some(from));
                    true
                }
                MessageBody::Vote { .. }
                | MessageBody::PreVoteResponse { granted: false }
                | MessageBody::VoteResponse { .. }
                | MessageBody::AppendAccepted { .. }
                | MessageBody::AppendRejected { .. }
                | MessageBody::HeartbeatResponse { .. }
                | MessageBody::ReadIndex { .. }
                | MessageBody::ReadIndexResponse { .. } => {
                    self.become_follower(term, None);
                    true
                }
            },
        }
    }

    /// Tells the sender of a request that its term is over. A leader is told so too: with
    /// PreVote and stickiness a member whose term ran ahead could otherwise never come back
    /// (etcd/raft's "free stuck candidate").
    fn answer_old_term(&mut self, from: MemberId, body: &MessageBody) {
        let answer = match body {
            MessageBody::PreVote { .. } => MessageBody::PreVoteResponse { granted: false },
            // Number 0 confirms nothing: the sender may lead this very term by the time that it
            // gets this, and would take another number for an answer to its own. Nor does it refuse
            // anything: a candidate may campaign in this very term by then, and would take a
            // refused vote for an answer to its new question.
            MessageBody::Vote { .. }
            | MessageBody::Append { .. }
            | MessageBody::Heartbeat(_)
            | MessageBody::InstallSnapshot { .. } => MessageBody::HeartbeatResponse {
                number: 0,
                promise: Duration::ZERO,
            },
            MessageBody::PreVoteResponse { .. }
            | MessageBody::VoteResponse { .. }
            | MessageBody::AppendAccepted { .. }
            | MessageBody::AppendRejected { .. }
            | MessageBody::HeartbeatResponse { .. }
            | MessageBody::ReadIndex { .. }
            | MessageBody::ReadIndexResponse { .. }
            | MessageBody::TimeoutNow => return,
        };
        self.outbox.send(from, self.term, answer);
    }
}
