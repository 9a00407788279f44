//! What one member measured about another in one window.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A member of the Raft configuration. Printed as 16 hexadecimal digits, in JSON too, whose
/// numbers don't hold 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for MemberId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for MemberId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let digits = String::deserialize(deserializer)?;
            u64::from_str_radix(&digits, 16)
                .map(Self)
                .map_err(de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

/// The number of a window within a term, contiguous from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Window(pub u64);

impl Window {
    /// The window after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How long acknowledgements took, in microseconds from sending a heartbeat to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckTimes {
    /// The median.
    pub p50_micros: u64,
    /// The 95th percentile (nearest rank: the largest where there are fewer than 20).
    pub p95_micros: u64,
    /// The longest.
    pub max_micros: u64,
}

/// What the leader measured about one follower in one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The follower.
    pub member: MemberId,
    /// Heartbeats sent in this window.
    pub heartbeats_sent: u32,
    /// Heartbeats whose acknowledgement arrived in this window, in time or late.
    pub heartbeats_acknowledged: u32,
    /// Heartbeats given up in this window: not acknowledged until the deadline. One sent shortly
    /// before the window's end is given up, or acknowledged, in a later one.
    pub heartbeats_missed: u32,
    /// How long the acknowledgements that arrived in this window took; `None` if there were none.
    pub ack_times: Option<AckTimes>,
    /// Log entries that the follower lacked at the window's end.
    pub lag_entries: u64,
    /// Time from the last message of the follower to the window's end, in milliseconds; `None` if
    /// it was never heard by this leader.
    pub last_heard_ms: Option<u64>,
}

/// The measured intervals of one member in one window, as the ledger keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The heartbeat interval that was configured, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// What was measured.
    pub observation: Observation,
}
