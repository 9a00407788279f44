//! What a node shows of its ledger as JSON: for people and scripts as it stands, and lossless, so
//! that who reads it can compute the chain of hashes again.

use std::sync::Arc;

use raftery_behaviour::{MemberId, Observation, Reason, Rules, Scoring, Verdict, Window};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{Chain, LedgerBatch, LedgerRow};
use crate::state::{Gap, Standing};

/// A stretch of the ledger, with how the whole stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerPage {
    /// The history that the batches belong to, hexadecimal.
    pub lineage: String,
    /// Raft index of the oldest retained batch; 0: none.
    pub oldest_index: u64,
    /// Raft index of the newest batch; 0: none.
    pub last_index: u64,
    /// Up to which Raft index everything is in MongoDB; 0: nothing yet.
    pub exported_index: u64,
    /// The hash of all batches before the first row here; null where there is no row.
    pub chain_before: Option<Chain>,
    /// What was dropped before it was exported.
    pub gaps: Vec<Gap>,
    /// How members are judged now.
    pub scoring: Scoring,
    /// The members, by ID.
    pub members: Vec<MemberPage>,
    /// The batches, oldest first.
    pub rows: Vec<RowPage>,
}

/// A member and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberPage {
    /// The member.
    pub id: MemberId,
    /// Its name; empty until the node has joined.
    pub name: String,
    /// What is known about it; null until it is judged.
    pub standing: Option<StandingPage>,
}

/// What is known about a member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandingPage {
    /// Is it slow now? 1 (no) to 100.
    pub fast: i32,
    /// Has it been good? -1000 to 1000.
    pub slow: i32,
    /// The gravest verdict in the last window in which it was judged.
    pub last_verdict: VerdictPage,
    /// The term of that verdict.
    pub term: u64,
    /// The window of that verdict.
    pub window: Window,
}

/// A batch with its place in the Raft log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowPage {
    /// The Raft index of the entry that carried the batch.
    pub index: u64,
    /// The hash of it and of all before it.
    pub chain: Chain,
    /// The rules by which it is scored.
    pub rules: Rules,
    /// The term in which the leader judged.
    pub term: u64,
    /// The window within the term.
    pub window: Window,
    /// The leader's wall clock at the window's end, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// How long the window was, in milliseconds.
    pub window_ms: u64,
    /// How members are judged from here on; null: as before.
    pub scoring: Option<Scoring>,
    /// What members earned.
    pub verdicts: Vec<VerdictPage>,
    /// What was measured.
    pub intervals: Vec<Observation>,
}

/// A verdict, its reason by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictPage {
    /// Who was judged.
    pub member: MemberId,
    /// `reward`, `penalty` or `neutral`.
    pub kind: String,
    /// What it is worth.
    pub points: i32,
    /// Why, by name.
    pub reason: String,
    /// The figures that decided it; null where there are none.
    #[serde(default)]
    pub details: Value,
}

/// A page names a reason, or figures of one, that this build doesn't know.
#[derive(Debug, thiserror::Error)]
#[error(
    "the verdict `{reason}` of the batch at index {index} can't be read ({source}): is the node newer?"
)]
pub struct PageError {
    index: u64,
    reason: String,
    #[source]
    source: serde_json::Error,
}

impl From<&LedgerRow> for RowPage {
    fn from(row: &LedgerRow) -> Self {
        let batch = &row.batch;
        Self {
            index: row.index,
            chain: row.chain,
            rules: batch.rules,
            term: batch.term,
            window: batch.window,
            at_unix_ms: batch.at_unix_ms,
            window_ms: batch.window_ms,
            scoring: batch.scoring,
            verdicts: batch.verdicts.iter().map(VerdictPage::from).collect(),
            intervals: batch.intervals.clone(),
        }
    }
}

impl RowPage {
    /// The row as it stands in the ledger.
    ///
    /// # Errors
    /// When a newer node wrote it.
    pub fn row(&self) -> Result<LedgerRow, PageError> {
        let verdict = |page: &VerdictPage| {
            page.verdict().map_err(|source| PageError {
                index: self.index,
                reason: page.reason.clone(),
                source,
            })
        };
        let batch = LedgerBatch {
            rules: self.rules,
            term: self.term,
            window: self.window,
            at_unix_ms: self.at_unix_ms,
            window_ms: self.window_ms,
            scoring: self.scoring,
            verdicts: self
                .verdicts
                .iter()
                .map(verdict)
                .collect::<Result<_, _>>()?,
            intervals: self.intervals.clone(),
        };
        Ok(LedgerRow {
            index: self.index,
            chain: self.chain,
            batch: Arc::new(batch),
        })
    }
}

impl From<&Standing> for StandingPage {
    fn from(standing: &Standing) -> Self {
        Self {
            fast: standing.score.fast(),
            slow: standing.score.slow(),
            last_verdict: VerdictPage::from(&standing.last_verdict),
            term: standing.term,
            window: standing.window,
        }
    }
}

impl From<&Verdict> for VerdictPage {
    fn from(verdict: &Verdict) -> Self {
        let reason =
            serde_json::to_value(&verdict.reason).expect("names and numbers always encode");
        let details = match reason {
            Value::Object(mut fields) => fields.remove(verdict.reason.name()),
            _ => None,
        };
        Self {
            member: verdict.member,
            kind: verdict.kind().name().to_owned(),
            points: verdict.points,
            reason: verdict.reason.name().to_owned(),
            details: details.unwrap_or(Value::Null),
        }
    }
}

impl VerdictPage {
    fn verdict(&self) -> Result<Verdict, serde_json::Error> {
        let reason = if self.details.is_null() {
            Value::String(self.reason.clone())
        } else {
            Value::from_iter([(self.reason.clone(), self.details.clone())])
        };
        let reason: Reason = serde_json::from_value(reason)?;
        Ok(Verdict {
            member: self.member,
            points: self.points,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use raftery_behaviour::{Events, Report, Times};

    use super::*;

    /// Every reason there is; the match makes the compiler ask for new ones.
    fn reasons() -> Vec<Reason> {
        let all = vec![
            Reason::AcknowledgedInTime { acknowledged: 10 },
            Reason::Led,
            Reason::HeartbeatsMissed {
                missed: 1,
                acknowledged: 9,
            },
            Reason::Unreachable {
                last_heard_ms: None,
            },
            Reason::Unreachable {
                last_heard_ms: Some(u64::MAX),
            },
            Reason::NotMeasured,
            Reason::SlowDisk {
                sync_micros: 9,
                median_micros: 1,
            },
            Reason::SlowAcknowledgements {
                append_micros: 9,
                median_micros: 1,
            },
            Reason::SlowLinks {
                slow: 1,
                links: 2,
                fast_micros: 3,
            },
            Reason::FarBehind {
                lag_ms: 5,
                limit_ms: 4,
            },
            Reason::CaughtUp,
            Reason::TookOver,
            Reason::Campaigned { times: 1 },
            Reason::Restarted { times: 1 },
            Reason::SnapshotNeeded { times: 1 },
            Reason::Repaired { times: 1 },
            Reason::DiskFull { times: 1 },
            Reason::JudgedByFollowers {
                windows: 3,
                slow: 2,
                term: 1,
            },
        ];
        for reason in &all {
            match reason {
                Reason::AcknowledgedInTime { .. }
                | Reason::Led
                | Reason::HeartbeatsMissed { .. }
                | Reason::Unreachable { .. }
                | Reason::NotMeasured
                | Reason::SlowDisk { .. }
                | Reason::SlowAcknowledgements { .. }
                | Reason::SlowLinks { .. }
                | Reason::FarBehind { .. }
                | Reason::CaughtUp
                | Reason::TookOver
                | Reason::Campaigned { .. }
                | Reason::Restarted { .. }
                | Reason::SnapshotNeeded { .. }
                | Reason::Repaired { .. }
                | Reason::DiskFull { .. }
                | Reason::JudgedByFollowers { .. } => {}
            }
        }
        all
    }

    fn row() -> LedgerRow {
        let times = Times {
            p50_micros: 1,
            p95_micros: 2,
            max_micros: u64::MAX,
        };
        let report = Report {
            syncs: Some(times),
            ..Report::default()
        };
        let events = Events {
            restarts: 1,
            ..Events::default()
        };
        let verdict = |reason| Verdict {
            member: MemberId(u64::MAX),
            points: -7,
            reason,
        };
        let batch = LedgerBatch {
            rules: Rules::HIGHEST,
            term: u64::MAX,
            window: Window(7),
            at_unix_ms: 1,
            window_ms: 1_000,
            scoring: Some(Scoring::default()),
            verdicts: reasons().into_iter().map(verdict).collect(),
            intervals: vec![
                Observation::of_leader(MemberId(0xab), events, report),
                Observation {
                    last_heard_ms: Some(3),
                    round_trips: Some(times),
                    ..Observation::blank(MemberId(1))
                },
            ],
        };
        LedgerRow {
            index: 9,
            chain: Chain::default().after(9, &batch),
            batch: Arc::new(batch),
        }
    }

    #[test]
    fn a_row_comes_back_from_json_with_the_same_chain() {
        let row = row();
        let json = serde_json::to_string(&RowPage::from(&row)).unwrap();
        let read: RowPage = serde_json::from_str(&json).unwrap();
        let read = read.row().unwrap();
        assert_eq!(read, row);
        assert_eq!(Chain::default().after(read.index, &read.batch), row.chain);
    }

    #[test]
    fn a_verdict_reads_well_in_json() {
        let json = serde_json::to_value(RowPage::from(&row())).unwrap();
        assert_eq!(
            json["verdicts"][6],
            serde_json::json!({
                "member": "ffffffffffffffff", "kind": "penalty", "points": -7, "reason": "slow_disk",
                "details": { "sync_micros": 9, "median_micros": 1 },
            })
        );
        assert_eq!(json["verdicts"][1]["details"], Value::Null);
        assert_eq!(json["chain"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn a_reason_of_a_newer_node_is_told() {
        let mut page = RowPage::from(&row());
        page.verdicts[0].reason = "too_loud".to_owned();
        let told = page.row().unwrap_err().to_string();
        assert!(
            told.contains("too_loud") && told.contains("index 9"),
            "{told}"
        );
    }
}
