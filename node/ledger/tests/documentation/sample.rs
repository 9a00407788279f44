//! Sixteen windows of three members. In term 2 `a` leads; the disk of `b` is slow in windows 3 to 6, and
//! two heartbeats to `c` are missed in window 5. Then `a` hands over to `c`, and `b` starts again.

use raftery_behaviour::{
    Events, MemberId, Observation, Reason, Report, Rules, Scoring, Times, Verdict, Window,
};
use raftery_ledger::{Ledger, LedgerBatch, LedgerRow};

/// 2026-01-01.
const BEGIN_UNIX_MS: u64 = 1_767_225_600_000;
const A: MemberId = MemberId(0xa);
const B: MemberId = MemberId(0xb);
const C: MemberId = MemberId(0xc);
/// Windows of term 2; the others are of term 3.
const FIRST_TERM: u64 = 10;
const WINDOWS: u64 = 16;

pub(super) fn rows() -> Vec<LedgerRow> {
    let mut ledger = Ledger::new();
    for at in 0..WINDOWS {
        let batch = batch(at);
        let term = batch.term;
        ledger.apply_batch(100 + 2 * at, term, &batch, &Scoring::default());
    }
    let in_memory = ledger.rows(0, usize::MAX).load(Err).unwrap();
    in_memory.decode().unwrap().rows
}

fn batch(at: u64) -> LedgerBatch {
    let (term, window, leader) = if at < FIRST_TERM {
        (2, at, A)
    } else {
        (3, at - FIRST_TERM, C)
    };
    let members = [A, B, C];
    let mut verdicts: Vec<Verdict> = members
        .iter()
        .map(|member| verdict(*member, leader, at))
        .collect();
    if at == FIRST_TERM {
        verdicts.push(Verdict {
            member: C,
            points: 5,
            reason: Reason::TookOver,
        });
    }
    LedgerBatch {
        rules: Rules::HIGHEST,
        term,
        window: Window(window),
        at_unix_ms: BEGIN_UNIX_MS + 1_000 * (at + 1),
        window_ms: 1_000,
        scoring: (window == 0).then(Scoring::default),
        verdicts,
        intervals: members
            .iter()
            .map(|member| observation(*member, leader, at))
            .collect(),
    }
}

fn sync_p95_micros(member: MemberId, at: u64) -> u64 {
    match (member, at) {
        (B, 3..=6) => 20_000 + 5_000 * (at - 3),
        _ => 2_000 + member.0 + 10 * at,
    }
}

fn verdict(member: MemberId, leader: MemberId, at: u64) -> Verdict {
    let sync = sync_p95_micros(member, at);
    let (points, reason) = match (member, at) {
        (B, 3..=6) => {
            let points = if at < 5 { -3 } else { -8 };
            (
                points,
                Reason::SlowDisk {
                    sync_micros: sync,
                    median_micros: sync_p95_micros(C, at),
                },
            )
        }
        (B, 12) => (-10, Reason::Restarted { times: 1 }),
        (C, 5) => (
            -4,
            Reason::HeartbeatsMissed {
                missed: 2,
                acknowledged: 8,
            },
        ),
        _ if member == leader => (1, Reason::Led),
        _ => (1, Reason::AcknowledgedInTime { acknowledged: 10 }),
    };
    Verdict {
        member,
        points,
        reason,
    }
}

fn observation(member: MemberId, leader: MemberId, at: u64) -> Observation {
    let times = |p95_micros: u64| Times {
        p50_micros: p95_micros / 2,
        p95_micros,
        max_micros: p95_micros + 500,
    };
    let report = Report {
        syncs: Some(times(sync_p95_micros(member, at))),
        commits: Some(times(3_000)),
        heartbeat_interval_ms: 30,
        election_timeout_ms: 150,
        ..Report::default()
    };
    if member == leader {
        return Observation::of_leader(member, Events::default(), report);
    }
    let missed = if (member, at) == (C, 5) { 2 } else { 0 };
    Observation {
        heartbeats_sent: 10,
        heartbeats_acknowledged: 10 - missed,
        heartbeats_missed: missed,
        round_trips: Some(times(400)),
        appends: Some(times(sync_p95_micros(member, at) + 400)),
        last_heard_ms: Some(3),
        report: Some(report),
        ..Observation::blank(member)
    }
}
