//! What scores mean for leadership. They never gate a vote: they put campaigns off by small steps,
//! and choose whom a slow leader hands over to.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::observation::MemberId;
use crate::score::Score;

/// Windows in a row in which a leader must be slow before it hands over.
const SLOW_WINDOWS: u32 = 3;
/// At least so long passes between two times that a leader hands over because it is slow.
const COOLDOWN_MIN: Duration = Duration::from_secs(60);
/// How often that doubles at most.
const DOUBLINGS_MAX: u32 = 5;

/// Members from the best to the worst: who isn't slow now, then who has been good, then by ID.
#[must_use]
pub fn ranked(scores: &BTreeMap<MemberId, Score>) -> Vec<MemberId> {
    let mut members: Vec<_> = scores.iter().collect();
    // A hundred points are a step: small differences change nobody's place.
    members.sort_by_key(|(id, score)| (score.is_slow_now(), Reverse(score.slow() / 100), **id));
    members.into_iter().map(|(id, _)| *id).collect()
}

/// How much later than by chance alone each member had better campaign: a step for each place
/// behind the best.
#[must_use]
pub fn delays(scores: &BTreeMap<MemberId, Score>, step: Duration) -> BTreeMap<MemberId, Duration> {
    let ranked = ranked(scores).into_iter().zip(0..);
    ranked
        .map(|(id, place): (_, u32)| (id, step * place))
        .collect()
}

/// Whether a leader that is slow hands over, and to whom.
///
/// Invariant: `doublings <= DOUBLINGS_MAX`.
#[derive(Debug, Clone, Default)]
pub struct HandOver {
    slow_windows: u32,
    last: Option<Duration>,
    doublings: u32,
}

impl HandOver {
    /// Looks at the scores after a window, as leader `me`. `voters` are those of the members with
    /// their scores, `has_caught_up` says who of them could take over at once. The best of them is
    /// chosen if only `me` is slow: with several slow members it would be no better elsewhere.
    pub fn decide(
        &mut self,
        now: Duration,
        me: MemberId,
        voters: &BTreeMap<MemberId, Score>,
        has_caught_up: impl Fn(MemberId) -> bool,
    ) -> Option<MemberId> {
        let slow: Vec<_> = voters
            .iter()
            .filter(|(_, score)| score.is_slow_now())
            .collect();
        let is_alone_slow = slow.len() == 1 && *slow[0].0 == me;
        self.slow_windows = if is_alone_slow {
            self.slow_windows + 1
        } else {
            0
        };
        let cooldown = COOLDOWN_MIN * (1 << self.doublings);
        let has_cooled = self
            .last
            .is_none_or(|last| now.saturating_sub(last) >= cooldown);
        if self.slow_windows < SLOW_WINDOWS || !has_cooled {
            return None;
        }
        let is_fit = |id: &MemberId| *id != me && voters[id].is_fit() && has_caught_up(*id);
        let to = ranked(voters).into_iter().find(is_fit)?;
        // Again within ten cooldowns: perhaps the measuring is wrong.
        let is_again = self
            .last
            .is_some_and(|last| now.saturating_sub(last) < cooldown * 10);
        self.doublings = if is_again {
            DOUBLINGS_MAX.min(self.doublings + 1)
        } else {
            0
        };
        self.last = Some(now);
        self.slow_windows = 0;
        Some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::Scoring;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);
    const C: MemberId = MemberId(3);

    fn score(slow_windows: u32, points: i32) -> Score {
        let scoring = Scoring::default();
        let score = Score::default().after(points, false, 1_000, &scoring);
        (0..slow_windows).fold(score, |score, _| score.after(0, true, 1, &scoring))
    }

    fn scores(of: [(MemberId, Score); 3]) -> BTreeMap<MemberId, Score> {
        BTreeMap::from(of)
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_is_slow_now_comes_last_and_small_differences_change_nothing() {
        let all = scores([(A, score(7, 900)), (B, score(0, 310)), (C, score(0, 390))]);
        assert_eq!(ranked(&all), [B, C, A]);
        let all = scores([(A, score(0, 210)), (B, score(0, 310)), (C, score(0, 410))]);
        assert_eq!(ranked(&all), [C, B, A]);
        let step = Duration::from_millis(7);
        let expected = [(C, Duration::ZERO), (B, step), (A, step * 2)];
        assert_eq!(delays(&all, step), BTreeMap::from(expected));
    }

    #[test]
    fn a_leader_that_alone_is_slow_for_three_windows_hands_over_to_the_best_that_is_fit() {
        let all = scores([(A, score(7, 0)), (B, score(0, 100)), (C, score(0, 900))]);
        let mut hand_over = HandOver::default();
        assert_eq!(hand_over.decide(secs(1), A, &all, |_| true), None);
        assert_eq!(hand_over.decide(secs(2), A, &all, |_| true), None);
        assert_eq!(hand_over.decide(secs(3), A, &all, |id| id != C), Some(B));
        let mut hand_over = HandOver::default();
        for at in 1..9 {
            assert_eq!(hand_over.decide(secs(at), A, &all, |_| false), None);
        }
        assert_eq!(hand_over.decide(secs(9), A, &all, |_| true), Some(C));
    }

    #[test]
    fn nobody_hands_over_where_it_would_be_no_better() {
        let both_slow = scores([(A, score(7, 0)), (B, score(7, 0)), (C, score(0, 0))]);
        let other_slow = scores([(A, score(0, 0)), (B, score(7, 0)), (C, score(0, 0))]);
        let none_fit = scores([(A, score(7, 0)), (B, score(5, 0)), (C, score(6, 0))]);
        for all in [both_slow, other_slow, none_fit] {
            let mut hand_over = HandOver::default();
            for at in 0..100 {
                assert_eq!(hand_over.decide(secs(at), A, &all, |_| true), None);
            }
        }
    }

    #[test]
    fn the_pause_between_two_hand_overs_doubles_when_they_are_near() {
        let all = scores([(A, score(7, 0)), (B, score(0, 0)), (C, score(0, 0))]);
        let mut hand_over = HandOver::default();
        let mut times = Vec::new();
        for at in 0..2_000 {
            times.extend(hand_over.decide(secs(at), A, &all, |_| true).map(|_| at));
        }
        assert_eq!(times[..4], [2, 62, 182, 422]);
    }
}
