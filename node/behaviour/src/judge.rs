//! The rules: from what was measured to points.
//!
//! **Nobody is slow but in comparison.** A disk, a network or a processor that all members share
//! slows all of them, and blames no one: who is slow takes several times as long as the median
//! member. With half of the members slow, the median is slow.
//!
//! **Once is chance.** A window holds few syncs, and the slowest of them is sometimes very slow on any
//! disk. Slowness costs points from the second window in a row on; the fast score counts every one.
//!
//! **A link has two ends.** Between two members nobody can tell whose fault it is that their link is
//! slow; who has several slow links, while those at their other ends have but one, is the cause
//! (after PD's rule for network slowness). It had better not lead, but it costs no points: a member
//! that is far away isn't a bad one. A leader is never the cause: its links carry all the entries, and
//! would be the slowest wherever leadership went.
//!
//! **Nobody is its own witness.** What a member says of itself can only make it look worse: its
//! disk is judged by its own words, but also by when entries were acknowledged, which its leader
//! saw; a leader is judged by its followers, whose words the next leader enters ([`crate::Views`]),
//! and while most of them find it slow it earns nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::observation::{MemberId, Observation};
use crate::samples::millis;
use crate::scoring::Scoring;
use crate::verdict::{Reason, Verdict};
use crate::views::finds_slow;

/// What counts as in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Who wasn't heard for so long is unreachable; a heartbeat unanswered for half of it is
    /// missed; who lags by twice as much is far behind.
    pub election_timeout: Duration,
}

impl Limits {
    /// When an unanswered heartbeat is given up.
    #[must_use]
    pub fn ack_deadline(&self) -> Duration {
        self.election_timeout / 2
    }

    /// By how much a member may lag, in milliseconds.
    #[must_use]
    pub fn lag_ms(&self) -> u64 {
        millis(self.election_timeout * 2)
    }
}

/// Judges one window of all members, the leader among them. `were_slow`: who was slow in the window
/// before ([`Verdict::is_slow_by`]).
#[must_use]
pub fn judge(
    seen: &[Observation],
    were_slow: &BTreeSet<MemberId>,
    limits: &Limits,
    scoring: &Scoring,
) -> Vec<Verdict> {
    let comparison = Comparison::of(seen, scoring);
    let mut verdicts = Vec::new();
    for one in seen {
        let mut reasons = Vec::new();
        befell(one, scoring, &mut reasons);
        if !is_away(one, limits, scoring, &comparison, &mut reasons) {
            let again = were_slow.contains(&one.member);
            is_slow(one, again, limits, scoring, &comparison, &mut reasons);
            reward(one, scoring, &comparison, &mut reasons);
        }
        let member = one.member;
        verdicts.extend(reasons.into_iter().map(|(points, reason)| Verdict {
            member,
            points,
            reason,
        }));
    }
    verdicts
}

type Reasons = Vec<(i32, Reason)>;

/// What single events are worth.
fn befell(seen: &Observation, scoring: &Scoring, reasons: &mut Reasons) {
    let (events, points) = (&seen.events, &scoring.points);
    let repairs = seen.report.as_ref().map_or(0, |report| report.repairs);
    for (times, each, reason) in [
        (
            events.restarts,
            points.restarted,
            Reason::Restarted {
                times: events.restarts,
            },
        ),
        (
            events.snapshots,
            points.snapshot,
            Reason::SnapshotNeeded {
                times: events.snapshots,
            },
        ),
        (
            events.campaigns,
            points.campaigned,
            Reason::Campaigned {
                times: events.campaigns,
            },
        ),
        (
            events.fillings,
            points.full,
            Reason::DiskFull {
                times: events.fillings,
            },
        ),
        (
            repairs,
            points.repaired,
            Reason::Repaired { times: repairs },
        ),
    ] {
        if times > 0 {
            let times = i32::try_from(times).unwrap_or(i32::MAX);
            reasons.push((-each.saturating_mul(times), reason));
        }
    }
    if events.has_caught_up {
        reasons.push((points.caught_up, Reason::CaughtUp));
    }
    if events.has_taken_over {
        reasons.push((points.took_over, Reason::TookOver));
    }
}

/// Whether it didn't answer: nothing else can be said of it then.
fn is_away(
    seen: &Observation,
    limits: &Limits,
    scoring: &Scoring,
    comparison: &Comparison,
    reasons: &mut Reasons,
) -> bool {
    if seen.is_leader {
        return false;
    }
    let due = seen.heartbeats_acknowledged + seen.heartbeats_missed;
    if due == 0 {
        reasons.push((0, Reason::NotMeasured));
        return true;
    }
    let silence = seen.last_heard_ms.map(Duration::from_millis);
    if seen.heartbeats_acknowledged == 0 && silence.is_none_or(|ago| ago >= limits.election_timeout)
    {
        let last_heard_ms = seen.last_heard_ms;
        reasons.push((
            -scoring.points.unreachable,
            Reason::Unreachable { last_heard_ms },
        ));
        return true;
    }
    if seen.heartbeats_missed > 0 {
        let reason = Reason::HeartbeatsMissed {
            missed: seen.heartbeats_missed,
            acknowledged: seen.heartbeats_acknowledged,
        };
        // Where all followers miss some, it is the leader's end that loses them.
        let points = if comparison.all_miss {
            0
        } else {
            -share_rounded_up(scoring.points.missed, seen.heartbeats_missed, due)
        };
        reasons.push((points, reason));
    }
    false
}

fn is_slow(
    seen: &Observation,
    again: bool,
    limits: &Limits,
    scoring: &Scoring,
    comparison: &Comparison,
    reasons: &mut Reasons,
) {
    if seen.lag_ms > limits.lag_ms() {
        let reason = Reason::FarBehind {
            lag_ms: seen.lag_ms,
            limit_ms: limits.lag_ms(),
        };
        reasons.push((-scoring.points.far_behind, reason));
    }
    let by_ratio = |value: u64, median: u64| {
        let base = median.max(scoring.floor_micros);
        if !again {
            0
        } else if value >= base.saturating_mul(8) {
            -scoring.points.very_slow
        } else if value >= base.saturating_mul(4) {
            -scoring.points.slow
        } else {
            0
        }
    };
    let mut slowness = Vec::new();
    if let Some(&(slow, links)) = comparison.slow_links.get(&seen.member) {
        let reason = Reason::SlowLinks {
            slow,
            links,
            fast_micros: comparison.link.unwrap_or(0),
        };
        slowness.push((0, reason));
    }
    if let (Some(sync_micros), Some(median_micros)) = (sync(seen), comparison.sync)
        && is_beyond(sync_micros, median_micros, scoring)
    {
        let reason = Reason::SlowDisk {
            sync_micros,
            median_micros,
        };
        slowness.push((by_ratio(sync_micros, median_micros), reason));
    }
    if let (Some(append_micros), Some(median_micros)) = (append(seen), comparison.append)
        && is_beyond(append_micros, median_micros, scoring)
    {
        let reason = Reason::SlowAcknowledgements {
            append_micros,
            median_micros,
        };
        slowness.push((by_ratio(append_micros, median_micros), reason));
    }
    // One slowness shows in several ways; the gravest counts. Were it the first, a member could hide
    // behind a smaller one that it owns up to.
    reasons.extend(slowness.into_iter().min_by_key(|(points, _)| *points));
}

/// If nothing was wrong. A leader that its followers find slow is told that it led, and no more.
fn reward(seen: &Observation, scoring: &Scoring, comparison: &Comparison, reasons: &mut Reasons) {
    if reasons
        .iter()
        .any(|(points, reason)| *points < 0 || reason.is_slowness())
    {
        return;
    }
    let points = scoring.points.healthy;
    reasons.push(if !seen.is_leader {
        let acknowledged = seen.heartbeats_acknowledged;
        (points, Reason::AcknowledgedInTime { acknowledged })
    } else if comparison.is_leader_slow {
        (0, Reason::Led)
    } else {
        (points, Reason::Led)
    });
}

/// What a member is compared with.
#[derive(Debug, Default)]
struct Comparison {
    /// Median of the syncs of all members, in microseconds; `None`: fewer than two are known.
    sync: Option<u64>,
    /// Median of the acknowledgements of all followers.
    append: Option<u64>,
    /// What a fast link takes.
    link: Option<u64>,
    /// Who is the cause of slow links: how many it has, and how many links.
    slow_links: BTreeMap<MemberId, (u32, u32)>,
    /// There are several followers, and each missed a heartbeat.
    all_miss: bool,
    /// Most followers whose entries were committed say that the leader was slow at it.
    is_leader_slow: bool,
}

impl Comparison {
    fn of(seen: &[Observation], scoring: &Scoring) -> Self {
        let leader = seen.iter().find(|one| one.is_leader).map(|one| one.member);
        let links = links(seen);
        let link = fast_link(links.values().copied());
        let mut followers = seen.iter().filter(|one| !one.is_leader).peekable();
        let are_several = seen.iter().filter(|one| !one.is_leader).count() > 1;
        Self {
            sync: median(seen.iter().filter_map(sync)),
            append: median(seen.iter().filter_map(append)),
            slow_links: to_cause(&links, leader, link, scoring),
            link,
            is_leader_slow: leader.is_some_and(|leader| is_found_slow(seen, leader, scoring)),
            all_miss: are_several && followers.all(|one| one.heartbeats_missed > 0),
        }
    }
}

fn is_found_slow(seen: &[Observation], leader: MemberId, scoring: &Scoring) -> bool {
    let followers = seen.iter().filter(|one| !one.is_leader);
    let reports = followers.filter_map(|one| one.report.as_ref());
    let words: Vec<_> = reports
        .filter_map(|report| finds_slow(leader, report, scoring))
        .collect();
    words.iter().filter(|is_slow| **is_slow).count() * 2 > words.len()
}

/// How long a sync of a member takes: by its own words, which can't make it look better than it is,
/// because acknowledgements are compared as well.
fn sync(seen: &Observation) -> Option<u64> {
    let report = seen.report.as_ref()?;
    let syncs = report.syncs.map(|times| times.p95_micros);
    match report.oldest_write_micros {
        0 => syncs,
        oldest => Some(syncs.unwrap_or(0).max(oldest)),
    }
}

/// How long a follower takes to acknowledge entries, those under way included and the way there and
/// back not.
fn append(seen: &Observation) -> Option<u64> {
    let appends = seen.appends.map(|times| times.p95_micros);
    let took = match seen.lag_ms {
        0 => appends?,
        lag_ms => appends.unwrap_or(0).max(lag_ms.saturating_mul(1_000)),
    };
    let round_trip = seen.round_trips.map_or(0, |times| times.p50_micros);
    Some(took.saturating_sub(round_trip))
}

/// All links with what the way there and back takes, the slower direction of each.
fn links(seen: &[Observation]) -> BTreeMap<(MemberId, MemberId), u64> {
    let leader = seen.iter().find(|one| one.is_leader);
    let mut links = BTreeMap::new();
    let mut add = |a: MemberId, b: MemberId, micros: u64| {
        let slower: &mut u64 = links.entry((a.min(b), a.max(b))).or_default();
        *slower = micros.max(*slower);
    };
    for one in seen {
        // The leader's links by its own heartbeats, which are many: of few samples, all may be held
        // up by the entries that go the same way.
        if let (Some(leader), Some(micros)) = (leader, one.round_trip_min_micros) {
            add(leader.member, one.member, micros);
        }
        for link in one.report.iter().flat_map(|report| &report.links) {
            let is_followers = |other: &Observation| other.member == link.peer && !other.is_leader;
            if !one.is_leader && link.peer != one.member && seen.iter().any(is_followers) {
                add(one.member, link.peer, link.min_micros);
            }
        }
    }
    links
}

fn to_cause(
    links: &BTreeMap<(MemberId, MemberId), u64>,
    leader: Option<MemberId>,
    fast: Option<u64>,
    scoring: &Scoring,
) -> BTreeMap<MemberId, (u32, u32)> {
    let Some(fast) = fast else {
        return BTreeMap::new();
    };
    let mut counts: BTreeMap<MemberId, (u32, u32)> = BTreeMap::new();
    for (&(a, b), &micros) in links {
        for end in [a, b] {
            let (slow, all) = counts.entry(end).or_default();
            *all += 1;
            *slow += u32::from(is_beyond(micros, fast, scoring));
        }
    }
    let most = counts.values().map(|(slow, _)| *slow).max().unwrap_or(0);
    counts.retain(|id, (slow, all)| {
        Some(*id) != leader && *slow > 1 && *slow == most && *slow * 2 > *all
    });
    counts
}

fn is_beyond(value: u64, median: u64, scoring: &Scoring) -> bool {
    let limit = median.saturating_mul(scoring.slow_ratio.into());
    value > limit.max(scoring.floor_micros)
}

/// What a fast link takes: the lower quartile, because one slow member alone slows most of the links
/// of a small cluster.
fn fast_link(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    (values.len() > 1).then(|| values[(values.len() - 1) / 4])
}

/// The lower one where there are two; `None` where there is nothing to compare.
fn median(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    (values.len() > 1).then(|| values[(values.len() - 1) / 2])
}

pub(crate) fn share_rounded_up(whole: i32, part: u32, of: u32) -> i32 {
    let share = (i64::from(whole) * i64::from(part)).div_euclid(i64::from(of));
    let has_rest = (i64::from(whole) * i64::from(part)) % i64::from(of) != 0;
    i32::try_from(share + i64::from(has_rest)).unwrap_or(whole)
}

#[cfg(test)]
#[path = "judge/judge_test.rs"]
mod judge_test;
