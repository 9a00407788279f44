//! Verdicts: points with their reason, and the score they add up to.

use serde::{Deserialize, Serialize};

use crate::observation::MemberId;

/// The lowest score.
pub const SCORE_MIN: i32 = -1000;
/// The highest score.
pub const SCORE_MAX: i32 = 1000;

/// What a member earned in one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Who was judged.
    pub member: MemberId,
    /// Above 0 a reward, below 0 a penalty, 0 when nothing could be judged.
    pub points: i32,
    /// Why: the gravest of what was found.
    pub reason: Reason,
}

/// Why a verdict fell as it did, with the figures that decided it. New reasons are added at the
/// end: verdicts live in the Raft log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Every heartbeat that was due was acknowledged in time.
    AcknowledgedInTime {
        /// How many were acknowledged.
        acknowledged: u32,
    },
    /// Some heartbeats were given up.
    HeartbeatsMissed {
        /// How many were given up.
        missed: u32,
        /// How many were acknowledged.
        acknowledged: u32,
    },
    /// Acknowledgements came, but slowly.
    AcknowledgedLate {
        /// Their 95th percentile, in microseconds.
        p95_micros: u64,
        /// What would have been in time, in microseconds.
        limit_micros: u64,
    },
    /// The log is far behind the leader's.
    FarBehind {
        /// Entries lacking.
        lag_entries: u64,
        /// What would have been near enough.
        limit_entries: u64,
    },
    /// Nothing was heard for an election timeout or longer.
    Unreachable {
        /// Time since the last message, in milliseconds; `None`: this leader never heard it.
        last_heard_ms: Option<u64>,
    },
    /// No heartbeat was due, so there is nothing to judge.
    NotMeasured,
}

impl Reason {
    /// The reason's name as documents, metrics and logs have it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AcknowledgedInTime { .. } => "acknowledged_in_time",
            Self::HeartbeatsMissed { .. } => "heartbeats_missed",
            Self::AcknowledgedLate { .. } => "acknowledged_late",
            Self::FarBehind { .. } => "far_behind",
            Self::Unreachable { .. } => "unreachable",
            Self::NotMeasured => "not_measured",
        }
    }
}

/// What a verdict is, by the sign of its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Points above 0.
    Reward,
    /// Points below 0.
    Penalty,
    /// No points.
    Neutral,
}

impl Kind {
    /// The kind's name as documents and metrics have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reward => "reward",
            Self::Penalty => "penalty",
            Self::Neutral => "neutral",
        }
    }
}

impl Verdict {
    /// What the verdict is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.points {
            1.. => Kind::Reward,
            0 => Kind::Neutral,
            ..0 => Kind::Penalty,
        }
    }
}

/// Adds points to a score. Provisional: the slow score without its half-life and in whole points;
/// old deeds don't fade yet.
#[must_use]
pub fn add_to_score(score: i32, points: i32) -> i32 {
    score.saturating_add(points).clamp(SCORE_MIN, SCORE_MAX)
}
