//! Linearizable reads (§6.4): at once while the lease holds; otherwise one heartbeat round confirms
//! all reads that came before it.

use raftery_defects::{Defect, is_on};

use super::Raft;
use crate::limits::READS_WAITING_MAX;
use crate::role::{Read, ReadRound, Role};
use crate::{Instant, LogIndex, MemberId, MessageBody, ReadError, ReadGrant, ReadId};

impl Raft {
    /// Asks for a linearizable read. A [`crate::Ready`] names the index that applied must reach for
    /// it to be served: the next one while this leader's lease holds, a later one otherwise. A
    /// follower asks its leader.
    ///
    /// A read is given back at most once. It is never given back when the leader loses its place
    /// meanwhile, or a message is lost on the way: ask again under another name.
    ///
    /// # Errors
    /// No leader is known; too many reads wait.
    pub fn read_index(&mut self, now: Instant, id: ReadId) -> Result<(), ReadError> {
        let has_committed = self.has_committed_in_term();
        match &mut self.role {
            Role::Leader(leader) => {
                if leader.reads.len() >= READS_WAITING_MAX {
                    return Err(if has_committed {
                        ReadError::TooManyWaiting {
                            waiting_max: READS_WAITING_MAX,
                        }
                    } else {
                        ReadError::NothingCommittedInTerm
                    });
                }
                leader.reads.waiting.push(Read { id, from: None });
            }
            Role::Follower(follower) => {
                let leader = follower.leader.ok_or(ReadError::NoLeader)?;
                if follower.reads.len() >= READS_WAITING_MAX {
                    // The oldest name: its question or answer was lost.
                    follower.reads.pop_first();
                }
                self.wire_read.0 += 1;
                follower.reads.insert(self.wire_read, id);
                self.outbox.send(
                    leader,
                    self.term,
                    MessageBody::ReadIndex { id: self.wire_read },
                );
            }
            Role::PreCandidate(_) | Role::Candidate(_) => return Err(ReadError::NoLeader),
        }
        if !is_on(Defect::LeaseAtOldTime) {
            self.advance(now);
        }
        Ok(())
    }

    /// A follower asks. Past the limit it isn't answered, as if the message was lost.
    pub(super) fn on_read_index(&mut self, from: MemberId, id: ReadId) {
        if let Role::Leader(leader) = &mut self.role
            && leader.reads.len() < READS_WAITING_MAX
        {
            leader.reads.waiting.push(Read {
                id,
                from: Some(from),
            });
        }
    }

    /// The leader answers.
    pub(super) fn on_read_answer(&mut self, wire: ReadId, index: LogIndex) {
        if let Role::Follower(follower) = &mut self.role
            && let Some(id) = follower.reads.remove(&wire)
        {
            self.reads.push(ReadGrant {
                id,
                index,
                valid_until: None,
            });
        }
    }

    /// Starts a round for the reads that wait, unless one is under way: those that come
    /// meanwhile share the next.
    pub(super) fn start_read_round(&mut self) {
        self.grant_by_lease();
        let is_due = matches!(&self.role, Role::Leader(leader)
            if !leader.reads.waiting.is_empty() && leader.reads.rounds.is_empty());
        if is_due && (self.has_committed_in_term() || is_on(Defect::ReadBeforeOwnCommit)) {
            self.beat();
        }
    }

    /// Gives back the reads that wait, if the lease holds: whatever was acknowledged anywhere
    /// before now is committed here. The index is all that a follower which asked needs: its read
    /// began before this answer.
    fn grant_by_lease(&mut self) {
        let until = self.lease();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if until.is_some() {
            let reads = std::mem::take(&mut leader.reads.waiting);
            self.grant(reads, self.log.commit(), until);
        }
    }

    fn grant(&mut self, reads: Vec<Read>, index: LogIndex, valid_until: Option<Instant>) {
        for Read { id, from } in reads {
            match from {
                None => self.reads.push(ReadGrant {
                    id,
                    index,
                    valid_until,
                }),
                Some(to) => {
                    let body = MessageBody::ReadIndexResponse { id, index };
                    self.outbox.send(to, self.term, body);
                }
            }
        }
    }

    /// A heartbeat round begins: it takes along every read that waits. Not before an entry of
    /// the own term is committed: until then the leader doesn't know what is committed.
    pub(super) fn attach_reads(&mut self) {
        self.grant_by_lease();
        let has_committed = self.has_committed_in_term() || is_on(Defect::ReadBeforeOwnCommit);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.heartbeat += 1;
        if has_committed && !leader.reads.waiting.is_empty() {
            leader.reads.rounds.push_back(ReadRound {
                heartbeat: leader.heartbeat,
                index: self.log.commit(),
                reads: std::mem::take(&mut leader.reads.waiting),
            });
        }
    }

    /// Answers the reads of each round that a majority has answered, this or a later one.
    pub(super) fn confirm_reads(&mut self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        if leader.reads.rounds.is_empty() {
            return;
        }
        let answered = self.of_voters(leader.heartbeat, |id| {
            if is_on(Defect::ReadUnconfirmed) {
                return leader.heartbeat;
            }
            leader.progress.get(&id).map_or(0, |p| p.heartbeat_answered)
        });
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let mut confirmed = Vec::new();
        while let Some(round) = leader.reads.rounds.front()
            && answered.is_some_and(|heartbeat| round.heartbeat <= heartbeat)
        {
            let round = leader.reads.rounds.pop_front().expect("it was there");
            confirmed.push(round);
        }
        for round in confirmed {
            self.grant(round.reads, round.index, None);
        }
    }
}
