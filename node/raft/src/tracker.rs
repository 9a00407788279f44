//! What a leader knows of another member.

use std::collections::VecDeque;

use raftery_defects::{Defect, is_on};

use crate::limits::{INFLIGHT_BYTES_MAX, INFLIGHT_MESSAGES_MAX};
use crate::{Instant, LogIndex};

/// How far another member is, and how it is sent to.
///
/// Invariants: `matched < next`; `lost`, if any, is beyond `matched`; in state `Snapshot` nothing is under way, `next` is the next one.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Highest index known to be the leader's and durable there.
    pub(crate) matched: LogIndex,
    /// The next entry to send.
    pub(crate) next: LogIndex,
    pub(crate) state: ProgressState,
    /// It accepted up to here and then refused that. `None` once it accepted as much again.
    pub(crate) lost: Option<LogIndex>,
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
    /// It needs entries that the log holds no more. `pending` was the base then: the snapshot
    /// reaches at least that far. Only heartbeats are sent until the snapshot is, or until it
    /// accepts something behind which the log still has entries.
    Snapshot { pending: LogIndex },
}

impl Progress {
    pub(crate) fn new(next: LogIndex) -> Self {
        Self {
            matched: LogIndex(0),
            next,
            state: ProgressState::Probe { waiting: false },
            lost: None,
            last_heard: None,
            heartbeat_answered: 0,
            commit_sent: LogIndex(0),
            appended_at: None,
        }
    }

    /// It holds everything up to `matched`; the log begins behind `base`. Gives whether that says
    /// anything new.
    pub(crate) fn on_accepted(&mut self, matched: LogIndex, base: LogIndex) -> bool {
        let is_news = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched.next());
        self.lost = self.lost.filter(|lost| *lost > self.matched);
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
            ProgressState::Snapshot { .. } if self.matched < base => {}
            ProgressState::Snapshot { .. } => {
                self.state = ProgressState::Replicate {
                    inflight: Inflights::default(),
                };
            }
        }
        is_news
    }

    /// Whether its state lets anything but heartbeats be sent to it now.
    pub(crate) fn may_send(&self) -> bool {
        match &self.state {
            ProgressState::Probe { waiting } => !waiting,
            ProgressState::Replicate { .. } => true,
            ProgressState::Snapshot { .. } => false,
        }
    }

    /// It needs entries up to `base`, which are gone.
    pub(crate) fn needs_snapshot(&mut self, base: LogIndex) {
        self.next = self.matched.next();
        self.commit_sent = LogIndex(0);
        self.state = ProgressState::Snapshot { pending: base };
    }

    /// A snapshot up to `last` was sent, or couldn't be. Either way the next append waits: for
    /// the answer to the snapshot, or for the next try.
    pub(crate) fn on_snapshot_sent(&mut self, now: Instant, last: Option<LogIndex>) {
        if !matches!(self.state, ProgressState::Snapshot { .. }) {
            return;
        }
        self.next = last.unwrap_or_default().max(self.matched).next();
        self.appended_at = Some(now);
        self.state = ProgressState::Probe { waiting: true };
    }

    /// It refused an append after `rejected`; `may_match` is the last index that its hint leaves
    /// possible. Back to probing, unless the answer is an old one.
    ///
    /// A refusal of what it had accepted is an old answer, or its disk went back (it might also
    /// only ask, see `Raft::follow_commit`). So what matched is probed, and if that is refused,
    /// too, nothing is known of its log any more.
    pub(crate) fn on_rejected(&mut self, rejected: LogIndex, may_match: LogIndex) {
        match &mut self.state {
            ProgressState::Replicate { .. } => {
                // Something before it was lost: everything after `matched` goes again.
                self.next = self.matched.next();
                self.commit_sent = LogIndex(0);
                self.state = ProgressState::Probe { waiting: false };
            }
            ProgressState::Probe { waiting } => {
                if self.next.prev() != rejected {
                    return;
                }
                if rejected == self.matched && may_match < self.matched {
                    self.lost = self.lost.max(Some(self.matched));
                    self.matched = LogIndex(0);
                    self.commit_sent = LogIndex(0);
                }
                self.next = rejected.min(may_match.next()).max(self.matched.next());
                *waiting = false;
            }
            ProgressState::Snapshot { .. } => {}
        }
    }

    pub(crate) fn check_invariants(&self, last: LogIndex) {
        assert!(
            self.matched < self.next,
            "next not beyond matched: {self:?}"
        );
        assert!(self.matched <= last, "matches beyond the log: {self:?}");
        assert!(self.next <= last.next(), "next beyond the log: {self:?}");
        assert!(
            self.lost.is_none_or(|lost| lost > self.matched),
            "lost what matches: {self:?}"
        );
        match &self.state {
            ProgressState::Probe { .. } => {}
            ProgressState::Replicate { inflight } => inflight.check_invariants(),
            ProgressState::Snapshot { pending } => {
                assert_eq!(self.next, self.matched.next(), "under way: {self:?}");
                assert!(*pending <= last, "a snapshot beyond the log: {self:?}");
            }
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
        progress.on_accepted(LogIndex(matched), LogIndex(0));
        progress
    }

    #[test]
    fn an_accepted_probe_starts_replication_behind_it() {
        let mut progress = Progress::new(LogIndex(8));
        progress.on_rejected(LogIndex(7), LogIndex(3));
        assert_eq!(progress.next, LogIndex(4));
        assert!(progress.on_accepted(LogIndex(3), LogIndex(0)));
        assert!(matches!(progress.state, ProgressState::Replicate { .. }));
        assert_eq!(
            (progress.matched, progress.next),
            (LogIndex(3), LogIndex(4))
        );
    }

    #[test]
    fn old_rejections_cost_a_probe_at_most() {
        let mut progress = replicating(5);
        progress.on_rejected(LogIndex(5), LogIndex(0));
        progress.on_accepted(LogIndex(5), LogIndex(0));
        assert!(matches!(progress.state, ProgressState::Replicate { .. }));
        assert_eq!((progress.lost, progress.next), (None, LogIndex(6)));
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
    fn a_member_that_refuses_what_it_accepted_is_probed_for_what_it_still_has() {
        let mut progress = replicating(5);
        progress.on_rejected(LogIndex(5), LogIndex(2));
        assert_eq!((progress.lost, progress.next), (None, LogIndex(6)));
        progress.on_rejected(LogIndex(5), LogIndex(2));
        assert_eq!(
            (progress.lost, progress.matched, progress.next),
            (Some(LogIndex(5)), LogIndex(0), LogIndex(3))
        );
        progress.check_invariants(LogIndex(9));
        progress.on_accepted(LogIndex(4), LogIndex(0));
        assert_eq!(progress.lost, Some(LogIndex(5)));
        progress.on_accepted(LogIndex(5), LogIndex(0));
        assert_eq!(progress.lost, None);
    }

    #[test]
    fn a_member_that_asks_whether_it_matches_is_probed_there() {
        let mut progress = replicating(5);
        progress.on_rejected(LogIndex(5), LogIndex(5));
        progress.on_rejected(LogIndex(5), LogIndex(5));
        assert_eq!(
            (progress.lost, progress.matched, progress.next),
            (None, LogIndex(5), LogIndex(6))
        );
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
