//! What a leader knows of another member.

use std::collections::VecDeque;

use raftery_defects::{Defect, is_on};

use crate::limits::{INFLIGHT_BYTES_MAX, INFLIGHT_MESSAGES_MAX};
use crate::{Instant, LogIndex};

/// How far another member is, and how it is sent to.
///
/// Invariants: `matched < next`.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Highest index known to be the leader's and durable there.
    pub(crate) matched: LogIndex,
    /// The next entry to send.
    pub(crate) next: LogIndex,
    pub(crate) state: ProgressState,
    /// When it last answered this leader.
    pub(crate) last_heard: Option<Instant>,
    /// The highest heartbeat that it answered.
    pub(crate) heartbeat_answered: u64,
    /// The highest commit index that it was sent and could take over.
    pub(crate) commit_sent: LogIndex,
    /// When it was last sent an append.
    pub(crate) appended_at: Option<Instant>,
}

#[derive(Debug)]
pub(crate) enum ProgressState {
    /// Where its log meets the leader's isn't known: one append at a time. `waiting`: one is out;
    /// an answer, or an answered heartbeat (the append may be lost), sends the next.
    Probe { waiting: bool },
    /// Entries are sent as they come, without waiting for answers.
    Replicate { inflight: Inflights },
}

impl Progress {
    pub(crate) fn new(next: LogIndex) -> Self {
        Self {
            matched: LogIndex(0),
            next,
            state: ProgressState::Probe { waiting: false },
            last_heard: None,
            heartbeat_answered: 0,
            commit_sent: LogIndex(0),
            appended_at: None,
        }
    }

    /// It holds everything up to `matched`. Gives whether that says anything new.
    pub(crate) fn on_accepted(&mut self, matched: LogIndex) -> bool {
        let is_news = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched.next());
        match &mut self.state {
            // An older answer says nothing about the probe that is out.
            ProgressState::Probe { .. } if matched < self.matched => {}
            ProgressState::Probe { .. } => {
                self.next = self.matched.next();
                self.state = ProgressState::Replicate {
                    inflight: Inflights::default(),
                };
            }
            ProgressState::Replicate { inflight } => inflight.free_up_to(matched),
        }
        is_news
    }

    /// It refused an append after `rejected`; `may_match` is the last index that its hint leaves
    /// possible. Back to probing, unless the answer is an old one.
    pub(crate) fn on_rejected(&mut self, rejected: LogIndex, may_match: LogIndex) {
        match &mut self.state {
            ProgressState::Replicate { .. } => {
                if rejected <= self.matched {
                    return;
                }
                // Something before it was lost: everything after `matched` goes again.
                self.next = self.matched.next();
                self.commit_sent = LogIndex(0);
                self.state = ProgressState::Probe { waiting: false };
            }
            ProgressState::Probe { waiting } => {
                if self.next.prev() != rejected {
                    return;
                }
                self.next = rejected.min(may_match.next()).max(self.matched.next());
                *waiting = false;
            }
        }
    }

    pub(crate) fn check_invariants(&self, last: LogIndex) {
        assert!(
            self.matched < self.next,
            "next not beyond matched: {self:?}"
        );
        assert!(self.matched <= last, "matches beyond the log: {self:?}");
        assert!(self.next <= last.next(), "next beyond the log: {self:?}");
        if let ProgressState::Replicate { inflight } = &self.state {
            inflight.check_invariants();
        }
    }
}

/// Appends under way: the last index and the bytes of each, in order.
///
/// Invariants: `bytes` is the sum of what waits; indexes grow.
#[derive(Debug, Default)]
pub(crate) struct Inflights {
    appends: VecDeque<(LogIndex, usize)>,
    bytes: usize,
}

impl Inflights {
    pub(crate) fn is_full(&self) -> bool {
        // One at a time, so that they are often apart for long.
        let messages_max = if is_on(Defect::CommitEarlierTerm) {
            1
        } else {
            INFLIGHT_MESSAGES_MAX
        };
        self.appends.len() >= messages_max || self.bytes >= INFLIGHT_BYTES_MAX
    }

    pub(crate) fn add(&mut self, last: LogIndex, bytes: usize) {
        self.appends.push_back((last, bytes));
        self.bytes += bytes;
    }

    fn free_up_to(&mut self, matched: LogIndex) {
        while let Some((last, bytes)) = self.appends.front()
            && *last <= matched
        {
            self.bytes -= bytes;
            self.appends.pop_front();
        }
    }

    fn check_invariants(&self) {
        assert!(self.appends.len() <= INFLIGHT_MESSAGES_MAX);
        assert_eq!(
            self.bytes,
            self.appends.iter().map(|(_, bytes)| bytes).sum::<usize>()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicating(matched: u64) -> Progress {
        let mut progress = Progress::new(LogIndex(matched + 1));
        progress.on_accepted(LogIndex(matched));
        progress
    }

    #[test]
    fn an_accepted_probe_starts_replication_behind_it() {
        let mut progress = Progress::new(LogIndex(8));
        progress.on_rejected(LogIndex(7), LogIndex(3));
        assert_eq!(progress.next, LogIndex(4));
        assert!(progress.on_accepted(LogIndex(3)));
        assert!(matches!(progress.state, ProgressState::Replicate { .. }));
        assert_eq!(
            (progress.matched, progress.next),
            (LogIndex(3), LogIndex(4))
        );
    }

    #[test]
    fn old_rejections_change_nothing() {
        let mut progress = replicating(5);
        progress.on_rejected(LogIndex(5), LogIndex(0));
        assert!(matches!(progress.state, ProgressState::Replicate { .. }));
        let mut probing = Progress::new(LogIndex(8));
        probing.on_rejected(LogIndex(3), LogIndex(0));
        assert_eq!(probing.next, LogIndex(8));
    }

    #[test]
    fn a_rejection_never_goes_below_what_matched() {
        let mut progress = replicating(5);
        progress.next = LogIndex(9);
        progress.on_rejected(LogIndex(8), LogIndex(2));
        assert!(matches!(
            progress.state,
            ProgressState::Probe { waiting: false }
        ));
        assert_eq!(progress.next, LogIndex(6));
    }

    #[test]
    fn what_is_in_flight_is_limited_by_messages_and_by_bytes() {
        let mut many = Inflights::default();
        for index in 1..=INFLIGHT_MESSAGES_MAX as u64 {
            assert!(!many.is_full());
            many.add(LogIndex(index), 1);
        }
        assert!(many.is_full());
        many.free_up_to(LogIndex(1));
        assert!(!many.is_full());
        many.check_invariants();
        let mut large = Inflights::default();
        large.add(LogIndex(1), INFLIGHT_BYTES_MAX);
        assert!(large.is_full());
    }
}
