//! What the ledger takes of a member's memory.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail like the tests themselves"
)]

use raftery_behaviour::{
    MemberId, Observation, Reason, Report, Rules, Scoring, Times, Verdict, Window,
};
use raftery_ledger::{Ledger, LedgerBatch, RETAINED_BATCHES_MAX};

/// So many at once, so that the rest of the process counts for little.
const LEDGERS: u64 = 8;
const MEMBERS: u64 = 5;
const BYTES_MAX: u64 = 2 << 20;

/// Busy members, whose figures differ from window to window.
fn batch(window: u64) -> LedgerBatch {
    let times = Some(Times {
        p50_micros: 1_000 + window % 977,
        p95_micros: 2_000 + window % 1_009,
        max_micros: 30_000 + window % 9_973,
    });
    let member = |of: u64| MemberId(u64::MAX - of);
    let verdict = |of| Verdict {
        member: member(of),
        points: 1,
        reason: Reason::AcknowledgedInTime { acknowledged: 34 },
    };
    let interval = |of| Observation {
        heartbeats_sent: 34,
        heartbeats_acknowledged: 34,
        round_trips: times,
        round_trip_min_micros: Some(300),
        appends: times,
        last_heard_ms: Some(30),
        report: Some(Report {
            syncs: times,
            oldest_write_micros: 0,
            lateness: times,
            commits: times,
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1_000,
            ..Report::default()
        }),
        ..Observation::blank(member(of))
    };
    LedgerBatch {
        rules: Rules::HIGHEST,
        scoring: None,
        term: 3,
        window: Window(window),
        at_unix_ms: 1_700_000_000_000 + window * 1_000,
        window_ms: 1_000,
        verdicts: (0..MEMBERS).map(verdict).collect(),
        intervals: (0..MEMBERS).map(interval).collect(),
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}

#[test]
fn twelve_hours_of_five_members_take_less_than_two_mebibytes_of_memory() {
    let before = resident_bytes();
    let retained = RETAINED_BATCHES_MAX as u64;
    let mut on_disk = 0;
    let ledgers: Vec<Ledger> = (0..LEDGERS)
        .map(|_| {
            let mut ledger = Ledger::new();
            // Until each number that wraps did, and the last block is nearly full.
            for window in 0..retained + 255 {
                on_disk += ledger.full_block().map_or(0, |(_, bytes)| bytes.len());
                ledger.apply_batch(
                    1_000_000 + 40_000 * window,
                    3,
                    &batch(window),
                    &Scoring::default(),
                );
            }
            ledger
        })
        .collect();
    let each = (resident_bytes() - before) / LEDGERS;
    let on_disk = on_disk as u64 / LEDGERS;
    println!("{each} bytes of memory, {on_disk} of disk");
    assert!(each <= BYTES_MAX, "{each} bytes");
    for ledger in &ledgers {
        assert_eq!(ledger.pending(), retained);
    }
}
