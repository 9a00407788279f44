//! What a run is asked for and what it tells.

use std::time::Duration;

use crate::Faults;

/// What a run is asked for. The seed decides about all else.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// Events of the phase of chaos; healing comes on top.
    pub events: u64,
    /// Whether the disks are synced.
    pub syncs: Syncs,
}

/// Whether the disks are synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Syncs {
    /// As it should be.
    Done,
    /// Batches are acknowledged without a sync, to show that the simulator would notice.
    TakenOut,
}

/// What happened in a run without a violation.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Events, healing included.
    pub events: u64,
    /// Simulated time.
    pub elapsed: Duration,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Reads that were served.
    pub reads: u64,
    /// Leaders that were elected.
    pub elections: u64,
    /// Changes of membership that were committed.
    pub changes: u64,
    /// How often which fault happened.
    pub faults: Faults,
}

/// A property didn't hold.
#[derive(Clone, Debug, thiserror::Error)]
#[error("seed {seed}, event {event}, {elapsed:?}: {property}: {what} (repeat with SEED={seed})")]
pub struct Violation {
    /// The seed: the same one does it again.
    pub seed: u64,
    /// The number of the event.
    pub event: u64,
    /// Simulated time.
    pub elapsed: Duration,
    /// Which property.
    pub property: &'static str,
    /// What was seen.
    pub what: String,
}
