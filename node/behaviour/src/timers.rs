//! Timers that follow the network and the disks that are really there.
//!
//! A leader beats as often as its round trips allow. A follower measures by how much heartbeats
//! come later than the leader says that it beats, and waits for as many of them as it takes to make
//! it unlikely that all were late:
//!
//! ```text
//! h = clamp(2 * round trip, 30 ms, configured interval)
//! K = clamp(ln 0.001 / ln (share of late heartbeats), 3, 10)
//! E = K * h + lateness (mean + 4 deviations, or 1.5 times the longest of late) + sync
//! ```
//!
//! `E` stays between 200 ms and the configured timeout. It is raised at once and lowered slowly.
//! It never derives from the gap between heartbeats itself: a leader that beats slower because it
//! is told of a longer timeout, which makes the gap longer, would drive both up for ever.
//!
//! Nothing here is replicated, and no safety rests on it (promises carry leases); so each member
//! may measure what it likes.

use std::time::Duration;

use crate::average::{Average, Longest};

/// The shortest interval between heartbeats.
pub const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_millis(30);
/// The shortest election timeout: as long as Linux waits at least before it sends a lost segment
/// again, so that one lost segment on a network that had lost none is hardly ever an election.
pub const ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(200);

/// Heartbeats that may be missing at least, and at most.
const MISSING_MIN: u32 = 3;
const MISSING_MAX: u32 = 10;
/// How unlikely it is to be that so many are late by chance.
const UNLIKELY: f64 = 0.001;
/// Heartbeats that must have been measured before the timeout falls.
const SAMPLES_MIN: u32 = 20;
/// By what share a timeout that is longer than it need be falls in a second.
const FALL_PER_SECOND: f64 = 0.25;
/// By what a new leader, whose link isn't known yet, lengthens the timeout.
const NEW_LEADER_FACTOR: f64 = 1.5;
/// Of the longest lateness of late.
const LONGEST_FACTOR: f64 = 1.5;
/// What was the longest of late is forgotten after this to twice this.
const LONGEST_KEPT: Duration = Duration::from_secs(15);

/// The configured timers: the longest that these here become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Of the heartbeat interval.
    pub heartbeat_interval: Duration,
    /// Of the election timeout.
    pub election_timeout: Duration,
}

/// One member's timers, as follower and as leader.
///
/// Invariants: the election timeout is between the lesser of [`ELECTION_TIMEOUT_MIN`] and the
/// ceiling, and the ceiling; the same for the interval.
#[derive(Debug, Clone)]
pub struct AdaptiveTimers {
    ceiling: Ceiling,
    election_timeout: Duration,
    /// When that was last looked at.
    looked_at: Duration,
    /// The last leader that was followed.
    leader: Option<u64>,
    /// When its last heartbeat came, unless it was given up since.
    last: Option<Duration>,
    /// Heartbeats measured.
    samples: u32,
    /// By how much they were late, in seconds.
    lateness: Average,
    longest: Longest,
    /// Whether they were late by more than an interval: 0 or 1.
    are_late: Average,
    /// How long syncs took, in seconds.
    syncs: Average,
    /// As a leader: how long answers to heartbeats took, in seconds.
    round_trips: Average,
}

impl AdaptiveTimers {
    /// Begins with the ceiling: nothing is known yet.
    #[must_use]
    pub fn new(ceiling: Ceiling) -> Self {
        Self {
            ceiling,
            election_timeout: ceiling.election_timeout,
            looked_at: Duration::ZERO,
            leader: None,
            last: None,
            samples: 0,
            lateness: Average::new(16),
            longest: Longest::new(LONGEST_KEPT),
            are_late: Average::new(64),
            syncs: Average::new(64),
            round_trips: Average::new(16),
        }
    }

    /// A heartbeat came from `leader`, which beats every `interval`.
    pub fn on_heartbeat(&mut self, now: Duration, leader: u64, interval: Duration) {
        let last = self.last.replace(now);
        if self
            .leader
            .replace(leader)
            .is_some_and(|before| before != leader)
        {
            let longer = self.election_timeout.mul_f64(NEW_LEADER_FACTOR);
            self.election_timeout = longer.min(self.ceiling.election_timeout);
            return;
        }
        let Some(last) = last else {
            return;
        };
        let late = now.saturating_sub(last).saturating_sub(interval);
        self.samples = self.samples.saturating_add(1);
        self.lateness.add(late.as_secs_f64());
        self.longest.add(now, late);
        self.are_late.add(if late > interval { 1.0 } else { 0.0 });
        self.look(now, interval);
    }

    /// The leader is given up, or this member leads: what comes next isn't the next heartbeat of
    /// anyone.
    pub fn on_no_leader(&mut self) {
        self.last = None;
    }

    /// A follower answered a heartbeat after so long.
    pub fn on_round_trip(&mut self, took: Duration) {
        self.round_trips.add(took.as_secs_f64());
    }

    /// A sync of the log took so long.
    pub fn on_sync(&mut self, took: Duration) {
        self.syncs.add(took.as_secs_f64());
    }

    /// How often to beat as a leader.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        let longest = self.ceiling.heartbeat_interval;
        if self.round_trips.count() < SAMPLES_MIN {
            return longest;
        }
        let round_trip = seconds(self.round_trips.mean() + 2.0 * self.round_trips.deviation());
        (round_trip * 2).clamp(HEARTBEAT_INTERVAL_MIN.min(longest), longest)
    }

    /// How long to wait for a leader.
    #[must_use]
    pub fn election_timeout(&self) -> Duration {
        self.election_timeout
    }

    /// How long an election takes: two round trips and a sync, as this leader measured them.
    #[must_use]
    pub fn step(&self) -> Duration {
        let round_trip = self.round_trips.mean() + 2.0 * self.round_trips.deviation();
        let sync = self.syncs.mean() + 2.0 * self.syncs.deviation();
        seconds(2.0 * round_trip + sync)
    }

    fn look(&mut self, now: Duration, interval: Duration) {
        let passed = now
            .saturating_sub(self.looked_at)
            .min(Duration::from_secs(1));
        self.looked_at = now;
        let needed = self.needed(interval);
        if needed >= self.election_timeout {
            self.election_timeout = needed;
        } else if self.samples >= SAMPLES_MIN {
            let kept = 1.0 - FALL_PER_SECOND * passed.as_secs_f64();
            self.election_timeout = self.election_timeout.mul_f64(kept).max(needed);
        }
    }

    /// What the measurements ask for.
    fn needed(&self, interval: Duration) -> Duration {
        let share = self.are_late.mean().clamp(f64::MIN_POSITIVE, 0.999);
        let missing = (UNLIKELY.ln() / share.ln()).ceil();
        let missing = missing.clamp(f64::from(MISSING_MIN), f64::from(MISSING_MAX));
        let usual = seconds(self.lateness.mean() + 4.0 * self.lateness.deviation());
        let late = usual.max(self.longest.get().mul_f64(LONGEST_FACTOR));
        let sync = seconds(self.syncs.mean() + 2.0 * self.syncs.deviation());
        let most = self.ceiling.election_timeout;
        (interval.mul_f64(missing) + late + sync).clamp(ELECTION_TIMEOUT_MIN.min(most), most)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
#[path = "timers/timers_test.rs"]
mod timers_test;
