//! The meter: what a member measures of itself and of its leader.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::observation::{Link, MemberId, Report};
use crate::samples::{Samples, micros, millis};

/// Entries whose commitment is waited for; further ones aren't measured.
const UNCOMMITTED_MAX: usize = 1_024;

/// What a member measures of itself and of its leader. `now` is time since boot and never goes
/// back.
///
/// Invariant: `uncommitted` rises in index, and holds at most [`UNCOMMITTED_MAX`].
#[derive(Debug, Clone, Default)]
pub struct Meter {
    syncs: Samples,
    lateness: Samples,
    commits: Samples,
    links: BTreeMap<MemberId, Samples>,
    repairs: u32,
    last_heartbeat: Option<Duration>,
    /// Where the log ended when entries came, and when that was.
    uncommitted: VecDeque<(u64, Duration)>,
}

impl Meter {
    /// A sync took so long.
    pub fn on_sync(&mut self, took: Duration) {
        self.syncs.add(took);
    }

    /// The leader's heartbeat came; it says that it beats every `interval`.
    pub fn on_heartbeat(&mut self, now: Duration, interval: Duration) {
        if let Some(last) = self.last_heartbeat.replace(now) {
            self.lateness
                .add(now.saturating_sub(last).saturating_sub(interval));
        }
    }

    /// Another leader, or none: what was waited for may never come.
    pub fn on_leader_changed(&mut self) {
        self.last_heartbeat = None;
        self.uncommitted.clear();
    }

    /// Entries up to `last` came from the leader.
    pub fn on_entries(&mut self, now: Duration, last: u64) {
        let is_news = self
            .uncommitted
            .back()
            .is_none_or(|(index, _)| *index < last);
        if is_news && self.uncommitted.len() < UNCOMMITTED_MAX {
            self.uncommitted.push_back((last, now));
        }
    }

    /// The leader says that all up to `commit` is committed.
    pub fn on_commit(&mut self, now: Duration, commit: u64) {
        while let Some(&(index, came)) = self.uncommitted.front()
            && index <= commit
        {
            self.uncommitted.pop_front();
            self.commits.add(now.saturating_sub(came));
        }
    }

    /// A peer answered after so long.
    pub fn on_round_trip(&mut self, peer: MemberId, took: Duration) {
        self.links.entry(peer).or_default().add(took);
    }

    /// The disk had lost a part of the log, whose repair began.
    pub fn on_repair(&mut self) {
        self.repairs += 1;
    }

    /// Ends the window. `oldest_write`: for how long the oldest write has been under way.
    pub fn finish_window(
        &mut self,
        now: Duration,
        oldest_write: Duration,
        heartbeat_interval: Duration,
        election_timeout: Duration,
    ) -> Report {
        let links = self.links.iter_mut().filter_map(|(peer, samples)| {
            let min_micros = samples.min()?;
            Some(Link {
                peer: *peer,
                min_micros,
                p95_micros: samples.finish()?.p95_micros,
            })
        });
        // A leader that commits nothing is seen by that.
        if self.commits.min().is_none()
            && let Some((_, came)) = self.uncommitted.front()
        {
            self.commits.add(now.saturating_sub(*came));
        }
        let report = Report {
            links: links.collect(),
            syncs: self.syncs.finish(),
            oldest_write_micros: micros(oldest_write),
            lateness: self.lateness.finish(),
            commits: self.commits.finish(),
            heartbeat_interval_ms: millis(heartbeat_interval),
            election_timeout_ms: millis(election_timeout),
            repairs: std::mem::take(&mut self.repairs),
        };
        // Who left isn't asked any more.
        self.links
            .retain(|peer, _| report.links.iter().any(|link| link.peer == *peer));
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_window_says_how_syncs_heartbeats_commits_and_links_were() {
        let mut meter = Meter::default();
        for took in [1, 2, 9] {
            meter.on_sync(ms(took));
        }
        for at in [0, 30, 75] {
            meter.on_heartbeat(ms(at), ms(30));
        }
        meter.on_entries(ms(100), 5);
        meter.on_entries(ms(104), 7);
        meter.on_entries(ms(104), 7);
        meter.on_commit(ms(110), 6);
        meter.on_round_trip(MemberId(2), ms(5));
        meter.on_round_trip(MemberId(2), ms(3));
        meter.on_repair();
        let report = meter.finish_window(ms(110), ms(4), ms(30), ms(150));
        let all = |times: Option<crate::Times>| {
            let times = times.expect("measured");
            (times.p50_micros, times.p95_micros)
        };
        assert_eq!(all(report.syncs), (2_000, 2_000));
        assert_eq!(all(report.lateness), (0, 0));
        assert_eq!(all(report.commits), (10_000, 10_000));
        assert_eq!((report.oldest_write_micros, report.repairs), (4_000, 1));
        let link = Link {
            peer: MemberId(2),
            min_micros: 3_000,
            p95_micros: 3_000,
        };
        assert_eq!(report.links, [link]);
        assert_eq!(
            (report.heartbeat_interval_ms, report.election_timeout_ms),
            (30, 150)
        );
        let stuck = meter.finish_window(ms(604), ms(0), ms(30), ms(150));
        assert_eq!(all(stuck.commits), (500_000, 500_000));
        meter.on_commit(ms(1_000), 7);
        let next = meter.finish_window(ms(1_000), ms(0), ms(30), ms(150));
        assert_eq!(all(next.commits), (896_000, 896_000));
        assert_eq!((next.syncs, next.repairs, next.links.len()), (None, 0, 0));
    }

    #[test]
    fn what_a_lost_leader_owed_is_not_measured() {
        let mut meter = Meter::default();
        meter.on_heartbeat(ms(0), ms(30));
        meter.on_entries(ms(0), 5);
        meter.on_leader_changed();
        meter.on_heartbeat(ms(900), ms(30));
        meter.on_commit(ms(900), 9);
        let report = meter.finish_window(ms(900), ms(0), ms(30), ms(150));
        assert_eq!((report.lateness, report.commits), (None, None));
    }

    #[test]
    fn memory_is_bounded() {
        let mut meter = Meter::default();
        for index in 0..10_000 {
            meter.on_entries(ms(index), index);
            meter.on_sync(ms(1));
        }
        assert_eq!(meter.uncommitted.len(), UNCOMMITTED_MAX);
        assert_eq!(meter.syncs.len(), crate::samples::SAMPLES_MAX);
    }
}
