//! What the driver is told, by whom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use raftery_behaviour::Score;
use raftery_raft::{
    ConfChange, LogId, LogIndex, MemberId, PeerMessage, PersistSeq, Rollback, Status, TransferError,
};
use raftery_wal::WalError;
use tokio::sync::{mpsc, oneshot, watch};

use super::Told;
use super::waiters::ReadReply;
use crate::apply::{Applied, Reply};
use crate::cluster_version::ClusterVersion;
use crate::error::RequestError;
use crate::members::Members;
use crate::meta::Settings;
use crate::state::StateError;
use crate::transport::{Received, Refusal};

/// What the node's own tasks tell the driver: rare, and taken first.
#[derive(Debug)]
pub enum Input {
    /// Everything up to this batch is durable.
    Persisted {
        /// Highest batch.
        seq: PersistSeq,
        /// How long the sync took.
        sync_time: Duration,
    },
    /// The disk has no room for the log's next segment but one.
    SpaceLow(WalError),
    /// It has again.
    SpaceRegained,
    /// The disk has no room for what is applied, or has it again.
    StoreSpace {
        /// It has.
        has_room: bool,
    },
    /// A peer told whether its disk has room.
    PeerSpace {
        /// The peer.
        id: MemberId,
        /// It has none.
        is_full: bool,
    },
    /// The disk failed; the process must end.
    WalFailed(WalError),
    /// Applied up to here.
    Applied(LogIndex),
    /// What is applied up to here is durable in the store: the log isn't needed for it.
    StateDurable(LogId),
    /// The store failed; the process must end.
    StateFailed(StateError),
    /// A peer's snapshot is whole, verified and durable beside the live state.
    SnapshotReceived {
        /// What Raft is told.
        message: PeerMessage,
        /// The state.
        received: Box<Received>,
    },
    /// The live state is that of the snapshot up to here.
    Installed(LogId),
    /// A snapshot's stream to `to` has ended.
    SnapshotSent {
        /// The peer.
        to: MemberId,
        /// What it has now; `None`: it failed.
        last: Option<LogId>,
    },
    /// The members' records changed.
    MembersChanged(Members),
    /// What all members share changed.
    SettingsChanged(Settings),
    /// A peer told where it is reached.
    PeerSeen {
        /// The peer.
        id: MemberId,
        /// Its peer URLs.
        urls: Vec<String>,
        /// Drawn by its start.
        start: u64,
    },
    /// A peer told what it measured.
    PeerTold {
        /// The peer.
        id: MemberId,
        /// What it told.
        told: Box<Told>,
    },
    /// A peer answered a sign of life.
    PeerAnswered {
        /// The peer.
        id: MemberId,
        /// After so long.
        took: Duration,
    },
    /// Another window was scored.
    ScoresChanged(BTreeMap<raftery_behaviour::MemberId, Score>),
    /// The leader didn't append a command that was sent on to it.
    Refused {
        /// The command's number.
        request: u64,
        /// Why.
        refusal: Refusal,
    },
    /// A peer showed that this member's disk went back to an earlier state.
    RolledBack(Rollback),
    /// A peer of this cluster says that this member was removed.
    ToldRemoved,
    /// Hand leadership over.
    Transfer {
        /// To whom.
        to: MemberId,
        /// Whether it began.
        reply: oneshot::Sender<Result<(), TransferError>>,
    },
    /// Change the membership.
    Change {
        /// How.
        change: ConfChange,
        /// The configuration that the caller planned against.
        expected: Option<LogIndex>,
        /// `Ok` once applied.
        reply: oneshot::Sender<Result<oneshot::Receiver<Applied>, RequestError>>,
    },
    /// All members of that configuration support more than the cluster goes by.
    RaiseClusterVersion {
        /// What they all support.
        to: ClusterVersion,
        /// The configuration.
        expected: LogIndex,
    },
    /// Go down.
    Stop,
}

/// What clients want.
#[derive(Debug)]
pub enum ClientInput {
    /// Append this command, here or by way of the leader; `reply` is told once it is applied here.
    Propose {
        /// The encoded command.
        data: Bytes,
        /// Its number.
        request: u64,
        /// Who waits.
        reply: Reply,
    },
    /// Append commands whose clients wait at another member.
    Forwarded {
        /// The member.
        from: MemberId,
        /// The encoded commands.
        commands: Vec<Bytes>,
    },
    /// A linearizable read.
    Read(ReadReply),
}

/// Why the driver ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// This member was removed from the cluster.
    Removed,
    /// The disk failed.
    WalFailed(WalError),
    /// The store failed.
    StateFailed(StateError),
}

/// How to reach the driver's inputs.
#[derive(Clone, Debug)]
pub struct DriverHandle {
    /// Rare and internal.
    pub inputs: mpsc::UnboundedSender<Input>,
    /// From peers; bounded and lossy.
    pub peers: mpsc::Sender<PeerMessage>,
    /// From clients; bounded.
    pub clients: mpsc::Sender<ClientInput>,
    /// A picture of Raft, refreshed every turn in which something happened.
    pub status: watch::Receiver<Status>,
    /// When the loop last turned, milliseconds since boot.
    pub last_turn_ms: Arc<AtomicU64>,
}

/// Receiving ends of [`DriverHandle`].
#[derive(Debug)]
pub struct Inbox {
    /// Rare and internal.
    pub inputs: mpsc::UnboundedReceiver<Input>,
    /// From peers.
    pub peers: mpsc::Receiver<PeerMessage>,
    /// From clients.
    pub clients: mpsc::Receiver<ClientInput>,
}
