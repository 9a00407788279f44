//! Documents: what MongoDB stores of a batch. Built from the batch and nothing else, so that
//! every attempt, by whichever leader, makes the same bytes.
//!
//! All collections share the head of a document:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `_id` | `{lineage: string, index: int64, ordinal: int64}` | history, Raft index, place in the batch |
//! | `schema` | int32 | version of this shape |
//! | `term`, `window` | int64 | where the batch belongs |
//! | `at` | date | the leader's wall clock at the window's end |
//! | `window_ms` | int64 | length of the window |
//! | `member` | string | hexadecimal member ID (not in `scorings`) |
//! | `chain` | string | hexadecimal SHA-256 of this batch and all before it |
//! | `hash` | string | hexadecimal SHA-256 of the document's BSON bytes without this field, which is the last |
//!
//! `rewards` adds `kind` (`reward`, `penalty` or `neutral`), `points`, `reason` and `details`;
//! `intervals` adds what was measured, with the unit in each name; `scorings` says how members are
//! judged from there on.

use mongodb::bson::{DateTime, Document, doc};
use raftery_behaviour::{MemberId, Observation, Reason, Report, Scoring, Times, Verdict};
use sha2::{Digest, Sha256};

use crate::batch::LedgerRow;

/// The collection of verdicts.
pub const REWARDS: &str = "rewards";
/// The collection of measured intervals.
pub const INTERVALS: &str = "intervals";
/// The collection of how members are judged.
pub const SCORINGS: &str = "scorings";
/// All of them.
pub const COLLECTIONS: [&str; 3] = [REWARDS, INTERVALS, SCORINGS];
/// The version of the documents' shape.
pub const SCHEMA: i32 = 2;

/// The documents of one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Documents {
    /// For the collection [`REWARDS`], one for each verdict.
    pub rewards: Vec<Document>,
    /// For the collection [`INTERVALS`], one for each interval.
    pub intervals: Vec<Document>,
    /// For the collection [`SCORINGS`], one where the batch says how members are judged.
    pub scorings: Vec<Document>,
}

/// Makes the documents of a batch. `lineage` is the hexadecimal name of the history.
#[must_use]
pub fn documents(lineage: &str, row: &LedgerRow) -> Documents {
    let head = |ordinal: usize| {
        doc! {
            "_id": { "lineage": lineage, "index": int64(row.index), "ordinal": ordinal as i64 },
            "schema": SCHEMA,
            "term": int64(row.batch.term),
            "window": int64(row.batch.window.0),
            "at": DateTime::from_millis(int64(row.batch.at_unix_ms)),
            "window_ms": int64(row.batch.window_ms),
            "chain": row.chain.to_string(),
        }
    };
    let about = |ordinal: usize, member: MemberId, body: Document| {
        let mut document = head(ordinal);
        document.insert("member", member.to_string());
        document.extend(body);
        sealed(document)
    };
    let reward = |(ordinal, verdict): (usize, &Verdict)| {
        about(ordinal, verdict.member, verdict_body(verdict))
    };
    let interval =
        |(ordinal, seen): (usize, &Observation)| about(ordinal, seen.member, interval_body(seen));
    let scoring = |scoring: &Scoring| {
        let mut document = head(0);
        document.extend(scoring_body(scoring));
        sealed(document)
    };
    Documents {
        rewards: row.batch.verdicts.iter().enumerate().map(reward).collect(),
        intervals: row
            .batch
            .intervals
            .iter()
            .enumerate()
            .map(interval)
            .collect(),
        scorings: row.batch.scoring.iter().map(scoring).collect(),
    }
}

fn verdict_body(verdict: &Verdict) -> Document {
    doc! {
        "kind": verdict.kind().name(),
        "points": verdict.points,
        "reason": verdict.reason.name(),
        "details": details(&verdict.reason),
    }
}

fn details(reason: &Reason) -> Document {
    match reason {
        Reason::AcknowledgedInTime { acknowledged } => {
            doc! { "acknowledged": i64::from(*acknowledged) }
        }
        Reason::HeartbeatsMissed {
            missed,
            acknowledged,
        } => doc! {
            "missed": i64::from(*missed),
            "acknowledged": i64::from(*acknowledged),
        },
        Reason::Unreachable { last_heard_ms } => {
            doc! { "last_heard_ms": last_heard_ms.map(int64) }
        }
        Reason::SlowDisk {
            sync_micros,
            median_micros,
        } => doc! {
            "sync_p95_us": int64(*sync_micros),
            "median_us": int64(*median_micros),
        },
        Reason::SlowAcknowledgements {
            append_micros,
            median_micros,
        } => doc! {
            "append_p95_us": int64(*append_micros),
            "median_us": int64(*median_micros),
        },
        Reason::SlowLinks {
            slow,
            links,
            fast_micros,
        } => doc! {
            "slow": i64::from(*slow),
            "links": i64::from(*links),
            "fast_us": int64(*fast_micros),
        },
        Reason::FarBehind { lag_ms, limit_ms } => doc! {
            "lag_ms": int64(*lag_ms),
            "limit_ms": int64(*limit_ms),
        },
        Reason::Campaigned { times }
        | Reason::Restarted { times }
        | Reason::SnapshotNeeded { times }
        | Reason::Repaired { times }
        | Reason::DiskFull { times } => doc! { "times": i64::from(*times) },
        Reason::JudgedByFollowers {
            windows,
            slow,
            term,
        } => doc! {
            "windows": i64::from(*windows),
            "slow": i64::from(*slow),
            "led_in_term": int64(*term),
        },
        Reason::Led | Reason::NotMeasured | Reason::CaughtUp | Reason::TookOver => Document::new(),
    }
}

fn interval_body(seen: &Observation) -> Document {
    let mut document = doc! {
        "is_leader": seen.is_leader,
        "heartbeats_sent": i64::from(seen.heartbeats_sent),
        "heartbeats_acknowledged": i64::from(seen.heartbeats_acknowledged),
        "heartbeats_missed": i64::from(seen.heartbeats_missed),
    };
    document.extend(times("round_trip", seen.round_trips));
    document.extend(times("append", seen.appends));
    document.extend(doc! {
        "last_heard_ms": seen.last_heard_ms.map(int64),
        "lag_ms": int64(seen.lag_ms),
        "lag_entries": int64(seen.lag_entries),
    });
    let unsaid = Report::default();
    let report = seen.report.as_ref().unwrap_or(&unsaid);
    document.insert("has_report", seen.report.is_some());
    document.extend(times("sync", report.syncs));
    document.insert("oldest_write_us", int64(report.oldest_write_micros));
    document.extend(times("lateness", report.lateness));
    document.extend(times("commit", report.commits));
    document.extend(doc! {
        "heartbeat_interval_ms": int64(report.heartbeat_interval_ms),
        "election_timeout_ms": int64(report.election_timeout_ms),
    });
    document
}

/// `NAME_p50_us`, `NAME_p95_us` and `NAME_max_us`; null where nothing was measured.
fn times(name: &str, times: Option<Times>) -> Document {
    let mut document = Document::new();
    for (part, micros) in [
        ("p50", times.map(|times| times.p50_micros)),
        ("p95", times.map(|times| times.p95_micros)),
        ("max", times.map(|times| times.max_micros)),
    ] {
        document.insert(format!("{name}_{part}_us"), micros.map(int64));
    }
    document
}

fn scoring_body(scoring: &Scoring) -> Document {
    let points = &scoring.points;
    doc! {
        "judging_window_ms": int64(scoring.window_ms),
        "slow_ratio": i64::from(scoring.slow_ratio),
        "floor_us": int64(scoring.floor_micros),
        "half_life_ms": int64(scoring.half_life_ms),
        "recovery_ms": int64(scoring.recovery_ms),
        "points": {
            "healthy": points.healthy,
            "caught_up": points.caught_up,
            "took_over": points.took_over,
            "missed": points.missed,
            "unreachable": points.unreachable,
            "slow": points.slow,
            "very_slow": points.very_slow,
            "far_behind": points.far_behind,
            "campaigned": points.campaigned,
            "restarted": points.restarted,
            "snapshot": points.snapshot,
            "repaired": points.repaired,
            "full": points.full,
            "judged": points.judged,
        },
    }
}

fn sealed(mut document: Document) -> Document {
    let hash = hash(&document).expect("strings, numbers and dates always encode");
    document.insert("hash", hash);
    document
}

fn hash(body: &Document) -> Result<String, mongodb::bson::error::Error> {
    Ok(hex::encode(Sha256::digest(body.to_vec()?)))
}

/// Whether a stored document is still what its hash says.
#[must_use]
pub fn is_intact(document: &Document) -> bool {
    let mut body = document.clone();
    let stored = body.remove("hash");
    hash(&body).is_ok_and(|hash| stored == Some(hash.into()))
}

/// BSON has no unsigned numbers. What we count stays far below the bound; only a clock gone mad
/// could come near it, and a capped date is as good as its own.
fn int64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raftery_behaviour::{Rules, Window};

    use super::*;
    use crate::batch::{Chain, LedgerBatch};

    fn row() -> LedgerRow {
        let missed = Reason::HeartbeatsMissed {
            missed: 2,
            acknowledged: 8,
        };
        let in_time = Reason::AcknowledgedInTime { acknowledged: 10 };
        let times = Times {
            p50_micros: 300,
            p95_micros: 900,
            max_micros: 950,
        };
        let observation = Observation {
            heartbeats_sent: 10,
            heartbeats_acknowledged: 8,
            heartbeats_missed: 2,
            round_trips: Some(times),
            lag_entries: 5,
            report: Some(Report {
                syncs: Some(times),
                heartbeat_interval_ms: 30,
                election_timeout_ms: 150,
                ..Report::default()
            }),
            ..Observation::blank(MemberId(0xabc))
        };
        let batch = LedgerBatch {
            rules: Rules::HIGHEST,
            term: 3,
            window: Window(7),
            at_unix_ms: 1_700_000_000_000,
            window_ms: 1000,
            scoring: Some(Scoring::default()),
            verdicts: vec![
                Verdict {
                    member: MemberId(0xabc),
                    points: -4,
                    reason: missed,
                },
                Verdict {
                    member: MemberId(u64::MAX),
                    points: 1,
                    reason: in_time,
                },
            ],
            intervals: vec![observation],
        };
        LedgerRow {
            index: 42,
            chain: Chain::default(),
            batch: Arc::new(batch),
        }
    }

    const NO_CHAIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn without_hash(document: &Document) -> Document {
        let mut document = document.clone();
        document.remove("hash");
        document
    }

    #[test]
    fn a_verdict_becomes_a_document_of_rewards() {
        let rewards = documents("00ff", &row()).rewards;
        assert_eq!(
            without_hash(&rewards[0]),
            doc! {
                "_id": { "lineage": "00ff", "index": 42_i64, "ordinal": 0_i64 },
                "schema": 2,
                "term": 3_i64,
                "window": 7_i64,
                "at": DateTime::from_millis(1_700_000_000_000),
                "window_ms": 1000_i64,
                "chain": NO_CHAIN,
                "member": "0000000000000abc",
                "kind": "penalty",
                "points": -4,
                "reason": "heartbeats_missed",
                "details": { "missed": 2_i64, "acknowledged": 8_i64 },
            }
        );
        assert_eq!(rewards[1].get_str("kind").unwrap(), "reward");
        assert_eq!(rewards[1].get_str("member").unwrap(), "ffffffffffffffff");
        let id = rewards[1].get_document("_id").unwrap();
        assert_eq!(id.get_i64("ordinal").unwrap(), 1);
    }

    #[test]
    fn an_interval_becomes_a_document_of_intervals() {
        let intervals = documents("00ff", &row()).intervals;
        assert_eq!(
            without_hash(&intervals[0]),
            doc! {
                "_id": { "lineage": "00ff", "index": 42_i64, "ordinal": 0_i64 },
                "schema": 2,
                "term": 3_i64,
                "window": 7_i64,
                "at": DateTime::from_millis(1_700_000_000_000),
                "window_ms": 1000_i64,
                "chain": NO_CHAIN,
                "member": "0000000000000abc",
                "is_leader": false,
                "heartbeats_sent": 10_i64,
                "heartbeats_acknowledged": 8_i64,
                "heartbeats_missed": 2_i64,
                "round_trip_p50_us": 300_i64,
                "round_trip_p95_us": 900_i64,
                "round_trip_max_us": 950_i64,
                "append_p50_us": mongodb::bson::Bson::Null,
                "append_p95_us": mongodb::bson::Bson::Null,
                "append_max_us": mongodb::bson::Bson::Null,
                "last_heard_ms": mongodb::bson::Bson::Null,
                "lag_ms": 0_i64,
                "lag_entries": 5_i64,
                "has_report": true,
                "sync_p50_us": 300_i64,
                "sync_p95_us": 900_i64,
                "sync_max_us": 950_i64,
                "oldest_write_us": 0_i64,
                "lateness_p50_us": mongodb::bson::Bson::Null,
                "lateness_p95_us": mongodb::bson::Bson::Null,
                "lateness_max_us": mongodb::bson::Bson::Null,
                "commit_p50_us": mongodb::bson::Bson::Null,
                "commit_p95_us": mongodb::bson::Bson::Null,
                "commit_max_us": mongodb::bson::Bson::Null,
                "heartbeat_interval_ms": 30_i64,
                "election_timeout_ms": 150_i64,
            }
        );
    }

    #[test]
    fn what_a_batch_says_of_judging_becomes_a_document_of_scorings() {
        let scorings = documents("00ff", &row()).scorings;
        assert_eq!(scorings.len(), 1);
        assert_eq!(scorings[0].get_i64("judging_window_ms").unwrap(), 1_000);
        let points = scorings[0].get_document("points").unwrap();
        assert_eq!(points.get_i32("very_slow").unwrap(), 8);
    }

    #[test]
    fn the_hash_is_that_of_the_body_and_the_same_every_time() {
        let first = documents("00ff", &row());
        assert_eq!(first, documents("00ff", &row()));
        let bytes = without_hash(&first.rewards[0]).to_vec().unwrap();
        let hash = hex::encode(Sha256::digest(bytes));
        assert_eq!(first.rewards[0].get_str("hash").unwrap(), hash);
        let last_field = first.rewards[0].keys().last();
        assert_eq!(last_field.map(String::as_str), Some("hash"));
        let other_lineage = documents("00fe", &row());
        assert_ne!(
            other_lineage.rewards[0].get("hash"),
            first.rewards[0].get("hash")
        );
    }
}
