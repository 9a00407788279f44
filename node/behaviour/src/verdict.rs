//! Verdicts: points with their reason.

use serde::{Deserialize, Serialize};

use crate::observation::MemberId;
use crate::scoring::Rules;

/// What a member earned in one window, for one reason. It may get several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Who was judged.
    pub member: MemberId,
    /// Above 0 a reward, below 0 a penalty, 0 when it is only noted.
    pub points: i32,
    /// Why.
    pub reason: Reason,
}

/// Why a verdict fell as it did, with the figures that decided it. New reasons are added at the
/// end: verdicts live in the Raft log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Every heartbeat that was due was acknowledged, and nothing else was wrong.
    AcknowledgedInTime {
        /// How many were acknowledged.
        acknowledged: u32,
    },
    /// It led, and nothing was wrong.
    Led,
    /// Some heartbeats were given up.
    HeartbeatsMissed {
        /// How many were given up.
        missed: u32,
        /// How many were acknowledged.
        acknowledged: u32,
    },
    /// Nothing was heard for an election timeout or longer.
    Unreachable {
        /// Time since the last message, in milliseconds; `None`: this leader never heard it.
        last_heard_ms: Option<u64>,
    },
    /// No heartbeat was due, so there is nothing to judge.
    NotMeasured,
    /// Its disk is much slower than the others'.
    SlowDisk {
        /// The 95th percentile of its syncs, or its oldest write if that is older, in microseconds.
        sync_micros: u64,
        /// The median of all members', in microseconds.
        median_micros: u64,
    },
    /// It acknowledges entries much later than the others.
    SlowAcknowledgements {
        /// The 95th percentile, in microseconds.
        append_micros: u64,
        /// The median of all followers', in microseconds.
        median_micros: u64,
    },
    /// Most of its links are much slower than the others.
    SlowLinks {
        /// How many are.
        slow: u32,
        /// Of so many.
        links: u32,
        /// What a fast link of the cluster takes (the lower quartile), in microseconds.
        fast_micros: u64,
    },
    /// Entries sent to it wait for long.
    FarBehind {
        /// For how long the oldest has waited, in milliseconds.
        lag_ms: u64,
        /// What would have been near enough, in milliseconds.
        limit_ms: u64,
    },
    /// It was far behind, and isn't any more.
    CaughtUp,
    /// It took over leadership when asked to.
    TookOver,
    /// It asked for votes though there was a leader.
    Campaigned {
        /// How often.
        times: u32,
    },
    /// Its process started again.
    Restarted {
        /// How often.
        times: u32,
    },
    /// It needed a snapshot.
    SnapshotNeeded {
        /// How often.
        times: u32,
    },
    /// Its disk had lost a part of its log, which it repaired.
    Repaired {
        /// How often.
        times: u32,
    },
    /// Its disk got full.
    DiskFull {
        /// How often.
        times: u32,
    },
    /// A former leader, as its followers saw it.
    JudgedByFollowers {
        /// Windows that they remember of it.
        windows: u32,
        /// Those in which they found it slow.
        slow: u32,
        /// The term that it led in.
        term: u64,
    },
}

impl Reason {
    /// The reason's name as documents, metrics and logs have it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AcknowledgedInTime { .. } => "acknowledged_in_time",
            Self::Led => "led",
            Self::HeartbeatsMissed { .. } => "heartbeats_missed",
            Self::Unreachable { .. } => "unreachable",
            Self::NotMeasured => "not_measured",
            Self::SlowDisk { .. } => "slow_disk",
            Self::SlowAcknowledgements { .. } => "slow_acknowledgements",
            Self::SlowLinks { .. } => "slow_links",
            Self::FarBehind { .. } => "far_behind",
            Self::CaughtUp => "caught_up",
            Self::TookOver => "took_over",
            Self::Campaigned { .. } => "campaigned",
            Self::Restarted { .. } => "restarted",
            Self::SnapshotNeeded { .. } => "snapshot_needed",
            Self::Repaired { .. } => "repaired",
            Self::DiskFull { .. } => "disk_full",
            Self::JudgedByFollowers { .. } => "judged_by_followers",
        }
    }

    /// Whether it says that the member is slow now.
    #[must_use]
    pub fn is_slowness(&self) -> bool {
        match self {
            Self::HeartbeatsMissed { .. }
            | Self::Unreachable { .. }
            | Self::SlowDisk { .. }
            | Self::SlowAcknowledgements { .. }
            | Self::SlowLinks { .. }
            | Self::FarBehind { .. } => true,
            Self::AcknowledgedInTime { .. }
            | Self::Led
            | Self::NotMeasured
            | Self::CaughtUp
            | Self::TookOver
            | Self::Campaigned { .. }
            | Self::Restarted { .. }
            | Self::SnapshotNeeded { .. }
            | Self::Repaired { .. }
            | Self::DiskFull { .. }
            | Self::JudgedByFollowers { .. } => false,
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
    /// Whether it makes the fast score of its member worse. Missed heartbeats that cost no points
    /// don't: all followers missed some, so that it is the leader's end that loses them, or the
    /// cluster chose that they are worth nothing ([`crate::Points::missed`]).
    #[must_use]
    pub fn is_slow_by(&self, rules: Rules) -> bool {
        let is_shared = self.points == 0 && matches!(self.reason, Reason::HeartbeatsMissed { .. });
        self.reason.is_slowness() && !(is_shared && rules >= Rules::SHARED_MISSES)
    }

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
