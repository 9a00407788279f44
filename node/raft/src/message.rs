//! What members say to each other.

use std::time::Duration;

use crate::{Entry, LogId, LogIndex, MemberId, Membership, ReadId, Term};

/// A message from one member to another. Cluster and lineage are checked by the transport
/// before a message gets here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerMessage {
    /// Sender.
    pub from: MemberId,
    /// Receiver; a message for someone else is refused.
    pub to: MemberId,
    /// The sender's term. For a pre-vote: the term it would campaign in.
    pub term: Term,
    /// What it says.
    pub body: MessageBody,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MessageBody {
    /// Would you vote for me? Changes nobody's term (§9.6).
    PreVote {
        /// Last entry of the candidate's log.
        last: LogId,
    },
    /// Answer to `PreVote`. Granted: carries the proposed term; refused: the receiver's own.
    PreVoteResponse {
        /// Whether it would.
        granted: bool,
    },
    /// Vote for me (§3.4).
    Vote {
        /// Last entry of the candidate's log.
        last: LogId,
        /// The leader of the term before this one that asked for this election (§3.10): leader
        /// stickiness doesn't apply, nor do promises of those whose leader it is.
        transfer: Option<MemberId>,
    },
    /// Answer to `Vote`, sent once the vote is durable.
    VoteResponse {
        /// Whether it did.
        granted: bool,
    },
    /// Entries after `prev` (§3.5).
    Append {
        /// The entry before the first.
        prev: LogId,
        /// Entries, contiguous; may be empty.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: LogIndex,
    },
    /// `prev` matched and everything up to `matched` is durable here.
    AppendAccepted {
        /// Highest index known to match the leader's log and durable.
        matched: LogIndex,
    },
    /// `prev` didn't match. Fast back-up: where the leader may try next.
    AppendRejected {
        /// The `prev.index` that was refused.
        rejected: LogIndex,
        /// An entry of the follower at or before `rejected` that may match.
        hint: LogId,
    },
    /// The leader lives. Also confirms it for reads.
    Heartbeat(Heartbeat),
    /// Answer to `Heartbeat`; also tells the leader or candidate of an older term that it is over.
    HeartbeatResponse {
        /// The round answered; 0 to the leader or candidate of an older term.
        number: u64,
        /// For so long after the receipt of the heartbeat the follower neither campaigns nor
        /// votes, but for who its leader asks it to.
        promise: Duration,
    },
    /// A follower asks where a linearizable read must wait for (§6.4).
    ReadIndex {
        /// The follower's name for the read, never used twice by it.
        id: ReadId,
    },
    /// Answer to `ReadIndex`, after a quorum confirmed the leader.
    ReadIndexResponse {
        /// The follower's name for the read.
        id: ReadId,
        /// Serve once applied reaches this.
        index: LogIndex,
    },
    /// Campaign at once: the leader hands over (§3.10).
    TimeoutNow,
    /// A whole snapshot of the leader's state machine has arrived and is verified and durable
    /// beside the live one (§5.1). It came over a stream of its own; the receiver's host makes
    /// this message, in the name and term of the leader that sent it; it never travels. The next
    /// [`crate::Ready`] names the snapshot in `install`, or it is of no use.
    InstallSnapshot {
        /// What the snapshot holds.
        meta: SnapshotMeta,
    },
}

/// A leader's sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heartbeat {
    /// Counts this leader's heartbeat rounds; echoed.
    pub number: u64,
    /// Commit index, not beyond what this follower is known to hold.
    pub commit: LogIndex,
    /// How often this leader beats at present; zero: it doesn't say.
    pub interval: Duration,
    /// For how long the leader has applied nothing, though its log holds something that it hasn't
    /// applied; zero when nothing waits.
    pub stalled: Duration,
    /// How much later than by chance alone this follower had better campaign: zero for whom the
    /// leader would like to succeed it.
    pub delay: Duration,
}

/// What a snapshot of a state machine holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotMeta {
    /// The last entry that was applied to it.
    pub last: LogId,
    /// The membership as of that entry.
    pub membership: Membership,
}
