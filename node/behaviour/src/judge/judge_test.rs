use super::*;
use crate::observation::{Events, Link, Report, Times};
use crate::scoring::Rules;

const L: MemberId = MemberId(1);
const A: MemberId = MemberId(2);
const B: MemberId = MemberId(3);

fn times(micros: u64) -> Option<Times> {
    Some(Times {
        p50_micros: micros,
        p95_micros: micros,
        max_micros: micros,
    })
}

fn report(sync_micros: u64) -> Report {
    Report {
        syncs: times(sync_micros),
        ..Report::default()
    }
}

fn leader(sync_micros: u64) -> Observation {
    Observation::of_leader(L, Events::default(), report(sync_micros))
}

fn follower(member: MemberId, sync_micros: u64) -> Observation {
    Observation {
        heartbeats_sent: 10,
        heartbeats_acknowledged: 10,
        round_trips: times(300),
        round_trip_min_micros: Some(300),
        appends: times(sync_micros + 300),
        last_heard_ms: Some(40),
        report: Some(report(sync_micros)),
        ..Observation::blank(member)
    }
}

fn limits() -> Limits {
    Limits {
        election_timeout: Duration::from_secs(1),
    }
}

fn judged(seen: &[Observation]) -> Vec<(MemberId, i32, &'static str)> {
    let were_slow = seen.iter().map(|one| one.member).collect();
    let verdicts = judge(seen, &were_slow, &limits(), &Scoring::default());
    let told = verdicts
        .iter()
        .map(|one| (one.member, one.points, one.reason.name()));
    told.collect()
}

#[test]
fn a_healthy_cluster_is_rewarded_the_leader_too() {
    let seen = [leader(1_000), follower(A, 900), follower(B, 2_000)];
    assert_eq!(
        judged(&seen),
        [
            (L, 1, "led"),
            (A, 1, "acknowledged_in_time"),
            (B, 1, "acknowledged_in_time")
        ]
    );
}

#[test]
fn a_slow_disk_is_found_by_comparison_wherever_it_is() {
    for (micros, points) in [(15_001, 0), (20_000, -3), (39_999, -3), (40_000, -8)] {
        let seen = [leader(1_000), follower(A, micros), follower(B, 2_000)];
        assert_eq!(judged(&seen)[1], (A, points, "slow_disk"), "{micros}");
        let seen = [leader(micros), follower(A, 1_000), follower(B, 2_000)];
        assert_eq!(judged(&seen)[0], (L, points, "slow_disk"), "{micros}");
    }
    // Slower than the others, but not slow.
    let seen = [leader(300), follower(A, 5_000), follower(B, 200)];
    assert_eq!(judged(&seen)[1].1, 1);
}

#[test]
fn the_first_slow_window_is_noted_and_costs_nothing() {
    let seen = [leader(1_000), follower(A, 90_000), follower(B, 2_000)];
    let first = judge(&seen, &BTreeSet::new(), &limits(), &Scoring::default());
    assert_eq!((first[1].points, first[1].reason.name()), (0, "slow_disk"));
    assert!(first[1].reason.is_slowness());
    assert_eq!(judged(&seen)[1], (A, -8, "slow_disk"));
}

#[test]
fn a_write_that_hangs_is_a_slow_disk_though_no_sync_ended() {
    let mut hangs = leader(1_000);
    hangs.report = Some(Report {
        oldest_write_micros: 900_000,
        ..Report::default()
    });
    let seen = [hangs, follower(A, 1_000), follower(B, 1_000)];
    assert_eq!(judged(&seen)[0], (L, -8, "slow_disk"));
}

#[test]
fn what_all_share_blames_no_one() {
    for micros in [50_000, 1_000_000] {
        let mut seen = [leader(micros), follower(A, micros), follower(B, micros)];
        for one in &mut seen[1..] {
            one.round_trips = times(micros);
            one.round_trip_min_micros = Some(micros);
        }
        assert!(
            judged(&seen).iter().all(|verdict| verdict.1 == 1),
            "{seen:?}"
        );
    }
    // Nor does what most of them share.
    let seen = [leader(1_000), follower(A, 90_000), follower(B, 90_000)];
    let blamed: Vec<_> = judged(&seen).into_iter().filter(|one| one.1 < 0).collect();
    assert_eq!(blamed, []);
}

#[test]
fn who_says_that_its_disk_is_fast_is_judged_by_its_acknowledgements() {
    let mut liar = follower(A, 60_000);
    liar.report = Some(report(1));
    let seen = [leader(1_000), liar, follower(B, 1_000)];
    assert_eq!(judged(&seen)[1], (A, -8, "slow_acknowledgements"));
    let mut silent = follower(A, 60_000);
    silent.report = None;
    let seen = [leader(1_000), silent, follower(B, 1_000)];
    assert_eq!(judged(&seen)[1], (A, -8, "slow_acknowledgements"));
    // Entries that it owes count as well.
    let mut owing = follower(A, 1_000);
    owing.appends = None;
    owing.lag_ms = 700;
    let seen = [leader(1_000), owing, follower(B, 1_000)];
    assert_eq!(judged(&seen)[1], (A, -8, "slow_acknowledgements"));
}

#[test]
fn no_report_makes_a_member_look_better_than_the_others_saw_it() {
    let honest = follower(A, 60_000);
    let cluster = |one| [leader(1_000), one, follower(B, 1_000)];
    let points = |one| -> i32 {
        let verdicts = judged(&cluster(one));
        verdicts
            .iter()
            .filter(|one| one.0 == A)
            .map(|one| one.1)
            .sum()
    };
    let worth = points(honest.clone());
    for sync_micros in [0, 1, 1_000, 16_000, 59_000, u64::MAX] {
        for oldest_write_micros in [0, 5, u64::MAX] {
            let links = [u64::MAX, 0, 9].map(|min_micros| Link {
                peer: B,
                min_micros,
                p95_micros: 0,
            });
            let mut liar = honest.clone();
            liar.report = Some(Report {
                oldest_write_micros,
                links: links.to_vec(),
                lateness: times(0),
                commits: times(0),
                heartbeat_interval_ms: u64::MAX,
                ..report(sync_micros)
            });
            assert!(points(liar.clone()) <= worth, "{liar:?}");
        }
    }
}

#[test]
fn a_slow_link_alone_has_no_cause_and_two_have_who_has_both() {
    let link = |peer, min_micros| Link {
        peer,
        min_micros,
        p95_micros: min_micros,
    };
    let mut seen = [leader(1_000), follower(A, 1_000), follower(B, 1_000)];
    seen[1].round_trip_min_micros = Some(90_000);
    let links = |seen: &mut [Observation; 3], a_to_b| {
        if let Some(report) = &mut seen[2].report {
            report.links = vec![link(A, a_to_b)];
        }
    };
    links(&mut seen, 400);
    assert!(judged(&seen).iter().all(|one| one.2 != "slow_links"));
    links(&mut seen, 80_000);
    let told = judged(&seen);
    let blamed: Vec<_> = told.iter().filter(|one| one.2 == "slow_links").collect();
    assert_eq!(blamed, [&(A, 0, "slow_links")]);
    // Both of the leader's are slow: they carry more than the one between its followers.
    seen[2].round_trip_min_micros = Some(90_000);
    links(&mut seen, 400);
    assert!(judged(&seen).iter().all(|one| one.2 != "slow_links"));
}

#[test]
fn who_is_far_away_loses_no_points() {
    let mut seen = [leader(1_000), follower(A, 1_000), follower(B, 1_000)];
    seen[1].round_trips = times(60_000);
    seen[1].round_trip_min_micros = Some(60_000);
    seen[1].appends = times(62_000);
    if let Some(report) = &mut seen[1].report {
        report.links = vec![Link {
            peer: B,
            min_micros: 60_000,
            p95_micros: 60_000,
        }];
    }
    assert_eq!(judged(&seen)[1], (A, 0, "slow_links"));
}

#[test]
fn missed_heartbeats_cost_their_share_rounded_up() {
    for (missed, acknowledged, points) in [(1, 9, -2), (1, 99, -1), (5, 5, -10), (9, 1, -18)] {
        let mut seen = [leader(1_000), follower(A, 1_000), follower(B, 1_000)];
        seen[1].heartbeats_missed = missed;
        seen[1].heartbeats_acknowledged = acknowledged;
        assert_eq!(judged(&seen)[1], (A, points, "heartbeats_missed"));
    }
}

#[test]
fn heartbeats_that_all_followers_missed_are_the_leaders_own() {
    let mut seen = [leader(1_000), follower(A, 1_000), follower(B, 1_000)];
    for one in &mut seen[1..] {
        one.heartbeats_missed = 3;
    }
    let told = judged(&seen);
    assert_eq!(
        told[1..],
        [(A, 0, "heartbeats_missed"), (B, 0, "heartbeats_missed")]
    );
}

#[test]
fn what_all_followers_missed_makes_none_of_them_slow_by_the_present_rules() {
    let mut seen = [leader(1_000), follower(A, 1_000), follower(B, 1_000)];
    seen[1].heartbeats_missed = 3;
    let slow_by = |seen: &[Observation], rules| -> Vec<MemberId> {
        let verdicts = judge(seen, &BTreeSet::new(), &limits(), &Scoring::default());
        let slow = verdicts.iter().filter(|one| one.is_slow_by(rules));
        slow.map(|one| one.member).collect()
    };
    assert_eq!(slow_by(&seen, Rules::FIRST), [A]);
    assert_eq!(slow_by(&seen, Rules::SHARED_MISSES), [A]);
    seen[2].heartbeats_missed = 3;
    assert_eq!(slow_by(&seen, Rules::FIRST), [A, B]);
    assert_eq!(slow_by(&seen, Rules::SHARED_MISSES), []);
}

#[test]
fn a_leader_that_most_followers_find_slow_earns_nothing_whatever_it_says_of_itself() {
    let found = |by_a: Option<u64>, by_b: Option<u64>| {
        let mut seen = [leader(1), follower(A, 1_000), follower(B, 1_000)];
        for (follower, micros) in seen[1..].iter_mut().zip([by_a, by_b]) {
            let report = follower.report.as_mut().expect("it told");
            report.commits = micros.and_then(times);
        }
        judged(&seen)[0]
    };
    assert_eq!(found(None, None), (L, 1, "led"));
    assert_eq!(found(Some(2_000), Some(3_000)), (L, 1, "led"));
    assert_eq!(found(Some(900_000), Some(3_000)), (L, 1, "led"));
    assert_eq!(found(Some(900_000), Some(700_000)), (L, 0, "led"));
    assert_eq!(found(Some(900_000), None), (L, 0, "led"));
}

#[test]
fn who_answers_nothing_but_was_heard_lately_isnt_unreachable_yet() {
    let mut seen = [leader(1_000), follower(A, 1_000), follower(B, 1_000)];
    seen[1].heartbeats_missed = 5;
    seen[1].heartbeats_acknowledged = 0;
    assert_eq!(judged(&seen)[1], (A, -20, "heartbeats_missed"));
    for last_heard_ms in [Some(1_000), Some(60_000), None] {
        seen[1].last_heard_ms = last_heard_ms;
        let told = judged(&seen);
        assert_eq!(told[1], (A, -20, "unreachable"));
        assert_eq!(told[2].0, B, "nothing else is said of it");
    }
    seen[1].heartbeats_missed = 0;
    assert_eq!(judged(&seen)[1], (A, 0, "not_measured"));
}

#[test]
fn what_befell_a_member_counts_besides() {
    let mut seen = [leader(1_000), follower(A, 1_000), follower(B, 1_000)];
    seen[1].events = Events {
        restarts: 2,
        snapshots: 1,
        campaigns: 1,
        fillings: 1,
        has_caught_up: true,
        ..Events::default()
    };
    seen[1].report.as_mut().expect("it told").repairs = 1;
    seen[0].events.has_taken_over = true;
    let told = judged(&seen);
    assert_eq!(told[..2], [(L, 5, "took_over"), (L, 1, "led")]);
    assert_eq!(
        told[2..8],
        [
            (A, -20, "restarted"),
            (A, -15, "snapshot_needed"),
            (A, -20, "campaigned"),
            (A, -50, "disk_full"),
            (A, -100, "repaired"),
            (A, 5, "caught_up"),
        ]
    );
    assert_eq!(told[8], (B, 1, "acknowledged_in_time"));
}

#[test]
fn who_lags_by_two_election_timeouts_is_far_behind() {
    let mut seen = [leader(1_000), follower(A, 1_000), follower(B, 1_000)];
    seen[1].lag_ms = 2_001;
    let told = judged(&seen);
    assert!(told.contains(&(A, -4, "far_behind")), "{told:?}");
    seen[1].lag_ms = 2_000;
    assert!(judged(&seen).iter().all(|one| one.2 != "far_behind"));
}
