//! What a member is at the moment; each role carries only its own data.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::lease::Lease;
use crate::quorum::{PollOutcome, Quorum};
use crate::tracker::Progress;
use crate::{Instant, LogIndex, MemberId, ReadId};

#[derive(Debug)]
pub(crate) enum Role {
    /// Also what a learner and a removed member are: they just never campaign.
    Follower(Follower),
    PreCandidate(Poll),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

/// Takes entries from a leader.
///
/// Invariants: `reported <= accepted`.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// Whom it follows in this term.
    pub(crate) leader: Option<MemberId>,
    /// When it last heard from that leader.
    pub(crate) heard: Option<Instant>,
    /// Highest index known to be the leader's, durable or not.
    pub(crate) accepted: LogIndex,
    /// Highest index that the leader was told to be durable here.
    pub(crate) reported: LogIndex,
    /// An append waits for its answer until it is durable.
    pub(crate) owes_answer: bool,
    /// Reads that the leader was asked about: the name on the wire and the caller's.
    pub(crate) reads: BTreeMap<ReadId, ReadId>,
}

/// Who said what.
#[derive(Debug, Default)]
pub(crate) struct Poll {
    granted: BTreeSet<MemberId>,
    refused: BTreeSet<MemberId>,
}

impl Poll {
    /// The first answer of a member counts.
    pub(crate) fn record(&mut self, from: MemberId, granted: bool) {
        if granted && !self.refused.contains(&from) {
            self.granted.insert(from);
        } else if !granted && !self.granted.contains(&from) {
            self.refused.insert(from);
        }
    }

    /// Only voters count.
    pub(crate) fn outcome(&self, quorum: Quorum<'_>) -> PollOutcome {
        quorum.outcome(|id| {
            let granted = self.granted.contains(&id);
            (granted || self.refused.contains(&id)).then_some(granted)
        })
    }
}

/// Asks for votes.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) poll: Poll,
    /// Whether the own vote is durable, and with it counted and the requests sent.
    pub(crate) has_asked: bool,
    /// The leader that asked for this election.
    pub(crate) transfer: Option<MemberId>,
}

/// Leads.
///
/// Invariants:
/// - `progress` holds every member but this one
/// - `reads.len()` is what waits and what rounds carry
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) since: Instant,
    pub(crate) progress: BTreeMap<MemberId, Progress>,
    pub(crate) heartbeat_due: Instant,
    /// When something was last applied, or began to wait for that.
    pub(crate) moved: Instant,
    /// How much later than others each member had better campaign when this leader is gone.
    pub(crate) delays: BTreeMap<MemberId, Duration>,
    /// Number of the last heartbeat round.
    pub(crate) heartbeat: u64,
    pub(crate) reads: Reads,
    pub(crate) lease: Lease,
    /// Where an uncommitted change of membership stands.
    pub(crate) pending_conf: Option<LogIndex>,
    /// Payload bytes beyond the commit index.
    pub(crate) uncommitted_bytes: usize,
    pub(crate) transfer: Option<Transfer>,
}

/// Leadership is being handed over.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) to: MemberId,
    /// Given up then.
    pub(crate) deadline: Instant,
    /// The target was told to campaign.
    pub(crate) is_sent: bool,
}

/// Reads that wait for the leader to be confirmed (§6.4).
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Arrived after the last round was sent.
    pub(crate) waiting: Vec<Read>,
    /// Sent, oldest first.
    pub(crate) rounds: VecDeque<ReadRound>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Read {
    pub(crate) id: ReadId,
    /// Who asked; `None` when it was the leader's own caller.
    pub(crate) from: Option<MemberId>,
}

/// Reads that one heartbeat round confirms.
#[derive(Debug)]
pub(crate) struct ReadRound {
    pub(crate) heartbeat: u64,
    /// The commit index when the round was sent.
    pub(crate) index: LogIndex,
    pub(crate) reads: Vec<Read>,
}

impl Reads {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
            + self
                .rounds
                .iter()
                .map(|round| round.reads.len())
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_won_or_lost_by_a_majority_of_voters_only() {
        let voters: BTreeSet<_> = [1, 2, 3].map(MemberId).into();
        let quorum = Quorum {
            incoming: &voters,
            outgoing: &BTreeSet::new(),
        };
        let mut poll = Poll::default();
        poll.record(MemberId(1), true);
        poll.record(MemberId(9), true);
        assert_eq!(poll.outcome(quorum), PollOutcome::Open, "9 is no voter");
        poll.record(MemberId(2), false);
        poll.record(MemberId(2), true);
        assert_eq!(
            poll.outcome(quorum),
            PollOutcome::Open,
            "the first answer counts"
        );
        poll.record(MemberId(3), false);
        assert_eq!(poll.outcome(quorum), PollOutcome::Lost);
    }
}
