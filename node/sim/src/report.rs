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
}

/// What happened in a run without a violation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Events, healing included.
    pub events: u64,
    /// Simulated time.
    pub elapsed: Duration,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Compare-and-puts among them that took effect.
    pub swapped: u64,
    /// Compare-and-puts among them that found another value.
    pub not_swapped: u64,
    /// Reads that were served.
    pub reads: u64,
    /// Leaders that were elected.
    pub elections: u64,
    /// Changes of membership that were committed.
    pub changes: u64,
    /// Leaders that told another member to campaign.
    pub transfers: u64,
    /// How often which fault happened.
    pub faults: Faults,
}

impl Report {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.elapsed += other.elapsed;
        self.acknowledged += other.acknowledged;
        self.swapped += other.swapped;
        self.not_swapped += other.not_swapped;
        self.reads += other.reads;
        self.elections += other.elections;
        self.changes += other.changes;
        self.transfers += other.transfers;
        self.faults.add(&other.faults);
    }

    /// What should have happened and never did, in runs enough for all of it.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        let work = [
            ("acknowledged writes", self.acknowledged),
            ("compare-and-puts that took effect", self.swapped),
            ("compare-and-puts that didn't", self.not_swapped),
            ("reads", self.reads),
            ("elections", self.elections),
            ("changes of membership", self.changes),
            ("transfers", self.transfers),
        ];
        let kinds = work.into_iter().chain(self.faults.kinds());
        kinds.filter(|(_, count)| *count == 0).map(|(kind, _)| kind)
    }
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

/// The property that is violated when the code under test panics.
pub const NO_PANIC: &str = "no assertion fails";
