//! How bad the weather is, and what it did.

use std::time::Duration;

use fastrand::Rng;

/// How often which fault happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Messages that the network lost.
    pub dropped: u64,
    /// Messages that took much longer than usual.
    pub delayed: u64,
    /// Messages that overtook an earlier one of the same sender to the same receiver.
    pub reordered: u64,
    /// Messages that arrived twice.
    pub duplicated: u64,
    /// Messages that a partition stopped.
    pub partitioned: u64,
    /// Crashes.
    pub crashes: u64,
    /// Crashes of a leader.
    pub leader_crashes: u64,
    /// Crashes that discarded every unsynced byte, with unsynced batches there.
    pub discarded: u64,
    /// Crashes that kept, lost or mangled each unsynced sector by chance, with some there.
    pub torn: u64,
    /// Syncs that took much longer than usual.
    pub slow_syncs: u64,
}

impl Faults {
    /// Each kind with its count.
    #[must_use]
    pub fn kinds(&self) -> [(&'static str, u64); 10] {
        [
            ("dropped messages", self.dropped),
            ("delayed messages", self.delayed),
            ("reordered messages", self.reordered),
            ("duplicated messages", self.duplicated),
            ("partitioned messages", self.partitioned),
            ("crashes", self.crashes),
            ("crashes of leaders", self.leader_crashes),
            ("discarded unsynced bytes", self.discarded),
            ("torn writes", self.torn),
            ("slow syncs", self.slow_syncs),
        ]
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.dropped += other.dropped;
        self.delayed += other.delayed;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.partitioned += other.partitioned;
        self.crashes += other.crashes;
        self.leader_crashes += other.leader_crashes;
        self.discarded += other.discarded;
        self.torn += other.torn;
        self.slow_syncs += other.slow_syncs;
    }
}

/// How likely and how often faults are in one run; drawn from the seed, so that some runs are
/// calm in one way and wild in another.
#[derive(Debug)]
pub(crate) struct Weather {
    /// Of a thousand messages.
    pub(crate) dropped: u32,
    pub(crate) delayed: u32,
    pub(crate) duplicated: u32,
    /// Of a thousand syncs.
    pub(crate) slow_syncs: u32,
    /// Mean time between.
    pub(crate) crash_every: Duration,
    pub(crate) partition_every: Duration,
}

impl Weather {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            dropped: rng.u32(0..80),
            delayed: rng.u32(0..60),
            duplicated: rng.u32(0..60),
            slow_syncs: rng.u32(0..30),
            crash_every: Duration::from_millis(rng.u64(600..3000)),
            partition_every: Duration::from_millis(rng.u64(800..4000)),
        }
    }

    /// The phase of healing.
    pub(crate) fn calm() -> Self {
        Self {
            dropped: 0,
            delayed: 0,
            duplicated: 0,
            slow_syncs: 0,
            crash_every: Duration::MAX,
            partition_every: Duration::MAX,
        }
    }
}

/// Whether something with so many chances of a thousand happens.
pub(crate) fn happens(rng: &mut Rng, per_mille: u32) -> bool {
    rng.u32(0..1000) < per_mille
}

/// A time between `from` and `to`, in microseconds.
pub(crate) fn micros(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_micros(rng.u64(from..to))
}

/// A time from half to one and a half of `mean`.
pub(crate) fn around(rng: &mut Rng, mean: Duration) -> Duration {
    mean / 2 + mean.mul_f64(rng.f64())
}
