//! What verdicts add up to. Whole numbers throughout, so that every member computes the same.

use serde::{Deserialize, Serialize};

use crate::scoring::Scoring;

/// The best and the worst fast score.
pub const FAST_MIN: i32 = 1;
/// See [`FAST_MIN`].
pub const FAST_MAX: i32 = 100;
/// From here on a member is slow now, and had better not lead.
pub const FAST_SLOW: i32 = 80;
/// Up to here a member is fit to take over from a slow leader.
pub const FAST_FIT: i32 = 20;
/// The worst slow score.
pub const SLOW_MIN: i32 = -1_000;
/// The best slow score.
pub const SLOW_MAX: i32 = 1_000;

/// Thousandths: whole points would lose what fades.
const MILLI: i32 = 1_000;

/// How a member stands.
///
/// Invariants: [`FAST_MIN`] to [`FAST_MAX`], [`SLOW_MIN`] to [`SLOW_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    fast_milli: i32,
    slow_milli: i32,
}

impl Default for Score {
    /// Of who wasn't judged yet.
    fn default() -> Self {
        Self {
            fast_milli: FAST_MIN * MILLI,
            slow_milli: 0,
        }
    }
}

impl Score {
    /// A score as it is told in whole points; what is out of bounds counts as the bound.
    #[must_use]
    pub fn from_points(fast: i64, slow: i64) -> Self {
        let milli = i64::from(MILLI);
        Self {
            fast_milli: bounded(fast.saturating_mul(milli), FAST_MIN, FAST_MAX),
            slow_milli: bounded(slow.saturating_mul(milli), SLOW_MIN, SLOW_MAX),
        }
    }

    /// Is it slow now? 1 (no) to 100. Doubles with each slow window and falls steadily otherwise
    /// (additive increase and multiplicative decrease of trust, after TiKV's slow score).
    #[must_use]
    pub fn fast(self) -> i32 {
        self.fast_milli / MILLI
    }

    /// Has it been good? -1000 to 1000; old deeds fade.
    #[must_use]
    pub fn slow(self) -> i32 {
        self.slow_milli / MILLI
    }

    /// Whether it had better not lead.
    #[must_use]
    pub fn is_slow_now(self) -> bool {
        self.fast() >= FAST_SLOW
    }

    /// Whether it is fit to take over from a slow leader.
    #[must_use]
    pub fn is_fit(self) -> bool {
        self.fast() <= FAST_FIT
    }

    /// After one more window of this length that earned `points`, and in which it was slow or not.
    #[must_use]
    pub fn after(self, points: i32, is_slow: bool, window_ms: u64, scoring: &Scoring) -> Self {
        let window = bounded_window(window_ms);
        let fast = i64::from(self.fast_milli);
        let fast = if is_slow {
            fast * 2
        } else {
            fast - window * i64::from(FAST_MAX * MILLI) / signed(scoring.recovery_ms)
        };
        let slow = i64::from(self.slow_milli);
        let slow =
            slow - slow * window / time_constant(scoring) + i64::from(points) * i64::from(MILLI);
        Self {
            fast_milli: bounded(fast, FAST_MIN, FAST_MAX),
            slow_milli: bounded(slow, SLOW_MIN, SLOW_MAX),
        }
    }
}

/// What one more window leaves of earlier points, of 1. For explaining a slow score to people; the
/// score itself is computed in whole numbers.
#[must_use]
pub fn share_kept(window_ms: u64, scoring: &Scoring) -> f64 {
    1.0 - bounded_window(window_ms) as f64 / time_constant(scoring) as f64
}

/// What a leader writes for the length of a window is bounded here, for all members alike.
fn bounded_window(window_ms: u64) -> i64 {
    i64::try_from(window_ms.clamp(1, 60_000)).unwrap_or(60_000)
}

/// Half after the half-life: the rate is ln 2 over it.
fn time_constant(scoring: &Scoring) -> i64 {
    signed(scoring.half_life_ms) * 1_443 / 1_000
}

fn bounded(milli: i64, min: i32, max: i32) -> i32 {
    let milli = milli.clamp(i64::from(min * MILLI), i64::from(max * MILLI));
    i32::try_from(milli).expect("between two small numbers")
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 1_000;

    fn after(score: Score, windows: u32, points: i32, is_slow: bool) -> Score {
        let scoring = Scoring::default();
        (0..windows).fold(score, |score, _| {
            score.after(points, is_slow, WINDOW, &scoring)
        })
    }

    #[test]
    fn seven_slow_windows_make_a_member_slow_and_a_minute_makes_it_fast_again() {
        let six = after(Score::default(), 6, 0, true);
        assert_eq!((six.fast(), six.is_slow_now()), (64, false));
        let seven = after(six, 1, 0, true);
        assert_eq!((seven.fast(), seven.is_slow_now()), (FAST_MAX, true));
        let calm = after(seven, 13, 1, false);
        assert!(!calm.is_slow_now() && !calm.is_fit(), "{calm:?}");
        assert!(after(seven, 48, 1, false).is_fit());
        assert_eq!(after(seven, 60, 1, false).fast(), FAST_MIN);
    }

    #[test]
    fn a_healthy_member_settles_below_the_best_and_an_old_deed_counts_half_after_ten_minutes() {
        let settled = after(Score::default(), 20_000, 1, false);
        assert!((865..=867).contains(&settled.slow()), "{settled:?}");
        let repaired = after(Score::default(), 1, -100, false);
        let later = after(repaired, 600, 0, false);
        assert!((-51..=-49).contains(&later.slow()), "{later:?}");
        assert_eq!(after(Score::default(), 5_000, -20, true).slow(), SLOW_MIN);
    }

    #[test]
    fn a_score_that_was_told_in_points_is_within_bounds() {
        let told = Score::from_points(97, -310);
        assert_eq!((told.fast(), told.slow()), (97, -310));
        let wild = Score::from_points(i64::MIN, i64::MAX);
        assert_eq!((wild.fast(), wild.slow()), (FAST_MIN, SLOW_MAX));
    }

    #[test]
    fn two_short_windows_fade_as_much_as_a_long_one() {
        let scoring = Scoring::default();
        let start = after(Score::default(), 100, 5, true);
        let long = start.after(0, false, 2_000, &scoring);
        let short = start
            .after(0, false, 1_000, &scoring)
            .after(0, false, 1_000, &scoring);
        assert!((long.slow() - short.slow()).abs() <= 1);
        assert!((long.fast() - short.fast()).abs() <= 1);
    }

    #[test]
    fn the_share_that_is_kept_explains_what_is_left_of_a_deed() {
        let repaired = after(Score::default(), 1, -100, false);
        let later = after(repaired, 300, 0, false);
        let explained = -100.0 * share_kept(WINDOW, &Scoring::default()).powi(300);
        assert!(
            (f64::from(later.slow()) - explained).abs() < 1.5,
            "{later:?}, {explained}"
        );
    }

    #[test]
    fn no_window_and_no_points_lead_out_of_bounds() {
        let scoring = Scoring::default();
        for points in [i32::MIN / 1_000, i32::MAX / 1_000] {
            for window in [0, u64::MAX] {
                let score = after(Score::default(), 50, points, true);
                let score = score.after(points, true, window, &scoring);
                assert!((FAST_MIN..=FAST_MAX).contains(&score.fast()), "{score:?}");
                assert!((SLOW_MIN..=SLOW_MAX).contains(&score.slow()), "{score:?}");
            }
        }
    }
}
