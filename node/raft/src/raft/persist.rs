//! What goes to the disk, and what may be said once it is there.
//!
//! Nothing that promises durability is kept as a message that waits. Each promise is derived
//! from the state when it has become true ([`Raft::settle`]): a state that changed meanwhile (a
//! higher term, another leader, an overwritten entry) can't let an old promise out.
//!
//! - A vote is answered, a candidate's own vote counted and its requests sent once term and vote
//!   are durable.
//! - An append is accepted as far as the follower's entries are durable, in a durable term.
//! - What a snapshot holds is accepted once the batch that says so is: it is numbered and
//!   acknowledged like an entry.
//! - A leader's own match index is what is durable; its appends leave at once (§10.2.1).
//!
//! **The commit index is persisted lazily**: it rides on batches that entries, term or vote make.
//! It may be lost, since any leader finds it again. Only a committed change of membership makes
//! a batch of its own: forgotten by all, the old configuration would need the vote of a member
//! whose disk is wiped by now (of two members, after the removal of one, for ever). That is
//! for liveness; safety needs less, namely this:
//!
//! The commit index says which configuration is active, on top of the state machine's, which is
//! durable on its own. A configuration must never be skipped: two that are one change apart have
//! overlapping majorities (a joint one needs a majority of each half, which are its neighbours),
//! two that are two changes apart need not.
//! That a member whose log contains the change C2 has recovered at least the change before it,
//! C1, as active follows like this. C2 is proposed only when C1 is committed; so its leader's
//! batch with C2 carries a commit index of at least C1, and so does every append with C2 (of this
//! leader and, by induction, of each later one, which has C2 in its log); a follower takes over
//! the commit index before it makes the batch with C2. Batches are recovered whole and in order.
//! And a member with C1 active and without C3, the change after C2, can't be elected by a majority
//! of C1 once C3 is committed: a majority of C2 committed it, every majority of C1 overlaps that
//! one, and who is in both refuses the vote.

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::limits::{PERSIST_BATCH_BYTES_MAX, PERSIST_BATCHES_IN_FLIGHT_MAX};
use crate::role::Role;
use crate::{HardState, MessageBody, PersistBatch, PersistSeq};

/// Batches, and whether term and vote are durable.
///
/// Invariants: `persisted <= handed`.
#[derive(Debug)]
pub(super) struct Persistence {
    handed: PersistSeq,
    persisted: PersistSeq,
    term_and_vote: Written,
    /// The commit index is worth a batch of its own.
    wants_commit: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Written {
    Pending,
    InFlight(PersistSeq),
    Durable,
}

impl Default for Persistence {
    fn default() -> Self {
        Self {
            handed: PersistSeq(0),
            persisted: PersistSeq(0),
            term_and_vote: Written::Durable,
            wants_commit: false,
        }
    }
}

impl Persistence {
    pub(super) fn term_or_vote_changed(&mut self) {
        self.term_and_vote = Written::Pending;
    }

    pub(super) fn membership_committed(&mut self) {
        self.wants_commit = true;
    }

    pub(super) fn is_term_durable(&self) -> bool {
        self.term_and_vote == Written::Durable
    }

    pub(super) fn on_persisted(&mut self, seq: PersistSeq) {
        assert!(
            seq <= self.handed,
            "batch {seq} persisted, but only {} exist",
            self.handed
        );
        self.persisted = self.persisted.max(seq);
        if let Written::InFlight(written) = self.term_and_vote
            && written <= seq
        {
            self.term_and_vote = Written::Durable;
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.persisted <= self.handed);
        assert!(self.handed.0 - self.persisted.0 <= PERSIST_BATCHES_IN_FLIGHT_MAX);
        if let Written::InFlight(seq) = self.term_and_vote {
            assert!(self.persisted < seq && seq <= self.handed);
        }
    }
}

impl Raft {
    /// The next batch, if there is something to write and room in flight.
    pub(super) fn next_batch(&mut self) -> Option<PersistBatch> {
        let Persistence {
            handed,
            persisted,
            term_and_vote,
            wants_commit,
        } = self.persistence;
        if !self.log.has_unwritten() && term_and_vote != Written::Pending && !wants_commit {
            return None;
        }
        if handed.0 - persisted.0 >= PERSIST_BATCHES_IN_FLIGHT_MAX {
            return None;
        }
        let seq = PersistSeq(handed.0 + 1);
        self.persistence.handed = seq;
        self.persistence.wants_commit = false;
        if term_and_vote == Written::Pending {
            self.persistence.term_and_vote = Written::InFlight(seq);
        }
        let (base, entries) = self.log.hand_out(seq, PERSIST_BATCH_BYTES_MAX);
        // Recovery must find no commit index beyond the entries.
        let commit = self.log.commit().min(self.log.handed());
        let hard_state = HardState {
            term: self.term,
            vote: self.vote,
            commit,
        };
        Some(PersistBatch {
            seq,
            hard_state,
            base,
            entries,
        })
    }

    /// Says what has become durable; `has_synced` when entries just have.
    pub(super) fn settle(&mut self, has_synced: bool) {
        if !self.persistence.is_term_durable() && !is_on(Defect::AnswerVoteBeforeSync) {
            return;
        }
        if let Some(to) = self.owed_vote.take() {
            self.outbox
                .send(to, self.term, MessageBody::VoteResponse { granted: true });
        }
        match &self.role {
            Role::Follower(_) => self.report_accepted(has_synced),
            Role::PreCandidate(_) => {}
            Role::Candidate(candidate) => {
                if !candidate.has_asked {
                    self.ask_for_votes();
                }
            }
            Role::Leader(_) => self.maybe_commit(),
        }
    }
}
