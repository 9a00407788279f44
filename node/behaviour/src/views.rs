//! How followers saw their leaders: kept by each of them, entered by the next leader, so that an
//! incumbent can't hide its own slowness.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::judge::share_rounded_up;
use crate::observation::{MemberId, Report};
use crate::scoring::Scoring;
use crate::verdict::{Reason, Verdict};

/// Windows that a follower remembers.
const WINDOWS_MAX: usize = 60;

/// How one follower saw one leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The leader.
    pub leader: MemberId,
    /// The term that it led in.
    pub term: u64,
    /// Windows that are remembered.
    pub windows: u32,
    /// Those in which it was slow.
    pub slow: u32,
}

/// What a follower remembers of its leaders.
///
/// Invariant: at most [`WINDOWS_MAX`] windows.
#[derive(Debug, Clone, Default)]
pub struct Views {
    windows: VecDeque<Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    leader: MemberId,
    term: u64,
    is_slow: bool,
}

impl Views {
    /// A window as follower of `leader` ended with this report.
    pub fn add(&mut self, leader: MemberId, term: u64, report: &Report, scoring: &Scoring) {
        let Some(is_slow) = finds_slow(leader, report, scoring) else {
            return;
        };
        if self.windows.len() == WINDOWS_MAX {
            self.windows.pop_front();
        }
        self.windows.push_back(Window {
            leader,
            term,
            is_slow,
        });
    }

    /// The last leader before `term`, as it was seen.
    #[must_use]
    pub fn before(&self, term: u64) -> Option<View> {
        let last = *self
            .windows
            .iter()
            .rev()
            .find(|window| window.term < term)?;
        let of_it = self
            .windows
            .iter()
            .filter(|window| window.term == last.term);
        let (mut windows, mut slow) = (0, 0);
        for window in of_it {
            windows += 1;
            slow += u32::from(window.is_slow);
        }
        Some(View {
            leader: last.leader,
            term: last.term,
            windows,
            slow,
        })
    }
}

/// Whether a follower's report says that its leader was slow: entries were committed much later than
/// this follower's own disk, the leader's heartbeats, the way there and back (once to acknowledge, and
/// once to learn), and the floor explain. `None` if nothing waited to be committed.
pub(crate) fn finds_slow(leader: MemberId, report: &Report, scoring: &Scoring) -> Option<bool> {
    let commits = report.commits?;
    let own = report.syncs.map_or(0, |times| times.p95_micros);
    let usual = own.saturating_mul(scoring.slow_ratio.into());
    let mut links = report.links.iter();
    let way = links.find(|link| link.peer == leader);
    let way = way.map_or(0, |link| link.p95_micros.saturating_mul(2));
    let limit = usual
        .max(scoring.floor_micros)
        .saturating_add(report.heartbeat_interval_ms.saturating_mul(1_000))
        .saturating_add(way);
    Some(commits.p95_micros > limit)
}

/// What several followers' views of a former leader are worth, if any of them is of it: the
/// median's word counts, so one alone can't condemn it.
#[must_use]
pub fn judge_former(views: &[View], scoring: &Scoring) -> Option<Verdict> {
    let latest = views.iter().max_by_key(|view| view.term)?;
    let mut of_it: Vec<_> = views
        .iter()
        .filter(|view| (view.term, view.leader) == (latest.term, latest.leader))
        .filter(|view| view.windows > 0 && view.slow <= view.windows)
        .collect();
    of_it.sort_by_key(|view| u64::from(view.slow) * 1_000 / u64::from(view.windows));
    let view = of_it.get(of_it.len().checked_sub(1)? / 2)?;
    (view.slow > 0).then(|| Verdict {
        member: view.leader,
        points: -share_rounded_up(scoring.points.judged, view.slow, view.windows),
        reason: Reason::JudgedByFollowers {
            windows: view.windows,
            slow: view.slow,
            term: view.term,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Link, Times};

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    fn report(commit_micros: u64, sync_micros: u64) -> Report {
        let times = |micros| {
            Some(Times {
                p50_micros: micros,
                p95_micros: micros,
                max_micros: micros,
            })
        };
        Report {
            commits: times(commit_micros),
            syncs: times(sync_micros),
            heartbeat_interval_ms: 30,
            ..Report::default()
        }
    }

    fn view(slow: u32, windows: u32) -> View {
        View {
            leader: A,
            term: 3,
            windows,
            slow,
        }
    }

    #[test]
    fn a_follower_remembers_how_its_last_leader_was() {
        let scoring = Scoring::default();
        let mut views = Views::default();
        views.add(B, 2, &report(900_000, 1_000), &scoring);
        for commit_micros in [34_000, 36_000, 800_000, 2_000] {
            views.add(A, 3, &report(commit_micros, 1_000), &scoring);
        }
        // Slow commits that its own disk explains.
        views.add(A, 3, &report(300_000, 100_000), &scoring);
        views.add(A, 3, &Report::default(), &scoring);
        // Or the way.
        let mut far = report(300_000, 1_000);
        far.links = vec![Link {
            peer: A,
            min_micros: 100_000,
            p95_micros: 140_000,
        }];
        views.add(A, 3, &far, &scoring);
        assert_eq!(views.before(4), Some(view(2, 6)));
        assert_eq!(views.before(3).map(|view| view.leader), Some(B));
        assert_eq!(views.before(2), None);
        for _ in 0..100 {
            views.add(A, 3, &report(1_000, 1_000), &scoring);
        }
        assert_eq!(views.before(9), Some(view(0, 60)));
    }

    #[test]
    fn one_follower_alone_condemns_nobody() {
        let scoring = Scoring::default();
        assert_eq!(judge_former(&[], &scoring), None);
        assert_eq!(judge_former(&[view(60, 60), view(0, 50)], &scoring), None);
        let verdict = judge_former(&[view(60, 60), view(1, 60), view(30, 60)], &scoring);
        let verdict = verdict.expect("two found it slow");
        assert_eq!((verdict.member, verdict.points), (A, -10));
        let older = View {
            term: 2,
            leader: B,
            ..view(60, 60)
        };
        assert_eq!(judge_former(&[older, view(0, 9)], &scoring), None);
        let nonsense = view(90, 60);
        assert_eq!(judge_former(&[nonsense], &scoring), None);
    }
}
