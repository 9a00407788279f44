//! This member's timers, as they are measured.

use std::time::Duration;

use raftery_behaviour::{AdaptiveTimers, Ceiling};
use raftery_raft::{Heartbeat, Instant, MessageBody, PeerMessage, RoleKind, Status, Timers};

/// Timers are told to Raft when they differ by more than one in so many.
const NOTICEABLE: u32 = 32;

/// The step between two members' campaigns where nothing is measured.
const STEP_DEFAULT: Duration = Duration::from_millis(10);

/// Measures for the timers, or keeps to the configured ones.
#[derive(Debug)]
pub(super) struct Timing {
    adaptive: Option<AdaptiveTimers>,
}

impl Timing {
    /// `is_adaptive`: the configured timers are but the longest.
    #[must_use]
    pub(super) fn new(ceiling: Ceiling, is_adaptive: bool) -> Self {
        Self {
            adaptive: is_adaptive.then(|| AdaptiveTimers::new(ceiling)),
        }
    }

    /// A message arrived.
    pub(super) fn on_receive(&mut self, now: Instant, message: &PeerMessage) {
        if let (Some(timers), MessageBody::Heartbeat(Heartbeat { interval, .. })) =
            (&mut self.adaptive, &message.body)
            && !interval.is_zero()
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

    /// Role or leader changed.
    pub(super) fn status_changed(&mut self, status: &Status) {
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
