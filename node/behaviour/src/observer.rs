//! The observer: collects, on the leader, what each follower does in a window.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::judge::Limits;
use crate::observation::{Events, MemberId, Observation, Report};
use crate::samples::{Samples, millis};

/// Unanswered heartbeats remembered for each follower; the oldest beyond it counts as missed.
const UNANSWERED_MAX: usize = 256;
/// Appends remembered for each follower; further ones aren't measured.
const APPENDS_MAX: usize = 1_024;

/// Collects what followers do. A leader makes one when it is elected and drops it with its
/// leadership. `now` is time since boot and never goes back.
///
/// Invariants:
/// - every follower has at most [`UNANSWERED_MAX`] unanswered heartbeats, in order of number
/// - every follower has at most [`APPENDS_MAX`] unacknowledged appends, in order of index
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
    round_trips: Samples,
    /// Where the log ended that was sent, and when.
    unacknowledged: VecDeque<(u64, Duration)>,
    appends: Samples,
    lag_entries: u64,
    last_heard: Option<Duration>,
    events: Events,
    /// It lagged, or needed a snapshot, and hasn't been near since.
    is_behind: bool,
    report: Option<Report>,
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
    /// sent, only shows that the follower lives. Gives how long the answer took.
    pub fn on_acknowledged(
        &mut self,
        now: Duration,
        member: MemberId,
        number: u64,
    ) -> Option<Duration> {
        self.on_heard(now, member);
        let follower = self.followers.get_mut(&member)?;
        let found = follower
            .unanswered
            .binary_search_by_key(&number, |sent| sent.number);
        let heartbeat = follower.unanswered.remove(found.ok()?)?;
        follower.acknowledged += 1;
        let took = now.saturating_sub(heartbeat.sent_at);
        follower.round_trips.add(took);
        Some(took)
    }

    /// Entries up to `last` were sent. Sent again, they count from the first time.
    pub fn on_append(&mut self, now: Duration, member: MemberId, last: u64) {
        let Some(follower) = self.followers.get_mut(&member) else {
            return;
        };
        let sent = &mut follower.unacknowledged;
        if sent.len() < APPENDS_MAX && sent.back().is_none_or(|(index, _)| *index < last) {
            sent.push_back((last, now));
        }
    }

    /// A follower acknowledged all up to `matched` as durable.
    pub fn on_append_accepted(&mut self, now: Duration, member: MemberId, matched: u64) {
        self.on_heard(now, member);
        let Some(follower) = self.followers.get_mut(&member) else {
            return;
        };
        while let Some(&(index, sent)) = follower.unacknowledged.front()
            && index <= matched
        {
            follower.unacknowledged.pop_front();
            follower.appends.add(now.saturating_sub(sent));
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

    /// What a follower says of itself; the latest word of a window counts.
    pub fn on_report(&mut self, member: MemberId, report: Report) {
        if let Some(follower) = self.followers.get_mut(&member) {
            let before = follower.report.take().map_or(0, |before| before.repairs);
            let repairs = report.repairs.saturating_add(before);
            follower.report = Some(Report { repairs, ..report });
        }
    }

    /// Something befell a follower.
    pub fn on_event(&mut self, member: MemberId, event: Event) {
        let Some(follower) = self.followers.get_mut(&member) else {
            return;
        };
        let events = &mut follower.events;
        match event {
            Event::Restarted => events.restarts += 1,
            Event::NeedsSnapshot => {
                events.snapshots += 1;
                follower.is_behind = true;
                follower.unacknowledged.clear();
            }
            Event::Campaigned => events.campaigns += 1,
            Event::DiskFilled => events.fillings += 1,
        }
    }

    /// Ends the window: one observation for each follower, in order of their IDs.
    pub fn finish_window(&mut self, now: Duration) -> Vec<Observation> {
        self.wake(now);
        let limits = self.limits;
        self.followers
            .iter_mut()
            .map(|(member, follower)| follower.finish_window(*member, now, &limits))
            .collect()
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
                for (_, sent) in &mut follower.unacknowledged {
                    *sent += slept;
                }
                follower.last_heard = follower.last_heard.map(|heard| heard + slept);
            }
        }
    }
}

/// What may befall a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its process started again.
    Restarted,
    /// The log no longer holds what it lacks.
    NeedsSnapshot,
    /// It asked for votes though this leader leads.
    Campaigned,
    /// Its disk got full.
    DiskFilled,
}

impl Follower {
    fn finish_window(&mut self, member: MemberId, now: Duration, limits: &Limits) -> Observation {
        let is_given_up =
            |sent: &Heartbeat| now.saturating_sub(sent.sent_at) >= limits.ack_deadline();
        while self.unanswered.front().is_some_and(is_given_up) {
            self.unanswered.pop_front();
            self.missed += 1;
        }
        let oldest = self.unacknowledged.front();
        let lag_ms = oldest.map_or(0, |(_, sent)| millis(now.saturating_sub(*sent)));
        let mut events = std::mem::take(&mut self.events);
        if lag_ms > limits.lag_ms() {
            self.is_behind = true;
        } else if self.is_behind && self.acknowledged > 0 && lag_ms < limits.lag_ms() / 2 {
            self.is_behind = self.lag_entries > 0 && self.unacknowledged.is_empty();
            events.has_caught_up = !self.is_behind;
        }
        let heard_ago = |heard: Duration| millis(now.saturating_sub(heard));
        Observation {
            heartbeats_sent: std::mem::take(&mut self.sent),
            heartbeats_acknowledged: std::mem::take(&mut self.acknowledged),
            heartbeats_missed: std::mem::take(&mut self.missed),
            round_trip_min_micros: self.round_trips.min(),
            round_trips: self.round_trips.finish(),
            appends: self.appends.finish(),
            lag_ms,
            lag_entries: self.lag_entries,
            last_heard_ms: self.last_heard.map(heard_ago),
            events,
            report: self.report.take(),
            ..Observation::blank(member)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::judge::judge;
    use crate::observation::Times;
    use crate::scoring::Scoring;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn observer() -> Observer {
        let mut observer = Observer::new(Limits {
            election_timeout: ms(1000),
        });
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
        let times = Times {
            p50_micros: 2000,
            p95_micros: 2000,
            max_micros: 2000,
        };
        for one in &seen {
            assert_eq!((one.heartbeats_sent, one.heartbeats_acknowledged), (10, 10));
            assert_eq!((one.heartbeats_missed, one.round_trips), (0, Some(times)));
            assert_eq!(one.last_heard_ms, Some(98));
        }
        assert_eq!((seen[0].lag_entries, seen[1].lag_entries), (0, 17));
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
        assert_eq!(seen[0].round_trips, None);
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
        let verdicts = judge(
            &seen,
            &BTreeSet::new(),
            observer.limits(),
            &Scoring::default(),
        );
        assert_eq!(
            verdicts
                .iter()
                .map(|one| one.reason.name())
                .collect::<Vec<_>>(),
            ["acknowledged_in_time", "unreachable"]
        );
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
        let times = Times {
            p50_micros: 50,
            p95_micros: 95,
            max_micros: 100,
        };
        assert_eq!(observer.finish_window(ms(1000))[0].round_trips, Some(times));
    }

    #[test]
    fn a_leader_that_slept_doesnt_blame_its_followers() {
        let mut observer = observer();
        run_window(&mut observer, 0, &[A], ms(2));
        observer.on_sent(ms(1000), A, 10);
        // Thirty seconds stopped; the answer of A waits in a socket when the window ends.
        let seen = observer.finish_window(ms(31_000));
        assert_eq!(seen[0].heartbeats_missed, 0);
        let verdicts = judge(
            &seen[..1],
            &BTreeSet::new(),
            observer.limits(),
            &Scoring::default(),
        );
        assert_eq!(verdicts[0].points, 1);
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
        assert_eq!(
            observer.followers[&A].round_trips.len(),
            crate::samples::SAMPLES_MAX
        );
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

    #[test]
    fn appends_are_measured_from_the_first_sending_to_the_acknowledgement() {
        let mut observer = observer();
        observer.on_append(ms(0), A, 5);
        observer.on_append(ms(2), A, 7);
        observer.on_append(ms(4), A, 6);
        observer.on_append_accepted(ms(10), A, 6);
        let seen = observer.finish_window(ms(1000));
        let times = Times {
            p50_micros: 10_000,
            p95_micros: 10_000,
            max_micros: 10_000,
        };
        assert_eq!((seen[0].appends, seen[0].lag_ms), (Some(times), 998));
        observer.on_append_accepted(ms(1_002), A, 7);
        let seen = observer.finish_window(ms(2_000));
        assert_eq!(
            seen[0].appends.map(|times| times.max_micros),
            Some(1_000_000)
        );
        assert_eq!((seen[0].lag_ms, seen[1].appends), (0, None));
    }

    #[test]
    fn events_are_told_once_and_catching_up_after_it_happened() {
        let mut observer = observer();
        for event in [Event::Restarted, Event::NeedsSnapshot, Event::Campaigned] {
            observer.on_event(A, event);
        }
        observer.on_event(B, Event::DiskFilled);
        observer.on_progress(A, 900);
        run_window(&mut observer, 0, &[A, B], ms(2));
        let seen = observer.finish_window(ms(1000));
        let events = Events {
            restarts: 1,
            snapshots: 1,
            campaigns: 1,
            ..Events::default()
        };
        assert_eq!(seen[0].events, events);
        assert_eq!(seen[1].events.fillings, 1);
        observer.on_progress(A, 0);
        run_window(&mut observer, 1, &[A, B], ms(2));
        let seen = observer.finish_window(ms(2000));
        assert!(seen[0].events.has_caught_up && !seen[1].events.has_caught_up);
        run_window(&mut observer, 2, &[A, B], ms(2));
        assert_eq!(
            observer.finish_window(ms(3000))[0].events,
            Events::default()
        );
    }

    #[test]
    fn the_latest_report_of_a_window_counts_and_no_repair_is_lost() {
        let mut observer = observer();
        let report = |repairs, oldest_write_micros| Report {
            repairs,
            oldest_write_micros,
            ..Report::default()
        };
        observer.on_report(A, report(1, 10));
        observer.on_report(A, report(2, 20));
        let seen = observer.finish_window(ms(1000));
        assert_eq!(seen[0].report, Some(report(3, 20)));
        assert_eq!(seen[1].report, None);
        assert_eq!(observer.finish_window(ms(2000))[0].report, None);
    }
}
