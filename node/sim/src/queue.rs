//! Events in the order of simulated time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use raftery_raft::{Instant, MemberId, PeerMessage};

/// Something that happens. `life` tells a member's lives apart: what was meant for one that
/// crashed is void.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message arrives.
    Deliver(PeerMessage),
    /// Raft's deadline.
    Tick { member: MemberId, life: u64 },
    /// A sync is done.
    Synced { member: MemberId, life: u64 },
    /// The log has been quiet for a while.
    Seal { member: MemberId, life: u64 },
    /// A client writes somewhere.
    Write,
    /// A client reads somewhere.
    Read,
    /// The operator takes its next step.
    Operate,
    /// Someone crashes.
    Crash,
    /// A member starts again.
    Start { member: MemberId },
    /// The network splits.
    Split,
    /// The network heals.
    Heal,
}

impl Event {
    /// Whether it ends with the phase of chaos.
    pub(crate) fn is_chaos(&self) -> bool {
        match self {
            Self::Write | Self::Read | Self::Operate | Self::Crash | Self::Split => true,
            Self::Deliver(_)
            | Self::Tick { .. }
            | Self::Synced { .. }
            | Self::Seal { .. }
            | Self::Start { .. }
            | Self::Heal => false,
        }
    }
}

/// First by time, then by when they were put in.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Scheduled>,
    count: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.heap.push(Scheduled {
            at,
            order: self.count,
            event,
        });
    }

    pub(crate) fn next(&mut self) -> Option<(Instant, Event)> {
        self.heap
            .pop()
            .map(|scheduled| (scheduled.at, scheduled.event))
    }
}

#[derive(Debug)]
struct Scheduled {
    at: Instant,
    order: u64,
    event: Event,
}

impl Ord for Scheduled {
    /// The heap gives the greatest first, so the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Scheduled {}
