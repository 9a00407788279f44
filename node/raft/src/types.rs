//! Identifiers and the entries of the log.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $fmt:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $fmt, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

number!(
    /// An entry in the Raft configuration. One incarnation of a node has it, for ever;
    /// never 0.
    MemberId,
    "{:x}"
);
number!(
    /// A Raft term (thesis §3.3). 0 before the first election.
    Term,
    "{}"
);
number!(
    /// A position in the log. The first entry is 1; 0 means "before the first".
    LogIndex,
    "{}"
);
number!(
    /// Number of a batch handed out to be persisted: 1, 2, … within one life of the process.
    PersistSeq,
    "{}"
);
number!(
    /// The caller's name for a linearizable read, given back when it may be served.
    ReadId,
    "{}"
);

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index before this one; 0 stays 0.
    #[must_use]
    pub fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// Time since boot, suspension included. The crate has no clock: every input carries one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Instant(pub Duration);

impl Instant {
    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0 + d)
    }
}

/// Where an entry stands: two entries with the same `LogId` are the same entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogId {
    /// Term of the leader that appended it. Compared first, as in §3.6.1.
    pub term: Term,
    /// Position.
    pub index: LogIndex,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What must survive a crash besides the entries (§3.8), plus the commit index, which makes
/// the configuration of a recovered node certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HardState {
    /// Latest term seen.
    pub term: Term,
    /// Whom this member voted for in `term`.
    pub vote: Option<MemberId>,
    /// Highest index known committed.
    pub commit: LogIndex,
}

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it stands.
    pub id: LogId,
    /// What it says.
    pub payload: Payload,
}

impl Entry {
    /// Bytes that the entry counts for in limits: its payload and a flat sum for the rest, so
    /// that empty entries are limited too.
    pub(crate) fn cost(&self) -> usize {
        const ENTRY_OVERHEAD_BYTES: usize = 32;
        ENTRY_OVERHEAD_BYTES + self.payload.len()
    }
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Nothing: a new leader's first entry (§3.6.2).
    Blank,
    /// Bytes for the state machine; opaque here.
    Data(Bytes),
    /// A change of membership, active once committed.
    ConfChange(ConfChange),
}

impl Payload {
    /// Bytes that the entry carries, for limits.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Blank => 0,
            Self::Data(data) => data.len(),
            Self::ConfChange(change) => change.len(),
        }
    }

    /// Whether it carries no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A change of membership: one voter at a time (§4.1), so that the majorities of the old and the
/// new configuration overlap, or several through a joint configuration (§4.3). `context` travels with the entry for whoever applies it
/// (names, addresses); opaque here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfChange {
    /// The first entry of every log: the founders, all voters.
    Found {
        /// Founders with their contexts.
        members: Vec<(MemberId, Bytes)>,
    },
    /// A member that receives the log and doesn't vote yet.
    AddLearner {
        /// A new ID: one that was never a member.
        id: MemberId,
        /// For whoever applies it.
        context: Bytes,
    },
    /// A learner becomes a voter.
    Promote {
        /// The learner.
        id: MemberId,
    },
    /// A voter or learner leaves, for ever.
    Remove {
        /// The member.
        id: MemberId,
    },
    /// Several changes at once, each of another member. If more than one voter changes the
    /// configuration becomes joint, and the leader adds [`ConfChange::LeaveJoint`] by itself. At
    /// most a minority of the voters may lose its vote in such a change.
    Change {
        /// What changes; not empty.
        changes: Vec<MemberChange>,
    },
    /// The old half of a joint configuration is left.
    LeaveJoint,
}

/// One of several changes at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemberChange {
    /// A member that receives the log and doesn't vote yet.
    AddLearner {
        /// A new ID: one that was never a member.
        id: MemberId,
        /// For whoever applies it.
        context: Bytes,
    },
    /// A learner becomes a voter.
    Promote {
        /// The learner.
        id: MemberId,
    },
    /// A voter becomes a learner; while joint it still votes in the old half.
    Demote {
        /// The voter.
        id: MemberId,
    },
    /// A voter or learner leaves, for ever; while joint a voter still votes in the old half.
    Remove {
        /// The member.
        id: MemberId,
    },
}

impl MemberChange {
    /// Whom it concerns.
    #[must_use]
    pub fn id(&self) -> MemberId {
        match self {
            Self::AddLearner { id, .. }
            | Self::Promote { id }
            | Self::Demote { id }
            | Self::Remove { id } => *id,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::AddLearner { context, .. } => 8 + context.len(),
            Self::Promote { .. } | Self::Demote { .. } | Self::Remove { .. } => 8,
        }
    }
}

impl ConfChange {
    fn len(&self) -> usize {
        match self {
            Self::Found { members } => members.iter().map(|(_, context)| 8 + context.len()).sum(),
            Self::AddLearner { context, .. } => 8 + context.len(),
            Self::Promote { .. } | Self::Remove { .. } => 8,
            Self::Change { changes } => changes.iter().map(MemberChange::len).sum(),
            Self::LeaveJoint => 0,
        }
    }
}
