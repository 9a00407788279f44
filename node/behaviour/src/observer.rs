//! The observer: collects, on the leader, what each follower does in a window.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::judge::{Limits, micros};
use crate::observation::{AckTimes, Interval, MemberId, Observation};

/// Unanswered heartbeats remembered for each follower; the oldest beyond it counts as missed.
const UNANSWERED_MAX: usize = 256;
/// Acknowledgement times kept for each follower and window; more are counted but not measured.
const SAMPLES_MAX: usize = 1024;

/// Collects what followers do. A leader makes one when it is elected and drops it with its
/// leadership. `now` is time since boot and never goes back.
///
/// Invariants:
/// - every follower has at most [`UNANSWERED_MAX`] unanswered heartbeats, in order of number
/// - every follower has at most [`SAMPLES_MAX`] samples
#[derive(Debug, Clone)]
pub struct Observer {
    limits: Limits,
    followers: BTreeMap<MemberId, Follower>,
    /// When this observer was last told anything.
    last_input: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
struct Follower {
    unanswered: VecDeque<Heartbeat>,
    sent: u32,
    acknowledged: u32,
    missed: u32,
    ack_micros: Vec<u64>,
    lag_entries: u64,
    last_heard: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Heartbeat {
    number: u64,
    sent_at: Duration,
}

impl Observer {
    /// An observer that knows no follower yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            followers: BTreeMap::new(),
            last_input: None,
        }
    }

    /// The limits that it measures by.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Makes `members` the followers that are observed: new ones begin blank, others are
    /// forgotten.
    pub fn set_followers(&mut self, members: impl IntoIterator<Item = MemberId>) {
        let mut known = std::mem::take(&mut self.followers);
        for member in members {
            self.followers
                .insert(member, known.remove(&member).unwrap_or_default());
        }
    }

    /// A heartbeat was sent. Numbers rise with each heartbeat to the same member.
    pub fn on_sent(&mut self, now: Duration, member: MemberId, number: u64) {
        self.wake(now);
        let Some(follower) = self.followers.get_mut(&member) else {
            return;
        };
        follower.sent += 1;
        if follower.unanswered.len() == UNANSWERED_MAX {
            follower.unanswered.pop_front();
            follower.missed += 1;
        }
        follower.unanswered.push_back(Heartbeat {
            number,
            sent_at: now,
        });
    }

    /// A follower answered the heartbeat with this number. One that was given up before, or never
    /// sent, only shows that the follower lives.
    pub fn on_acknowledged(&mut self, now: Duration, member: MemberId, number: u64) {
        self.on_heard(now, member);
        let Some(follower) = self.followers.get_mut(&member) else {
            return;
        };
        let found = follower
            .unanswered
            .binary_search_by_key(&number, |sent| sent.number);
        let Some(heartbeat) = found.ok().and_then(|at| follower.unanswered.remove(at)) else {
            return;
        };
        follower.acknowledged += 1;
        if follower.ack_micros.len() < SAMPLES_MAX {
            follower
                .ack_micros
                .push(micros(now.saturating_sub(heartbeat.sent_at)));
        }
    }

    /// Any message came from a follower.
    pub fn on_heard(&mut self, now: Duration, member: MemberId) {
        self.wake(now);
        if let Some(follower) = self.followers.get_mut(&member) {
            follower.last_heard = Some(now);
        }
    }

    /// How many entries of the leader's log a follower lacks.
    pub fn on_progress(&mut self, member: MemberId, lag_entries: u64) {
        if let Some(follower) = self.followers.get_mut(&member) {
            follower.lag_entries = lag_entries;
        }
    }

    /// Ends the window: one observation for each follower, in order of their IDs.
    pub fn finish_window(&mut self, now: Duration) -> Vec<Observation> {
        self.wake(now);
        let deadline = self.limits.ack_deadline();
        self.followers
            .iter_mut()
            .map(|(member, follower)| follower.finish_window(*member, now, deadline))
            .collect()
    }

    /// What the ledger keeps of an observation.
    #[must_use]
    pub fn interval(&self, observation: Observation) -> Interval {
        let heartbeat_interval_ms = self.limits.heartbeat_interval.as_millis();
        Interval {
            heartbeat_interval_ms: u64::try_from(heartbeat_interval_ms).unwrap_or(u64::MAX),
            observation,
        }
    }

    /// A leader that heard nothing at all, not even its own heartbeats leaving, for an election
    /// timeout was itself asleep (stopped, suspended, starved): what was under way then says
    /// nothing about the followers, and they aren't blamed for it.
    fn wake(&mut self, now: Duration) {
        let slept = self
            .last_input
            .map_or(Duration::ZERO, |last| now.saturating_sub(last));
        self.last_input = Some(now);
        if slept >= self.limits.election_timeout {
            for follower in self.followers.values_mut() {
                follower.unanswered.clear();
                follower.last_heard = follower.last_heard.map(|heard| heard + slept);
            }
        }
    }
}

impl Follower {
    fn finish_window(
        &mut self,
        member: MemberId,
        now: Duration,
        deadline: Duration,
    ) -> Observation {
        let is_given_up = |sent: &Heartbeat| now.saturating_sub(sent.sent_at) >= deadline;
        while self.unanswered.front().is_some_and(is_given_up) {
            self.unanswered.pop_front();
            self.missed += 1;
        }
        let observation = Observation {
            member,
            heartbeats_sent: self.sent,
            heartbeats_acknowledged: self.acknowledged,
            heartbeats_missed: self.missed,
            ack_times: ack_times(&mut self.ack_micros),
            lag_entries: self.lag_entries,
            last_heard_ms: self.last_heard.map(|heard| {
                u64::try_from(now.saturating_sub(heard).as_millis()).unwrap_or(u64::MAX)
            }),
        };
        self.sent = 0;
        self.acknowledged = 0;
        self.missed = 0;
        self.ack_micros.clear();
        observation
    }
}

fn ack_times(micros: &mut [u64]) -> Option<AckTimes> {
    micros.sort_unstable();
    let max_micros = *micros.last()?;
    // Nearest rank: the smallest value that at least this share doesn't exceed.
    let percentile = |percent: usize| micros[(micros.len() * percent).div_ceil(100).max(1) - 1];
    Some(AckTimes {
        p50_micros: percentile(50),
        p95_micros: percentile(95),
        max_micros,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn observer() -> Observer {
        let mut observer = Observer::new(Limits::new(ms(100), ms(1000)));
        observer.set_followers([A, B]);
        observer
    }

    /// One window of heartbeats to both, answered after `took` by whoever is in `answering`.
    fn run_window(observer: &mut Observer, window: u64, answering: &[MemberId], took: Duration) {
        for beat in 0..10 {
            let number = window * 10 + beat;
            let sent_at = ms(window * 1000 + beat * 100);
            for member in [A, B] {
                observer.on_sent(sent_at, member, number);
            }
            for member in answering {
                observer.on_acknowledged(sent_at + took, *member, number);
            }
        }
    }

    #[test]
    fn a_window_of_answered_heartbeats_is_measured_for_each_follower() {
        let mut observer = observer();
        run_window(&mut observer, 0, &[A, B], ms(2));
        observer.on_progress(B, 17);
        let seen = observer.finish_window(ms(1000));
        assert_eq!(
            seen.iter().map(|one| one.member).collect::<Vec<_>>(),
            [A, B]
        );
        let times = AckTimes {
            p50_micros: 2000,
            p95_micros: 2000,
            max_micros: 2000,
        };
        for one in &seen {
            assert_eq!((one.heartbeats_sent, one.heartbeats_acknowledged), (10, 10));
            assert_eq!((one.heartbeats_missed, one.ack_times), (0, Some(times)));
            assert_eq!(one.last_heard_ms, Some(98));
        }
        assert_eq!((seen[0].lag_entries, seen[1].lag_entries), (0, 17));
        assert_eq!(
            observer.interval(seen[1].clone()).heartbeat_interval_ms,
            100
        );
    }

    #[test]
    fn the_next_window_begins_at_zero() {
        let mut observer = observer();
        run_window(&mut observer, 0, &[A, B], ms(2));
        observer.finish_window(ms(1000));
        let seen = observer.finish_window(ms(1001));
        assert_eq!(
            (seen[0].heartbeats_sent, seen[0].heartbeats_acknowledged),
            (0, 0)
        );
        assert_eq!(seen[0].ack_times, None);
    }

    #[test]
    fn a_heartbeat_is_missed_in_the_window_in_which_its_deadline_passes() {
        let mut observer = observer();
        run_window(&mut observer, 0, &[A], ms(2));
        let seen = observer.finish_window(ms(1000));
        // Sent at 0..=500 ms: half a second or more ago.
        assert_eq!(
            (seen[1].heartbeats_missed, seen[1].heartbeats_acknowledged),
            (6, 0)
        );
        run_window(&mut observer, 1, &[A], ms(2));
        let seen = observer.finish_window(ms(2000));
        assert_eq!(
            (seen[1].heartbeats_sent, seen[1].heartbeats_missed),
            (10, 10)
        );
        assert_eq!(
            judge(&seen[1], observer.limits()).reason.name(),
            "unreachable"
        );
        assert_eq!(judge(&seen[0], observer.limits()).points, 1);
    }

    #[test]
    fn an_answer_after_the_deadline_shows_life_but_doesnt_count_twice() {
        let mut observer = observer();
        observer.on_sent(ms(0), A, 1);
        observer.on_sent(ms(400), A, 2);
        assert_eq!(observer.finish_window(ms(600))[0].heartbeats_missed, 1);
        observer.on_acknowledged(ms(700), A, 1);
        observer.on_acknowledged(ms(700), A, 2);
        observer.on_acknowledged(ms(700), A, 2);
        let seen = observer.finish_window(ms(1200));
        assert_eq!(
            (seen[0].heartbeats_acknowledged, seen[0].heartbeats_missed),
            (1, 0)
        );
        assert_eq!(seen[0].last_heard_ms, Some(500));
    }

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let mut observer = observer();
        for number in 0..100 {
            observer.on_sent(ms(number), A, number);
            observer.on_acknowledged(ms(number) + Duration::from_micros(number + 1), A, number);
        }
        let times = AckTimes {
            p50_micros: 50,
            p95_micros: 95,
            max_micros: 100,
        };
        assert_eq!(observer.finish_window(ms(1000))[0].ack_times, Some(times));
    }

    #[test]
    fn a_leader_that_slept_doesnt_blame_its_followers() {
        let mut observer = observer();
        run_window(&mut observer, 0, &[A], ms(2));
        observer.on_sent(ms(1000), A, 10);
        // Thirty seconds stopped; the answer of A waits in a socket when the window ends.
        let seen = observer.finish_window(ms(31_000));
        assert_eq!(seen[0].heartbeats_missed, 0);
        assert_eq!(judge(&seen[0], observer.limits()).points, 1);
        observer.on_acknowledged(ms(31_001), A, 10);
        assert_eq!(
            observer.finish_window(ms(31_100))[0].heartbeats_acknowledged,
            0
        );
    }

    #[test]
    fn memory_is_bounded_and_what_falls_out_is_missed() {
        let mut observer = observer();
        for number in 0..10_000 {
            observer.on_sent(ms(number / 100), A, number);
        }
        assert_eq!(observer.followers[&A].unanswered.len(), UNANSWERED_MAX);
        assert_eq!(
            observer.finish_window(ms(101))[0].heartbeats_missed,
            10_000 - 256
        );
        for number in 10_000..20_000 {
            observer.on_sent(ms(200), A, number);
            observer.on_acknowledged(ms(201), A, number);
        }
        assert_eq!(observer.followers[&A].ack_micros.len(), SAMPLES_MAX);
        assert_eq!(
            observer.finish_window(ms(202))[0].heartbeats_acknowledged,
            10_000
        );
    }

    #[test]
    fn a_member_that_left_is_forgotten_and_a_stranger_is_ignored() {
        let mut observer = observer();
        observer.on_sent(ms(0), A, 1);
        observer.set_followers([A]);
        observer.on_sent(ms(1), B, 1);
        let seen = observer.finish_window(ms(2));
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].member, seen[0].heartbeats_sent), (A, 1));
    }
}
