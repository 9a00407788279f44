//! This member's timers, as they are measured.

use std::time::Duration;

use raftery_behaviour::{AdaptiveTimers, Ceiling};
use raftery_raft::{Heartbeat, Instant, MessageBody, PeerMessage, RoleKind, Status, Term, Timers};

/// Timers are told to Raft when they differ by more than one in so many.
const NOTICEABLE: u32 = 32;

/// The step between two members' campaigns where nothing is measured.
const STEP_DEFAULT: Duration = Duration::from_millis(10);

/// Measures for the timers, or keeps to the configured ones.
#[derive(Debug)]
pub(super) struct Timing {
    adaptive: Option<AdaptiveTimers>,
    /// This member's.
    term: Term,
}

impl Timing {
    /// `is_adaptive`: the configured timers are but the longest.
    #[must_use]
    pub(super) fn new(term: Term, ceiling: Ceiling, is_adaptive: bool) -> Self {
        Self {
            adaptive: is_adaptive.then(|| AdaptiveTimers::new(ceiling)),
            term,
        }
    }

    /// A message arrived. What a deposed leader sent, and a link held back, says nothing about this
    /// one.
    pub(super) fn on_receive(&mut self, now: Instant, message: &PeerMessage) {
        if let (Some(timers), MessageBody::Heartbeat(Heartbeat { interval, .. })) =
            (&mut self.adaptive, &message.body)
            && !interval.is_zero()
            && message.term >= self.term
        {
            timers.on_heartbeat(now.0, message.from.0, *interval);
        }
    }

    /// A follower answered a heartbeat of this leader after so long.
    pub(super) fn on_round_trip(&mut self, took: Duration) {
        if let Some(timers) = &mut self.adaptive {
            timers.on_round_trip(took);
        }
    }

    /// A sync of this member's log took so long.
    pub(super) fn on_sync(&mut self, took: Duration) {
        if let Some(timers) = &mut self.adaptive {
            timers.on_sync(took);
        }
    }

    /// Role, leader or term changed.
    pub(super) fn status_changed(&mut self, status: &Status) {
        self.term = status.term;
        let follows = matches!(status.role, RoleKind::Follower | RoleKind::Learner)
            && status.leader.is_some();
        if let Some(timers) = &mut self.adaptive
            && !follows
        {
            timers.on_no_leader();
        }
    }

    /// By how much later than the one before each member should campaign: long enough for an
    /// election to be over.
    #[must_use]
    pub(super) fn step(&self) -> Duration {
        self.adaptive
            .as_ref()
            .map_or(STEP_DEFAULT, AdaptiveTimers::step)
    }

    /// The timers to go by, if they differ noticeably from the present ones.
    #[must_use]
    pub(super) fn other_than(&self, present: Timers) -> Option<Timers> {
        let adaptive = self.adaptive.as_ref()?;
        let measured = Timers {
            heartbeat_interval: adaptive.heartbeat_interval(),
            election_timeout: adaptive.election_timeout(),
        };
        let differs = |a: Duration, b: Duration| a.abs_diff(b) > b / NOTICEABLE;
        let is_news = differs(measured.heartbeat_interval, present.heartbeat_interval)
            || differs(measured.election_timeout, present.election_timeout);
        is_news.then_some(measured)
    }
}

#[cfg(test)]
mod tests {
    use raftery_raft::{LogIndex, MemberId};

    use super::*;

    const CEILING: Ceiling = Ceiling {
        heartbeat_interval: Duration::from_millis(100),
        election_timeout: Duration::from_secs(1),
    };

    fn heartbeat(from: u64, term: u64) -> PeerMessage {
        PeerMessage {
            from: MemberId(from),
            to: MemberId(9),
            term: Term(term),
            body: MessageBody::Heartbeat(Heartbeat {
                commit: LogIndex(0),
                number: 0,
                interval: CEILING.heartbeat_interval,
                stalled: Duration::ZERO,
                delay: Duration::ZERO,
            }),
        }
    }

    /// A minute of heartbeats of term 5, each with others beside it.
    fn timeout_after_a_minute(beside: &[PeerMessage]) -> Duration {
        let mut timing = Timing::new(Term(5), CEILING, true);
        for beat in 0..600 {
            let now = Instant(CEILING.heartbeat_interval * beat);
            timing.on_receive(now, &heartbeat(1, 5));
            for message in beside {
                timing.on_receive(now, message);
            }
        }
        let present = Timers {
            heartbeat_interval: Duration::MAX,
            election_timeout: Duration::MAX,
        };
        timing.other_than(present).unwrap().election_timeout
    }

    #[test]
    fn heartbeats_of_a_deposed_leader_that_arrive_late_change_nothing() {
        let usual = timeout_after_a_minute(&[]);
        assert_eq!(usual, Duration::from_millis(300));
        assert_eq!(timeout_after_a_minute(&[heartbeat(2, 4)]), usual);
        assert!(timeout_after_a_minute(&[heartbeat(2, 6)]) > usual);
    }
}
