//! The rules: from a measurement to points. Provisional and absolute; comparing members with
//! each other, so that a shared slow disk blames no one, comes with the full scores.

use std::time::Duration;

use crate::observation::Observation;
use crate::verdict::{Reason, Verdict};

/// For a window in which everything was acknowledged in time.
const REWARD_IN_TIME: i32 = 1;
/// For a window in which every heartbeat was missed; fewer cost their share, rounded up.
const PENALTY_MISSED_MAX: i32 = 20;
/// For slow acknowledgements.
const PENALTY_LATE: i32 = 3;
/// For a log far behind.
const PENALTY_FAR_BEHIND: i32 = 4;
/// For a member that can't be reached.
const PENALTY_UNREACHABLE: i32 = 20;

/// How many entries a follower may lack by default: at full load some hundred are in flight.
const LAG_ENTRIES_MAX_DEFAULT: u64 = 5_000;

/// What counts as in time and near enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How often heartbeats are sent. An acknowledgement that takes longer is late.
    pub heartbeat_interval: Duration,
    /// Who wasn't heard for so long is unreachable; a heartbeat unanswered for half of it is
    /// missed.
    pub election_timeout: Duration,
    /// Lacking more entries than this is far behind.
    pub lag_entries_max: u64,
}

impl Limits {
    /// The limits that follow from the configured timers.
    #[must_use]
    pub fn new(heartbeat_interval: Duration, election_timeout: Duration) -> Self {
        Self {
            heartbeat_interval,
            election_timeout,
            lag_entries_max: LAG_ENTRIES_MAX_DEFAULT,
        }
    }

    /// When an unanswered heartbeat is given up. Half an election timeout: two in a row would
    /// have been enough for the follower to start an election.
    #[must_use]
    pub fn ack_deadline(&self) -> Duration {
        self.election_timeout / 2
    }
}

/// Judges one window of one member by the gravest thing found.
#[must_use]
pub fn judge(observation: &Observation, limits: &Limits) -> Verdict {
    let (points, reason) = weigh(observation, limits);
    Verdict {
        member: observation.member,
        points,
        reason,
    }
}

fn weigh(seen: &Observation, limits: &Limits) -> (i32, Reason) {
    let due = seen.heartbeats_acknowledged + seen.heartbeats_missed;
    if due == 0 {
        return (0, Reason::NotMeasured);
    }
    let silence = seen.last_heard_ms.map(Duration::from_millis);
    if seen.heartbeats_acknowledged == 0 && silence.is_none_or(|ago| ago >= limits.election_timeout)
    {
        let reason = Reason::Unreachable {
            last_heard_ms: seen.last_heard_ms,
        };
        return (-PENALTY_UNREACHABLE, reason);
    }
    if seen.heartbeats_missed > 0 {
        let reason = Reason::HeartbeatsMissed {
            missed: seen.heartbeats_missed,
            acknowledged: seen.heartbeats_acknowledged,
        };
        return (
            -share_rounded_up(PENALTY_MISSED_MAX, seen.heartbeats_missed, due),
            reason,
        );
    }
    if seen.lag_entries > limits.lag_entries_max {
        let reason = Reason::FarBehind {
            lag_entries: seen.lag_entries,
            limit_entries: limits.lag_entries_max,
        };
        return (-PENALTY_FAR_BEHIND, reason);
    }
    let limit_micros = micros(limits.heartbeat_interval);
    match seen.ack_times {
        Some(times) if times.p95_micros > limit_micros => {
            let reason = Reason::AcknowledgedLate {
                p95_micros: times.p95_micros,
                limit_micros,
            };
            (-PENALTY_LATE, reason)
        }
        Some(_) | None => {
            let acknowledged = seen.heartbeats_acknowledged;
            (REWARD_IN_TIME, Reason::AcknowledgedInTime { acknowledged })
        }
    }
}

fn share_rounded_up(whole: i32, part: u32, of: u32) -> i32 {
    let share = (i64::from(whole) * i64::from(part)).div_euclid(i64::from(of));
    let has_rest = (i64::from(whole) * i64::from(part)) % i64::from(of) != 0;
    i32::try_from(share + i64::from(has_rest)).unwrap_or(whole)
}

/// A duration in whole microseconds, capped at what fits.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{AckTimes, MemberId};

    fn limits() -> Limits {
        Limits::new(Duration::from_millis(100), Duration::from_secs(1))
    }

    fn healthy() -> Observation {
        Observation {
            member: MemberId(7),
            heartbeats_sent: 10,
            heartbeats_acknowledged: 10,
            heartbeats_missed: 0,
            ack_times: Some(AckTimes {
                p50_micros: 300,
                p95_micros: 900,
                max_micros: 900,
            }),
            lag_entries: 3,
            last_heard_ms: Some(40),
        }
    }

    #[test]
    fn who_acknowledges_in_time_is_rewarded() {
        let verdict = judge(&healthy(), &limits());
        assert_eq!(verdict.member, MemberId(7));
        assert_eq!(
            (verdict.points, verdict.reason.name()),
            (1, "acknowledged_in_time")
        );
        assert_eq!(verdict.kind().name(), "reward");
    }

    #[test]
    fn missed_heartbeats_cost_their_share_rounded_up() {
        for (missed, acknowledged, points) in [(1, 9, -2), (1, 99, -1), (5, 5, -10), (9, 1, -18)] {
            let seen = Observation {
                heartbeats_missed: missed,
                heartbeats_acknowledged: acknowledged,
                ..healthy()
            };
            let verdict = judge(&seen, &limits());
            assert_eq!(verdict.points, points);
            assert_eq!(
                verdict.reason,
                Reason::HeartbeatsMissed {
                    missed,
                    acknowledged
                }
            );
        }
    }

    #[test]
    fn who_answers_nothing_but_was_heard_lately_missed_heartbeats_and_isnt_unreachable_yet() {
        let seen = Observation {
            heartbeats_missed: 5,
            heartbeats_acknowledged: 0,
            ..healthy()
        };
        assert_eq!(judge(&seen, &limits()).reason.name(), "heartbeats_missed");
        assert_eq!(judge(&seen, &limits()).points, -20);
    }

    #[test]
    fn who_wasnt_heard_for_an_election_timeout_is_unreachable() {
        for last_heard_ms in [Some(1000), Some(60_000), None] {
            let seen = Observation {
                heartbeats_missed: 10,
                heartbeats_acknowledged: 0,
                ack_times: None,
                last_heard_ms,
                ..healthy()
            };
            let verdict = judge(&seen, &limits());
            assert_eq!(verdict.reason, Reason::Unreachable { last_heard_ms });
            assert_eq!(verdict.kind(), crate::Kind::Penalty);
        }
    }

    #[test]
    fn who_lacks_many_entries_is_far_behind() {
        let seen = Observation {
            lag_entries: 5_001,
            ..healthy()
        };
        let verdict = judge(&seen, &limits());
        assert_eq!((verdict.points, verdict.reason.name()), (-4, "far_behind"));
        let seen = Observation {
            lag_entries: 5_000,
            ..healthy()
        };
        assert_eq!(judge(&seen, &limits()).points, 1);
    }

    #[test]
    fn who_takes_longer_than_a_heartbeat_interval_is_late() {
        let times = AckTimes {
            p50_micros: 9_000,
            p95_micros: 100_001,
            max_micros: 200_000,
        };
        let seen = Observation {
            ack_times: Some(times),
            ..healthy()
        };
        let verdict = judge(&seen, &limits());
        let reason = Reason::AcknowledgedLate {
            p95_micros: 100_001,
            limit_micros: 100_000,
        };
        assert_eq!((verdict.points, verdict.reason), (-3, reason));
    }

    #[test]
    fn without_a_heartbeat_due_there_is_no_verdict_either_way() {
        let seen = Observation {
            heartbeats_sent: 1,
            heartbeats_acknowledged: 0,
            last_heard_ms: None,
            ..healthy()
        };
        let verdict = judge(&seen, &limits());
        assert_eq!((verdict.points, verdict.reason), (0, Reason::NotMeasured));
    }
}
