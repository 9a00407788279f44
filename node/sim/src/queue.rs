//! Events in the order of simulated time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use raftery_raft::{Instant, LogId, MemberId, PeerMessage, ReadId};

use crate::clients::{Key, Write};

/// Something that happens. `life` tells a member's lives apart: what was meant for one that
/// crashed is void, messages apart.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message arrives at `member`, which was in `life` when it was sent.
    Deliver {
        member: MemberId,
        life: u64,
        message: PeerMessage,
    },
    /// Raft's deadline.
    Tick { member: MemberId, life: u64 },
    /// A sync is done.
    Synced { member: MemberId, life: u64 },
    /// The log has been quiet for a while.
    Seal { member: MemberId, life: u64 },
    /// The state machine gets to what it was handed.
    Apply { member: MemberId, life: u64 },
    /// The store's housekeeping goes on.
    Keep { member: MemberId, life: u64 },
    /// `member` sends the next piece of a snapshot.
    Stream {
        member: MemberId,
        life: u64,
        to: MemberId,
    },
    /// `member` learns how its snapshot ended.
    Streamed {
        member: MemberId,
        life: u64,
        to: MemberId,
        last: Option<LogId>,
    },
    /// The state machine gets to the snapshot that is to take its place.
    Install { member: MemberId, life: u64 },
    /// A client writes somewhere.
    Write,
    /// A client reads somewhere.
    Read,
    /// A client's write arrives.
    Propose {
        member: MemberId,
        life: u64,
        write: Write,
    },
    /// A client's read arrives.
    ReadIndex {
        member: MemberId,
        life: u64,
        read: ReadId,
        key: Key,
    },
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
    /// A process stops running for a while, its clock and its machine don't.
    Suspend,
    /// It goes on.
    Resume { member: MemberId, life: u64 },
    /// A disk becomes slow for a while.
    SlowDisk,
    /// Somebody is judged: timers, wishes for the next leader, a leader that gives up.
    Judge,
    /// An ambush is laid.
    Ambush,
    /// Nothing but a moment at which an ambush looks around.
    Look,
}

impl Event {
    /// Whether it ends with the phase of chaos.
    pub(crate) fn is_chaos(&self) -> bool {
        match self {
            Self::Write
            | Self::Read
            | Self::Operate
            | Self::Crash
            | Self::Split
            | Self::Suspend
            | Self::SlowDisk
            | Self::Judge
            | Self::Ambush => true,
            Self::Deliver { .. }
            | Self::Tick { .. }
            | Self::Synced { .. }
            | Self::Seal { .. }
            | Self::Apply { .. }
            | Self::Keep { .. }
            | Self::Stream { .. }
            | Self::Streamed { .. }
            | Self::Install { .. }
            | Self::Propose { .. }
            | Self::ReadIndex { .. }
            | Self::Start { .. }
            | Self::Heal
            | Self::Resume { .. }
            | Self::Look => false,
        }
    }

    /// Whether it would spoil an ambush.
    pub(crate) fn disturbs(&self) -> bool {
        match self {
            Self::Operate
            | Self::Crash
            | Self::Split
            | Self::Suspend
            | Self::SlowDisk
            | Self::Judge => true,
            Self::Deliver { .. }
            | Self::Tick { .. }
            | Self::Synced { .. }
            | Self::Seal { .. }
            | Self::Apply { .. }
            | Self::Keep { .. }
            | Self::Stream { .. }
            | Self::Streamed { .. }
            | Self::Install { .. }
            | Self::Write
            | Self::Read
            | Self::Propose { .. }
            | Self::ReadIndex { .. }
            | Self::Start { .. }
            | Self::Heal
            | Self::Resume { .. }
            | Self::Ambush
            | Self::Look => false,
        }
    }

    /// Whether a client's wish to read arrives.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Self::ReadIndex { .. })
    }

    /// Whose process has to run for it.
    pub(crate) fn runs(&self) -> Option<MemberId> {
        match self {
            Self::Deliver { member, .. }
            | Self::Tick { member, .. }
            | Self::Synced { member, .. }
            | Self::Seal { member, .. }
            | Self::Apply { member, .. }
            | Self::Keep { member, .. }
            | Self::Stream { member, .. }
            | Self::Streamed { member, .. }
            | Self::Install { member, .. }
            | Self::Propose { member, .. }
            | Self::ReadIndex { member, .. } => Some(*member),
            Self::Write
            | Self::Read
            | Self::Operate
            | Self::Crash
            | Self::Start { .. }
            | Self::Split
            | Self::Heal
            | Self::Suspend
            | Self::Resume { .. }
            | Self::SlowDisk
            | Self::Judge
            | Self::Ambush
            | Self::Look => None,
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
