//! Documents: what MongoDB stores of a batch. Built from the batch and nothing else, so that
//! every attempt, by whichever leader, makes the same bytes.
//!
//! Both collections share the head of a document:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `_id` | `{lineage: string, index: int64, ordinal: int64}` | history, Raft index, place in the batch |
//! | `schema` | int32 | version of this shape |
//! | `term`, `window` | int64 | where the batch belongs |
//! | `at` | date | the leader's wall clock at the window's end |
//! | `window_ms` | int64 | length of the window |
//! | `member` | string | hexadecimal member ID |
//! | `hash` | string | hexadecimal SHA-256 of the document's BSON bytes without this field, which is the last |
//!
//! `rewards` adds `kind` (`reward`, `penalty` or `neutral`), `points`, `reason` and `details`;
//! `intervals` adds what was measured, with the unit in each name.

use mongodb::bson::{DateTime, Document, doc};
use raftery_behaviour::{Interval, MemberId, Reason, Verdict};
use sha2::{Digest, Sha256};

use crate::batch::LedgerRow;

/// The collection of verdicts.
pub const REWARDS: &str = "rewards";
/// The collection of measured intervals.
pub const INTERVALS: &str = "intervals";
/// The version of the documents' shape.
pub const SCHEMA: i32 = 1;

/// The documents of one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Documents {
    /// For the collection [`REWARDS`], one for each verdict.
    pub rewards: Vec<Document>,
    /// For the collection [`INTERVALS`], one for each interval.
    pub intervals: Vec<Document>,
}

/// Makes the documents of a batch. `lineage` is the hexadecimal name of the history.
#[must_use]
pub fn documents(lineage: &str, row: &LedgerRow) -> Documents {
    let head = |ordinal: usize, member: MemberId| {
        doc! {
            "_id": { "lineage": lineage, "index": int64(row.index), "ordinal": ordinal as i64 },
            "schema": SCHEMA,
            "term": int64(row.batch.term),
            "window": int64(row.batch.window.0),
            "at": DateTime::from_millis(int64(row.batch.at_unix_ms)),
            "window_ms": int64(row.batch.window_ms),
            "member": member.to_string(),
        }
    };
    let reward = |(ordinal, verdict): (usize, &Verdict)| {
        let mut document = head(ordinal, verdict.member);
        document.extend(verdict_body(verdict));
        sealed(document)
    };
    let interval = |(ordinal, interval): (usize, &Interval)| {
        let mut document = head(ordinal, interval.observation.member);
        document.extend(interval_body(interval));
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
        Reason::AcknowledgedLate {
            p95_micros,
            limit_micros,
        } => doc! {
            "ack_p95_us": int64(*p95_micros),
            "limit_us": int64(*limit_micros),
        },
        Reason::FarBehind {
            lag_entries,
            limit_entries,
        } => doc! {
            "lag_entries": int64(*lag_entries),
            "limit_entries": int64(*limit_entries),
        },
        Reason::Unreachable { last_heard_ms } => {
            doc! { "last_heard_ms": last_heard_ms.map(int64) }
        }
        Reason::NotMeasured => Document::new(),
    }
}

fn interval_body(interval: &Interval) -> Document {
    let seen = &interval.observation;
    let times = seen.ack_times;
    doc! {
        "heartbeat_interval_ms": int64(interval.heartbeat_interval_ms),
        "heartbeats_sent": i64::from(seen.heartbeats_sent),
        "heartbeats_acknowledged": i64::from(seen.heartbeats_acknowledged),
        "heartbeats_missed": i64::from(seen.heartbeats_missed),
        "ack_p50_us": times.map(|times| int64(times.p50_micros)),
        "ack_p95_us": times.map(|times| int64(times.p95_micros)),
        "ack_max_us": times.map(|times| int64(times.max_micros)),
        "last_heard_ms": seen.last_heard_ms.map(int64),
        "lag_entries": int64(seen.lag_entries),
    }
}

fn sealed(mut document: Document) -> Document {
    let bytes = document
        .to_vec()
        .expect("strings, numbers and dates always encode");
    document.insert("hash", hex::encode(Sha256::digest(bytes)));
    document
}

/// BSON has no unsigned numbers. What we count stays far below the bound; only a clock gone mad
/// could come near it, and a capped date is as good as its own.
fn int64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raftery_behaviour::{AckTimes, Observation, Window};

    use super::*;
    use crate::batch::LedgerBatch;

    fn row() -> LedgerRow {
        let missed = Reason::HeartbeatsMissed {
            missed: 2,
            acknowledged: 8,
        };
        let in_time = Reason::AcknowledgedInTime { acknowledged: 10 };
        let times = AckTimes {
            p50_micros: 300,
            p95_micros: 900,
            max_micros: 950,
        };
        let observation = Observation {
            member: MemberId(0xabc),
            heartbeats_sent: 10,
            heartbeats_acknowledged: 8,
            heartbeats_missed: 2,
            ack_times: Some(times),
            lag_entries: 5,
            last_heard_ms: None,
        };
        let batch = LedgerBatch {
            term: 3,
            window: Window(7),
            at_unix_ms: 1_700_000_000_000,
            window_ms: 1000,
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
            intervals: vec![Interval {
                heartbeat_interval_ms: 100,
                observation,
            }],
        };
        LedgerRow {
            index: 42,
            batch: Arc::new(batch),
        }
    }

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
                "schema": 1,
                "term": 3_i64,
                "window": 7_i64,
                "at": DateTime::from_millis(1_700_000_000_000),
                "window_ms": 1000_i64,
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
                "schema": 1,
                "term": 3_i64,
                "window": 7_i64,
                "at": DateTime::from_millis(1_700_000_000_000),
                "window_ms": 1000_i64,
                "member": "0000000000000abc",
                "heartbeat_interval_ms": 100_i64,
                "heartbeats_sent": 10_i64,
                "heartbeats_acknowledged": 8_i64,
                "heartbeats_missed": 2_i64,
                "ack_p50_us": 300_i64,
                "ack_p95_us": 900_i64,
                "ack_max_us": 950_i64,
                "last_heard_ms": mongodb::bson::Bson::Null,
                "lag_entries": 5_i64,
            }
        );
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
