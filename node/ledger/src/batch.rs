//! What the leader writes to the log for each window.

use std::fmt;
use std::sync::Arc;

use raftery_behaviour::{Observation, Rules, Scoring, Verdict, Window};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// One window as the leader saw it. Travels postcard-encoded in the Raft log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerBatch {
    /// The rules by which it is scored.
    pub rules: Rules,
    /// The term in which the leader judged.
    pub term: u64,
    /// The window within the term.
    pub window: Window,
    /// The leader's wall clock at the window's end, in milliseconds since 1970. For the reader
    /// only; nothing is decided by it.
    pub at_unix_ms: u64,
    /// How long the window was, in milliseconds.
    pub window_ms: u64,
    /// How members are judged from here on; `None`: as before. Every term's first batch says so.
    pub scoring: Option<Scoring>,
    /// What members earned, the leader among them; in the order of the intervals, and for a former
    /// leader at the end.
    pub verdicts: Vec<Verdict>,
    /// What was measured, one for each member.
    pub intervals: Vec<Observation>,
}

impl LedgerBatch {
    /// As it stands in the log.
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("numbers and lists always encode")
    }
}

/// The hash of a batch and of all before it. Printed as 64 hexadecimal digits, in JSON too.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain([u8; 32]);

impl Chain {
    /// The hash after one more batch: SHA-256 of this hash, the batch's Raft index (little-endian)
    /// and the batch as it stands in the log.
    #[must_use]
    pub fn after(self, index: u64, batch: &LedgerBatch) -> Self {
        self.after_encoded(index, &batch.encode())
    }

    pub(crate) fn after_encoded(self, index: u64, batch: &[u8]) -> Self {
        let hash = Sha256::new()
            .chain_update(self.0)
            .chain_update(index.to_le_bytes())
            .chain_update(batch)
            .finalize();
        Self(hash.into())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Chain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 32]>::deserialize(deserializer).map(Self);
        }
        let mut hash = [0; 32];
        let digits = String::deserialize(deserializer)?;
        hex::decode_to_slice(&digits, &mut hash).map_err(de::Error::custom)?;
        Ok(Self(hash))
    }
}

/// A batch with its place in the Raft log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The Raft index of the entry that carried the batch.
    pub index: u64,
    /// The hash of it and of all before it: who holds two rows that follow each other can tell that
    /// nothing between or in them was changed.
    pub chain: Chain,
    /// The batch, shared: who passes it on copies nothing.
    pub batch: Arc<LedgerBatch>,
}

#[cfg(test)]
mod tests {
    use raftery_behaviour::{MemberId, Reason, Report, Times};

    use super::*;

    #[test]
    fn a_window_of_five_busy_members_takes_less_than_a_kibibyte_of_the_log() {
        let times = Some(Times {
            p50_micros: 30_000,
            p95_micros: 900_000,
            max_micros: 3_000_000,
        });
        let member = |of: u64| MemberId(u64::MAX - of);
        let interval = |of| Observation {
            heartbeats_sent: 34,
            heartbeats_acknowledged: 34,
            round_trips: times,
            round_trip_min_micros: Some(30_000),
            appends: times,
            lag_ms: 2_000,
            lag_entries: 100_000,
            last_heard_ms: Some(30),
            report: Some(Report {
                syncs: times,
                oldest_write_micros: 900_000,
                lateness: times,
                commits: times,
                heartbeat_interval_ms: 100,
                election_timeout_ms: 1_000,
                ..Report::default()
            }),
            ..Observation::blank(member(of))
        };
        let verdict = |of| Verdict {
            member: member(of),
            points: -8,
            reason: Reason::SlowDisk {
                sync_micros: 900_000,
                median_micros: 9_000,
            },
        };
        let batch = LedgerBatch {
            rules: Rules::HIGHEST,
            term: 100_000,
            window: Window(1_000_000),
            at_unix_ms: 1_800_000_000_000,
            window_ms: 1_000,
            scoring: None,
            verdicts: (0..5).map(verdict).collect(),
            intervals: (0..5).map(interval).collect(),
        };
        let bytes = postcard::to_stdvec(&batch).unwrap().len();
        assert!(bytes <= 1_024, "{bytes} bytes");
    }
}
