//! What a run is asked for and what it tells.

use std::time::Duration;

use raftery_raft::{ConfChange, Entry, MemberChange, Payload};

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
    /// Deletes that were acknowledged.
    pub deleted: u64,
    /// Compactions that were acknowledged.
    pub compactions: u64,
    /// Reads that were served.
    pub reads: u64,
    /// Reads that were served on a lease.
    pub lease_reads: u64,
    /// Leaders that were elected.
    pub elections: u64,
    /// Changes of membership that were committed.
    pub changes: u64,
    /// Voters that they made learners.
    pub demoted: u64,
    /// Joint configurations among them.
    pub joint: u64,
    /// Times that the log was cut.
    pub cuts: u64,
    /// Manifests that were written.
    pub checkpoints: u64,
    /// Segments of stores that were rewritten.
    pub rewrites: u64,
    /// Snapshots that arrived whole.
    pub snapshots: u64,
    /// Snapshots that took a state's place.
    pub installed: u64,
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
        self.deleted += other.deleted;
        self.compactions += other.compactions;
        self.reads += other.reads;
        self.lease_reads += other.lease_reads;
        self.elections += other.elections;
        self.changes += other.changes;
        self.demoted += other.demoted;
        self.joint += other.joint;
        self.cuts += other.cuts;
        self.checkpoints += other.checkpoints;
        self.rewrites += other.rewrites;
        self.snapshots += other.snapshots;
        self.installed += other.installed;
        self.transfers += other.transfers;
        self.faults.add(&other.faults);
    }

    /// A leader has committed these.
    pub(crate) fn count_changes(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Payload::ConfChange(change) = &entry.payload else {
                continue;
            };
            self.changes += 1;
            match change {
                ConfChange::LeaveJoint => self.joint += 1,
                ConfChange::Change { changes } => {
                    let is_demoted =
                        |change: &&MemberChange| matches!(change, MemberChange::Demote { .. });
                    self.demoted += changes.iter().filter(is_demoted).count() as u64;
                }
                ConfChange::Found { .. }
                | ConfChange::AddLearner { .. }
                | ConfChange::Promote { .. }
                | ConfChange::Remove { .. } => {}
            }
        }
    }

    /// What was done, with its count.
    pub fn work(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("acknowledged writes", self.acknowledged),
            ("compare-and-puts that took effect", self.swapped),
            ("compare-and-puts that didn't", self.not_swapped),
            ("deletes", self.deleted),
            ("compactions", self.compactions),
            ("reads", self.reads),
            ("reads on a lease", self.lease_reads),
            ("elections", self.elections),
            ("transfers", self.transfers),
            ("changes of membership", self.changes),
            ("voters that became learners", self.demoted),
            ("joint configurations", self.joint),
            ("cuts of logs", self.cuts),
            ("checkpoints", self.checkpoints),
            ("rewrites", self.rewrites),
            ("snapshots that arrived", self.snapshots),
            ("snapshots that were installed", self.installed),
        ]
        .into_iter()
    }

    /// What should have happened and never did, in runs enough for all of it.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        let kinds = self.work().chain(self.faults.kinds());
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
