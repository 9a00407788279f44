//! Whether a living member fails slowly, as the operator has seen it over half an hour.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::jiff::Timestamp;
use raftery_behaviour::Score;

/// Minutes that are looked back at.
const MINUTES: u32 = 30;
/// Slow minutes among them that make a member fail slowly.
const MINUTES_SLOW: u32 = 10;
/// A slow score with which it fails slowly at once.
const SLOW_FAILS: i32 = -500;
/// Above this slow score, and fit by the fast one, it has recovered. The distance to what begins
/// it keeps a member that is neither from being told of again and again.
const SLOW_RECOVERED: i32 = -250;

/// What is noted of a member's slowness.
///
/// Invariant: without slow minutes `until` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slowness {
    /// In which minutes it was seen slow.
    pub(crate) minutes: SlowMinutes,
    /// The newest of them, in minutes since 1970.
    until: i64,
    /// Since when it counts as failing slowly.
    pub(crate) since: Option<Timestamp>,
}

/// One bit for each minute, the lowest for the newest.
///
/// As text: `#` for a minute in which the member was seen slow, `.` for another, the newest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlowMinutes(u32);

impl SlowMinutes {
    pub(crate) fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn after(self, minutes: i64) -> Self {
        let minutes = u32::try_from(minutes).unwrap_or(0).min(MINUTES);
        Self((self.0 << minutes) & ((1 << MINUTES) - 1))
    }
}

impl fmt::Display for SlowMinutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..MINUTES).rev().try_for_each(|minute| {
            let is_slow = self.0 >> minute & 1 == 1;
            f.write_str(if is_slow { "#" } else { "." })
        })
    }
}

impl FromStr for SlowMinutes {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() > MINUTES as usize {
            return Err(());
        }
        text.bytes()
            .try_fold(0, |bits, byte| match byte {
                b'#' => Ok(bits << 1 | 1),
                b'.' => Ok(bits << 1),
                _ => Err(()),
            })
            .map(Self)
    }
}

impl Slowness {
    /// As it was noted.
    pub(crate) fn noted(
        minutes: SlowMinutes,
        until: Option<i64>,
        since: Option<Timestamp>,
    ) -> Self {
        Self {
            minutes,
            until: until.filter(|_| !minutes.is_empty()).unwrap_or(0),
            since,
        }
    }

    /// The newest minute of those that are noted.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        let second = self.until.checked_mul(60)?;
        Timestamp::from_second(second)
            .ok()
            .filter(|_| !self.minutes.is_empty())
    }

    /// After it was seen with this score.
    pub(crate) fn seen(self, score: Score, now: Timestamp) -> Self {
        let minute = now.as_second().div_euclid(60);
        // A clock that went back makes no minute older.
        let mut minutes = self.minutes.after(minute.saturating_sub(self.until));
        minutes.0 |= u32::from(score.is_slow_now());
        let fails = minutes.count() >= MINUTES_SLOW || score.slow() <= SLOW_FAILS;
        let since = if has_recovered(score) {
            None
        } else if fails {
            self.since.or(Some(now))
        } else {
            self.since
        };
        if since.is_none() && self.since.is_some() {
            return Self::default();
        }
        Self {
            minutes,
            until: if minutes.is_empty() { 0 } else { minute },
            since,
        }
    }
}

/// Whether a member with this score doesn't fail slowly any more.
pub(crate) fn has_recovered(score: Score) -> bool {
    score.is_fit() && score.slow() > SLOW_RECOVERED
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    /// One look a minute with these fast scores.
    fn after(fast: impl IntoIterator<Item = i64>) -> Slowness {
        let looks = fast.into_iter().zip(0u64..);
        looks.fold(Slowness::default(), |slowness, (fast, minute)| {
            let now = start() + Duration::from_secs(60 * minute);
            slowness.seen(Score::from_points(fast, 0), now)
        })
    }

    #[test]
    fn ten_slow_minutes_of_thirty_are_a_failure_and_nine_are_none() {
        assert_eq!(after([90; 9]).since, None);
        let since = start() + Duration::from_secs(9 * 60);
        assert_eq!(after([90; 10]).since, Some(since));
        // Spread out, within half an hour and over more.
        let every_third = (0..28).map(|minute| if minute % 3 == 0 { 90 } else { 50 });
        assert!(after(every_third).since.is_some());
        let every_fourth = (0..300).map(|minute| if minute % 4 == 0 { 90 } else { 50 });
        assert_eq!(after(every_fourth).since, None);
    }

    #[test]
    fn many_looks_in_one_minute_are_one_slow_minute() {
        let slow = Score::from_points(100, 0);
        let slowness = (0..59).fold(Slowness::default(), |slowness, second| {
            slowness.seen(slow, start() + Duration::from_secs(second))
        });
        assert_eq!((slowness.minutes.count(), slowness.since), (1, None));
    }

    #[test]
    fn a_bad_slow_score_is_a_failure_at_once() {
        for (slow, fails) in [(-499, false), (-500, true)] {
            let slowness = Slowness::default().seen(Score::from_points(1, slow), start());
            assert_eq!(slowness.since.is_some(), fails, "{slow}");
        }
    }

    #[test]
    fn a_failure_ends_when_both_scores_are_good_again_and_is_forgotten_then() {
        let failing = after([90; 10]);
        for (fast, slow, recovers) in [
            (79, 0, false),
            (21, 0, false),
            (20, -250, false),
            (20, -249, true),
        ] {
            let now = start() + Duration::from_secs(600);
            let later = failing.seen(Score::from_points(fast, slow), now);
            assert_eq!(later.since.is_none(), recovers, "{fast}, {slow}");
            if recovers {
                assert_eq!(
                    later,
                    Slowness::default(),
                    "or it would begin again at once"
                );
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_or_far_ahead_breaks_nothing() {
        let failing = after([90; 5]);
        let slow = Score::from_points(90, 0);
        let earlier = failing.seen(slow, Timestamp::UNIX_EPOCH);
        assert_eq!(earlier.minutes.count(), 5);
        let later = failing.seen(slow, start() + Duration::from_secs(1_000_000_000));
        assert_eq!(later.minutes.count(), 1);
    }

    #[test]
    fn minutes_survive_the_way_through_text() {
        let minutes = after([1, 90, 90, 1, 90]).minutes;
        let text = minutes.to_string();
        assert_eq!(text, "..........................##.#");
        assert_eq!(text.parse(), Ok(minutes));
        assert_eq!("x".parse::<SlowMinutes>(), Err(()));
        assert_eq!("#".repeat(31).parse::<SlowMinutes>(), Err(()));
        assert_eq!("".parse(), Ok(SlowMinutes::default()));
    }
}
