//! Elections: PreVote (§9.6), votes (§3.4, §3.6.1), leader stickiness (§4.2.3, §6.2).

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::quorum::PollOutcome;
use crate::role::{Candidate, Poll, Role};
use crate::{Instant, LogId, MemberId, MessageBody, Term};

impl Raft {
    /// The election timer of anyone but a leader.
    pub(super) fn tick_election(&mut self) {
        if self.now < self.election_due() {
            return;
        }
        if self.may_campaign() {
            self.pre_campaign();
        } else {
            // Learners, removed members and the like don't campaign; they just know of no leader any more.
            self.become_follower(self.term, None);
        }
    }

    /// When the election timer fires. A follower's timeout is no shorter than its promise, so
    /// that a promise delays it only after a start, when it has changed leaders, and when its
    /// timeout has become shorter. The last leader's wish comes on top, by an election timeout at
    /// most: everyone campaigns in the end.
    pub(super) fn election_due(&self) -> Instant {
        let election_timeout = self.timers.election_timeout;
        let delay = if is_on(Defect::ObeyAnyWish) {
            self.delay
        } else {
            self.delay.min(election_timeout)
        };
        (self.timer.deadline(election_timeout) + delay).max(self.promises.end())
    }

    /// Whether promises forbid to campaign or vote in `term`; `transfer` is the leader of the term
    /// before that asked for the election. Module `promise` says why its asking is enough.
    pub(super) fn is_bound(&self, term: Term, transfer: Option<MemberId>) -> bool {
        let by_own_leader = transfer.is_some_and(|leader| {
            let asked_in = Term(term.0 - 1);
            self.promises.is_to(leader, asked_in)
                || (self.term == asked_in && self.leader() == Some(leader))
        });
        self.promises.bind(self.now, by_own_leader)
    }

    /// Asks whether an election could be won, without disturbing anyone: the term stays.
    fn pre_campaign(&mut self) {
        self.campaigns_out_of_distrust();
        self.reset_timer();
        self.timer.has_campaigned = true;
        let mut poll = Poll::default();
        poll.record(self.me(), true);
        self.role = Role::PreCandidate(poll);
        let body = MessageBody::PreVote {
            last: self.log.last_id(),
        };
        self.ask_voters(Term(self.term.0 + 1), &body);
        self.tally();
    }

    /// Votes for itself in a new term. The others are asked once that is durable.
    pub(super) fn stand(&mut self, transfer: Option<MemberId>) {
        self.enter_term(Term(self.term.0 + 1), Some(self.me()));
        self.reset_timer();
        self.timer.has_campaigned = true;
        let poll = Poll::default();
        self.role = Role::Candidate(Candidate {
            poll,
            has_asked: false,
            transfer,
        });
    }

    /// The own vote is durable: it counts, and the others are asked for theirs.
    pub(super) fn ask_for_votes(&mut self) {
        let me = self.me();
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        candidate.has_asked = true;
        candidate.poll.record(me, true);
        let transfer = candidate.transfer;
        self.ask_voters(
            self.term,
            &MessageBody::Vote {
                last: self.log.last_id(),
                transfer,
            },
        );
        self.tally();
    }

    fn ask_voters(&mut self, term: Term, body: &MessageBody) {
        let me = self.me();
        for to in self.membership.all_voters().filter(|id| *id != me) {
            self.outbox.send(to, term, body.clone());
        }
    }

    fn tally(&mut self) {
        let quorum = self.membership.quorum();
        match &self.role {
            Role::PreCandidate(poll) => match poll.outcome(quorum) {
                PollOutcome::Won => self.stand(None),
                PollOutcome::Lost => self.lose(),
                PollOutcome::Open => {}
            },
            Role::Candidate(candidate) => match candidate.poll.outcome(quorum) {
                PollOutcome::Won => self.become_leader(),
                PollOutcome::Lost => self.lose(),
                PollOutcome::Open => {}
            },
            Role::Follower(_) | Role::Leader(_) => {}
        }
    }

    fn lose(&mut self) {
        self.become_follower(self.term, None);
        self.timer.has_campaigned = true;
    }

    /// Whether this member hears a leader, or is one: it then ignores those who don't, so that a
    /// member that can't hear the leader (or was removed) can't depose it.
    pub(super) fn hears_a_leader(&self) -> bool {
        match &self.role {
            Role::Leader(_) => true,
            Role::Follower(follower) => {
                follower.leader.is_some()
                    && follower
                        .heard
                        .is_some_and(|at| self.now.since(at) < self.timers.election_timeout)
            }
            Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }

    /// Would this member vote for `from` in `term`, which is not lower than its own?
    pub(super) fn on_pre_vote(&mut self, from: MemberId, term: Term, last: LogId) {
        if self.hears_a_leader() || self.is_bound(term, None) {
            return;
        }
        let granted = (term > self.term || self.is_vote_free(from)) && self.is_up_to_date(last);
        // A grant carries the term asked for, so that it can't be taken for another round's.
        let answer_term = if granted { term } else { self.term };
        self.outbox
            .send(from, answer_term, MessageBody::PreVoteResponse { granted });
    }

    /// `from` asks for the vote in this term.
    ///
    /// Anyone votes, learners and removed members too: a member may have been promoted and not
    /// know it yet, and with its vote refused two voters could deadlock. Who counts is the
    /// candidate's business; it asks only those whom it knows as voters.
    pub(super) fn on_vote(&mut self, from: MemberId, last: LogId) {
        if !(self.is_vote_free(from) && self.is_up_to_date(last)) {
            self.outbox.send(
                from,
                self.term,
                MessageBody::VoteResponse { granted: false },
            );
            return;
        }
        if self.vote != Some(from) {
            self.vote = Some(from);
            self.persistence.term_or_vote_changed();
        }
        self.owed_vote = Some(from);
        self.reset_timer();
    }

    /// Whether the vote of this term is still to be had by `from`.
    fn is_vote_free(&self, from: MemberId) -> bool {
        self.vote == Some(from)
            || (self.vote.is_none() && self.leader().is_none())
            || is_on(Defect::VoteTwice)
    }

    /// Whether this member was removed, so that nothing behind what it knows as committed rests on
    /// it. If those who stay don't know yet that a joint configuration was left, they need its vote,
    /// and what only it has mustn't be in their way: they could never elect anyone.
    ///
    /// What is committed later isn't lost by that. It needs a majority of those who stay. Who is
    /// elected while the old configuration is joint has one, too. Who is elected by `n` of which
    /// this member is the only one to leave has `n / 2` of the others at least, and those overlap
    /// every majority of `n - 1`.
    fn has_left(&self) -> bool {
        self.membership.removed.contains(&self.me())
    }

    /// §3.6.1: the candidate's log isn't behind. A `LogId` compares its term first.
    fn is_up_to_date(&self, last: LogId) -> bool {
        let own = if self.has_left() {
            self.log.commit_id()
        } else {
            self.log.last_id()
        };
        (last >= own || is_on(Defect::VoteForStaleLog)) && self.may_vote_for(last)
    }

    pub(super) fn on_pre_vote_response(&mut self, from: MemberId, term: Term, granted: bool) {
        if is_on(Defect::CountPreVotes) && term == self.term {
            self.on_vote_response(from, granted);
        }
        let Role::PreCandidate(poll) = &mut self.role else {
            return;
        };
        if granted && term.0 != self.term.0 + 1 {
            return; // for an earlier round
        }
        poll.record(from, granted);
        self.tally();
    }

    pub(super) fn on_vote_response(&mut self, from: MemberId, granted: bool) {
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        candidate.poll.record(from, granted);
        self.tally();
    }
}
