//! How members are judged, on the wire and as it is.

use raftery_behaviour::{Points, Scoring};

use crate::admin;

impl From<Scoring> for admin::ClusterConfig {
    fn from(scoring: Scoring) -> Self {
        let points = scoring.points;
        Self {
            window_ms: Some(scoring.window_ms),
            slow_ratio: Some(scoring.slow_ratio),
            floor_micros: Some(scoring.floor_micros),
            half_life_ms: Some(scoring.half_life_ms),
            recovery_ms: Some(scoring.recovery_ms),
            points: Some(admin::Points {
                healthy: Some(points.healthy),
                caught_up: Some(points.caught_up),
                took_over: Some(points.took_over),
                missed: Some(points.missed),
                unreachable: Some(points.unreachable),
                slow: Some(points.slow),
                very_slow: Some(points.very_slow),
                far_behind: Some(points.far_behind),
                campaigned: Some(points.campaigned),
                restarted: Some(points.restarted),
                snapshot: Some(points.snapshot),
                repaired: Some(points.repaired),
                full: Some(points.full),
                judged: Some(points.judged),
            }),
        }
    }
}

impl admin::ClusterConfig {
    /// What it says, and what is there where it says nothing. Nothing is validated.
    #[must_use]
    pub fn scoring(&self, there: Scoring) -> Scoring {
        let (said, points) = (self.points.unwrap_or_default(), there.points);
        Scoring {
            window_ms: self.window_ms.unwrap_or(there.window_ms),
            slow_ratio: self.slow_ratio.unwrap_or(there.slow_ratio),
            floor_micros: self.floor_micros.unwrap_or(there.floor_micros),
            half_life_ms: self.half_life_ms.unwrap_or(there.half_life_ms),
            recovery_ms: self.recovery_ms.unwrap_or(there.recovery_ms),
            points: Points {
                healthy: said.healthy.unwrap_or(points.healthy),
                caught_up: said.caught_up.unwrap_or(points.caught_up),
                took_over: said.took_over.unwrap_or(points.took_over),
                missed: said.missed.unwrap_or(points.missed),
                unreachable: said.unreachable.unwrap_or(points.unreachable),
                slow: said.slow.unwrap_or(points.slow),
                very_slow: said.very_slow.unwrap_or(points.very_slow),
                far_behind: said.far_behind.unwrap_or(points.far_behind),
                campaigned: said.campaigned.unwrap_or(points.campaigned),
                restarted: said.restarted.unwrap_or(points.restarted),
                snapshot: said.snapshot.unwrap_or(points.snapshot),
                repaired: said.repaired.unwrap_or(points.repaired),
                full: said.full.unwrap_or(points.full),
                judged: said.judged.unwrap_or(points.judged),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Different from every default, and from each other.
    fn odd() -> Scoring {
        Scoring {
            window_ms: 2_001,
            slow_ratio: 7,
            floor_micros: 9_002,
            half_life_ms: 90_003,
            recovery_ms: 30_004,
            points: Points {
                healthy: 101,
                caught_up: 102,
                took_over: 103,
                missed: 104,
                unreachable: 105,
                slow: 106,
                very_slow: 107,
                far_behind: 108,
                campaigned: 109,
                restarted: 110,
                snapshot: 111,
                repaired: 112,
                full: 113,
                judged: 114,
            },
        }
    }

    #[test]
    fn a_scoring_comes_over_whole_and_what_isnt_said_stays() {
        let told = admin::ClusterConfig::from(odd());
        assert_eq!(told.scoring(Scoring::default()), odd());
        let nothing = admin::ClusterConfig::default();
        assert_eq!(nothing.scoring(odd()), odd());
        let some = admin::ClusterConfig {
            points: Some(admin::Points {
                full: Some(0),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut expected = odd();
        expected.points.full = 0;
        assert_eq!(some.scoring(odd()), expected);
    }
}
