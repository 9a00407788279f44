//! What is measured in one window.

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

/// How long something took in one window, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The median.
    pub p50_micros: u64,
    /// The 95th percentile (nearest rank; the longest but one where there are fewer than 20).
    pub p95_micros: u64,
    /// The longest.
    pub max_micros: u64,
}

/// What a member measured of itself and of its leader in one window, in its own words. Nothing in
/// it can make it look better than others saw it ([`crate::judge`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Syncs of its log.
    pub syncs: Option<Times>,
    /// How long its oldest write was under way at the window's end, in microseconds; 0: none was.
    pub oldest_write_micros: u64,
    /// By how much its leader's heartbeats came later than the leader says that it beats.
    pub lateness: Option<Times>,
    /// From an entry's arrival to the news that it is committed. If none was in this window: for how
    /// long the oldest has waited.
    pub commits: Option<Times>,
    /// Its links, as far as they were measured.
    pub links: Vec<Link>,
    /// How often it beats, or would, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// How long it waits for a leader, in milliseconds.
    pub election_timeout_ms: u64,
    /// Times that it began to repair a log of which the disk had lost something.
    pub repairs: u32,
}

/// The way to another member and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other member.
    pub peer: MemberId,
    /// The shortest round trip of the window, in microseconds: what the way itself takes. All else
    /// is delayed by what goes the same way, of which a leader's links have most.
    pub min_micros: u64,
    /// Their 95th percentile, in microseconds.
    pub p95_micros: u64,
}

/// What befell a member in one window, as its leader saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Starts of its process.
    pub restarts: u32,
    /// Snapshots that it needed, because the log no longer held what it lacked.
    pub snapshots: u32,
    /// Votes that it asked for though this leader led.
    pub campaigns: u32,
    /// Times that its disk got full.
    pub fillings: u32,
    /// It was far behind, and isn't any more.
    pub has_caught_up: bool,
    /// It leads because its predecessor handed over to it.
    pub has_taken_over: bool,
}

/// What is known of one member in one window: what its leader measured, and what it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The member.
    pub member: MemberId,
    /// It is the leader itself: nothing stands in what only others can measure.
    pub is_leader: bool,
    /// Heartbeats sent in this window.
    pub heartbeats_sent: u32,
    /// Heartbeats whose acknowledgement arrived in this window, in time or late.
    pub heartbeats_acknowledged: u32,
    /// Heartbeats given up in this window: not acknowledged until the deadline. One sent shortly
    /// before the window's end is given up, or acknowledged, in a later one.
    pub heartbeats_missed: u32,
    /// How long the acknowledgements of heartbeats that arrived in this window took: the network.
    pub round_trips: Option<Times>,
    /// The shortest of them, in microseconds: see [`Link::min_micros`].
    pub round_trip_min_micros: Option<u64>,
    /// How long it took until entries were acknowledged as durable: network and disk.
    pub appends: Option<Times>,
    /// How long the oldest unacknowledged entries were under way at the window's end, in
    /// milliseconds; 0: none were.
    pub lag_ms: u64,
    /// Log entries that the follower lacked at the window's end.
    pub lag_entries: u64,
    /// Time from the last message of the follower to the window's end, in milliseconds; `None` if
    /// it was never heard by this leader.
    pub last_heard_ms: Option<u64>,
    /// What befell it.
    pub events: Events,
    /// What it says of itself; `None` if it said nothing in this window.
    pub report: Option<Report>,
}

impl Observation {
    /// Nothing is known of `member`.
    #[must_use]
    pub fn blank(member: MemberId) -> Self {
        Self {
            member,
            is_leader: false,
            heartbeats_sent: 0,
            heartbeats_acknowledged: 0,
            heartbeats_missed: 0,
            round_trips: None,
            round_trip_min_micros: None,
            appends: None,
            lag_ms: 0,
            lag_entries: 0,
            last_heard_ms: None,
            events: Events::default(),
            report: None,
        }
    }

    /// What a leader says of itself.
    #[must_use]
    pub fn of_leader(member: MemberId, events: Events, report: Report) -> Self {
        Self {
            is_leader: true,
            events,
            report: Some(report),
            ..Self::blank(member)
        }
    }

    /// As the ledger keeps it: what was needed for judging only is left out.
    #[must_use]
    pub fn for_ledger(mut self) -> Self {
        if let Some(report) = &mut self.report {
            report.links.clear();
        }
        self
    }
}
