//! What the leader writes to the log for each window.

use std::sync::Arc;

use raftery_behaviour::{Interval, Verdict, Window};
use serde::{Deserialize, Serialize};

/// One window as the leader saw it. Travels postcard-encoded in the Raft log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerBatch {
    /// The term in which the leader judged.
    pub term: u64,
    /// The window within the term.
    pub window: Window,
    /// The leader's wall clock at the window's end, in milliseconds since 1970. For the reader
    /// only; nothing is decided by it.
    pub at_unix_ms: u64,
    /// How long the window was, in milliseconds.
    pub window_ms: u64,
    /// One verdict for each follower.
    pub verdicts: Vec<Verdict>,
    /// What was measured, one for each follower.
    pub intervals: Vec<Interval>,
}

/// A batch with its place in the Raft log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The Raft index of the entry that carried the batch.
    pub index: u64,
    /// The batch, shared: exporting and listing copy nothing.
    pub batch: Arc<LedgerBatch>,
}
