//! What verdicts are worth: the part of judging that a cluster may choose. Replicated, and changed by
//! log entries only, so that all members compute the same.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The rules by which verdicts become scores. A batch of the ledger names those that it is scored by:
/// its leader takes the latest that all members know, and all score it by these. A member that
/// doesn't know them must not guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rules(pub u16);

impl Rules {
    /// What clusters begin with.
    pub const FIRST: Self = Self(1);
    /// Heartbeats that all followers missed no longer make each of them slow.
    pub const SHARED_MISSES: Self = Self(2);
    /// The latest.
    pub const HIGHEST: Self = Self::SHARED_MISSES;

    /// Whether this build can score by them.
    #[must_use]
    pub fn are_known(self) -> bool {
        (Self::FIRST..=Self::HIGHEST).contains(&self)
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How members are judged.
///
/// Invariants: what [`Scoring::validate`] checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scoring {
    /// The unit of judging, in milliseconds: 100 to 60,000.
    pub window_ms: u64,
    /// Who takes so many times as long as the median member is slow: 2 to 100.
    pub slow_ratio: u32,
    /// Who takes no longer than this is never slow, in microseconds: 1,000 to 10,000,000.
    pub floor_micros: u64,
    /// After so long old deeds count half, in milliseconds: 10,000 to 2,592,000,000 (30 days).
    pub half_life_ms: u64,
    /// In so long the fast score falls from its worst to its best, in milliseconds: 1,000 to
    /// 3,600,000.
    pub recovery_ms: u64,
    /// What is worth what.
    pub points: Points,
}

/// Points, as their amounts: 0 to 1,000 each. Penalties are subtracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Points {
    /// Reward for a window in which nothing was wrong.
    pub healthy: i32,
    /// Reward for having caught up.
    pub caught_up: i32,
    /// Reward for having taken over leadership when asked to.
    pub took_over: i32,
    /// Penalty for a window in which every heartbeat was missed; fewer cost their share, rounded up.
    pub missed: i32,
    /// Penalty for a member that can't be reached.
    pub unreachable: i32,
    /// Penalty for four times the median.
    pub slow: i32,
    /// Penalty for eight times the median.
    pub very_slow: i32,
    /// Penalty for lagging by two election timeouts.
    pub far_behind: i32,
    /// Penalty for asking for votes though there is a leader.
    pub campaigned: i32,
    /// Penalty for a restart.
    pub restarted: i32,
    /// Penalty for needing a snapshot.
    pub snapshot: i32,
    /// Penalty for a log that had to be repaired.
    pub repaired: i32,
    /// Penalty for a disk that got full.
    pub full: i32,
    /// Penalty for a former leader that its followers found slow in every window that they remember;
    /// fewer cost their share, rounded up.
    pub judged: i32,
}

/// The most that anything is worth.
const POINTS_MAX: i32 = 1_000;

impl Default for Scoring {
    fn default() -> Self {
        Self {
            window_ms: 1_000,
            slow_ratio: 3,
            floor_micros: 5_000,
            half_life_ms: 600_000,
            recovery_ms: 60_000,
            points: Points {
                healthy: 1,
                caught_up: 5,
                took_over: 5,
                missed: 20,
                unreachable: 20,
                slow: 3,
                very_slow: 8,
                far_behind: 4,
                campaigned: 20,
                restarted: 10,
                snapshot: 15,
                repaired: 100,
                full: 50,
                judged: 20,
            },
        }
    }
}

/// What is wrong with a scoring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value}; it must be between {min} and {max}")]
pub struct ScoringError {
    name: &'static str,
    value: i128,
    min: i128,
    max: i128,
}

impl Scoring {
    /// Refuses what would make judging senseless.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn validate(&self) -> Result<(), ScoringError> {
        let points = &self.points;
        for (name, value, min, max) in [
            ("window_ms", i128::from(self.window_ms), 100, 60_000),
            ("slow_ratio", self.slow_ratio.into(), 2, 100),
            ("floor_micros", self.floor_micros.into(), 1_000, 10_000_000),
            (
                "half_life_ms",
                self.half_life_ms.into(),
                10_000,
                2_592_000_000,
            ),
            ("recovery_ms", self.recovery_ms.into(), 1_000, 3_600_000),
        ] {
            in_range(name, value, min, max)?;
        }
        for (name, value) in [
            ("points.healthy", points.healthy),
            ("points.caught_up", points.caught_up),
            ("points.took_over", points.took_over),
            ("points.missed", points.missed),
            ("points.unreachable", points.unreachable),
            ("points.slow", points.slow),
            ("points.very_slow", points.very_slow),
            ("points.far_behind", points.far_behind),
            ("points.campaigned", points.campaigned),
            ("points.restarted", points.restarted),
            ("points.snapshot", points.snapshot),
            ("points.repaired", points.repaired),
            ("points.full", points.full),
            ("points.judged", points.judged),
        ] {
            in_range(name, value.into(), 0, POINTS_MAX.into())?;
        }
        Ok(())
    }
}

fn in_range(name: &'static str, value: i128, min: i128, max: i128) -> Result<(), ScoringError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ScoringError {
        name,
        value,
        min,
        max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_beyond_the_highest_arent_known() {
        let known = [0, 1, 2, 3].map(|number| Rules(number).are_known());
        assert_eq!(known, [false, true, true, false]);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        assert_eq!(Scoring::default().validate(), Ok(()));
        let mut scoring = Scoring {
            window_ms: 99,
            ..Scoring::default()
        };
        let told = scoring.validate().unwrap_err().to_string();
        assert_eq!(told, "window_ms is 99; it must be between 100 and 60000");
        scoring.window_ms = 100;
        scoring.points.full = -1;
        let told = scoring.validate().unwrap_err().to_string();
        assert_eq!(told, "points.full is -1; it must be between 0 and 1000");
    }
}
