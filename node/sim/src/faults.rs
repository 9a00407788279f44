//! How bad the weather is, and what it did.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

macro_rules! faults {
    ($($name:ident: $text:literal,)*) => {
        /// How often which fault happened.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Faults {
            $(#[doc = concat!("Number of ", $text, ".")] pub $name: u64,)*
        }

        impl Faults {
            /// Each kind with its count.
            pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($text, self.$name)),*].into_iter()
            }

            /// Adds another run's counts.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

faults! {
    dropped: "dropped messages",
    delayed: "delayed messages",
    late: "messages later than several elections",
    late_timeout_now: "late orders to campaign",
    reordered: "reordered messages",
    duplicated: "duplicated messages",
    misdelivered: "messages delivered to somebody else",
    across_lives: "messages delivered to a later life than they were meant for",
    two_way: "partitions both ways",
    one_way: "partitions one way",
    bridges: "partitions with a bridge",
    partitioned: "messages stopped by partitions",
    crashes: "crashes",
    leader_crashes: "crashes of leaders",
    discarded: "crashes that lost every unsynced byte",
    torn: "crashes that lost or mangled some sectors",
    rotten: "crashes after which durable bytes were rotten",
    refused: "damaged logs that were refused",
    repairs: "damaged logs of which a repair began",
    repaired: "repairs that ended",
    rebased: "logs that began behind the state machine at a start",
    replayed: "starts that had something to apply again",
    while_sending: "crashes while a snapshot was sent",
    while_receiving: "crashes while a snapshot was received",
    while_installing: "crashes before a received snapshot was installed",
    while_rewriting: "crashes during a rewrite",
    lost_chunks: "chunks of snapshots that were lost",
    bad_chunks: "chunks of snapshots that were corrupted",
    doubled_chunks: "chunks of snapshots that came twice",
    resumed: "snapshots that went on where they had been interrupted",
    given_up: "snapshots that were given up",
    slow_installs: "state machines that came late to a snapshot",
    lapsed_leases: "reads whose lease was over before they were served",
    mid_work: "crashes between two operations on files",
    in_recovery: "crashes during recovery",
    failed_syncs: "failed syncs",
    slow_syncs: "slow syncs",
    slow_disks: "disks that were slow for a while",
    suspensions: "suspensions",
    leader_suspensions: "suspensions of leaders",
    drifts: "clocks that drift",
    slow_applies: "state machines that lagged",
    hung_machines: "state machines that hung for seconds",
    uncounted: "heartbeats that weren't counted because their leader got nowhere",
    retimed: "timers that were changed",
    delays: "wishes that a member campaigned later",
    resignations: "leaders that resigned",
    hasty_changes: "changes of membership asked for while one was pending",
    greedy_changes: "changes refused because too many would have lost their vote",
    lonely_hand_overs: "leaders cut off when they told another to campaign",
    forgotten_promises: "voters that crashed while a cut-off leader's lease rested on them",
    outslept_leases: "leaders that woke to waiting reads after another was elected",
    promises_in_later_terms: "voters that heard of a later term while they kept a promise",
    rotten_witnesses: "logs that rotted when only a crashed leader had the end of them",
    parted_halves: "joint configurations cut in two when only one part knew of them",
    left_old_halves: "joint configurations left without a majority of the old half knowing",
    left_new_halves: "new halves cut off when they heard no more than that the old was left",
    figure_eights: "leaders cut off when they had just spread entries of an earlier term",
    last_wishes: "leaders cut off for good when they had wished that nobody campaigns for an hour",
    lagging_stores: "crashes behind a cut of the log whose store was far behind",
}

/// How likely and how often faults are in one run; drawn from the seed, so that some runs are
/// calm in one way and wild in another.
#[derive(Debug)]
pub(crate) struct Weather {
    /// Of a thousand messages.
    pub(crate) dropped: u32,
    pub(crate) delayed: u32,
    pub(crate) late: u32,
    pub(crate) duplicated: u32,
    pub(crate) misdelivered: u32,
    /// Of a thousand syncs.
    pub(crate) slow_syncs: u32,
    pub(crate) failed_syncs: u32,
    /// Of a thousand crashes.
    pub(crate) rotten: u32,
    /// Of a thousand batches of committed entries.
    pub(crate) slow_applies: u32,
    pub(crate) judge_every: Duration,
    /// Of a thousand chunks of snapshots, each: lost, corrupted, doubled.
    pub(crate) bad_chunks: u32,
    /// Entries behind what is durable that stay in the log.
    pub(crate) catch_up: u64,
    /// Mean time between.
    pub(crate) crash_every: Duration,
    pub(crate) partition_every: Duration,
    pub(crate) suspend_every: Duration,
    pub(crate) slow_disk_every: Duration,
    pub(crate) ambush_every: Duration,
}

impl Weather {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            dropped: rng.u32(0..80),
            delayed: rng.u32(0..60),
            late: rng.u32(0..10),
            duplicated: rng.u32(0..60),
            misdelivered: wild(rng, 0..10, 50..150),
            slow_syncs: rng.u32(0..30),
            failed_syncs: rng.u32(0..3),
            rotten: rng.u32(0..300),
            slow_applies: rng.u32(0..100),
            judge_every: Duration::from_millis(wild(rng, 100..1000, 30..100).into()),
            bad_chunks: rng.u32(0..120),
            catch_up: rng.u64(0..40),
            crash_every: Duration::from_millis(wild(rng, 600..3000, 150..600).into()),
            partition_every: Duration::from_millis(wild(rng, 800..4000, 200..800).into()),
            suspend_every: Duration::from_millis(rng.u64(1000..6000)),
            slow_disk_every: Duration::from_millis(rng.u64(2000..8000)),
            ambush_every: Duration::from_millis(wild(rng, 1000..5000, 500..1000).into()),
        }
    }

    /// The phase of healing.
    pub(crate) fn calm() -> Self {
        Self {
            dropped: 0,
            delayed: 0,
            late: 0,
            duplicated: 0,
            misdelivered: 0,
            slow_syncs: 0,
            failed_syncs: 0,
            rotten: 0,
            slow_applies: 0,
            judge_every: Duration::MAX,
            bad_chunks: 0,
            catch_up: 20,
            crash_every: Duration::MAX,
            partition_every: Duration::MAX,
            suspend_every: Duration::MAX,
            slow_disk_every: Duration::MAX,
            ambush_every: Duration::MAX,
        }
    }
}

/// Usually in the first range, now and then in the second.
fn wild(rng: &mut Rng, usual: Range<u32>, wild: Range<u32>) -> u32 {
    let range = if rng.u8(0..5) == 0 { wild } else { usual };
    rng.u32(range)
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
