//! Between members: one task and one outgoing stream for each of the others, batched, bounded
//! and lossy. Raft copes with loss; nobody waits.

pub mod codec;
mod peer;
mod service;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use raftery_proto::peer::peer_client::PeerClient;
use raftery_raft::{INFLIGHT_MESSAGES_MAX, MemberId, PeerMessage};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use self::peer::Peer;
pub use self::service::PeerService;
pub use self::snapshot::{Received, Receiving, SnapshotSender};
use crate::cluster_version::Supported;
use crate::driver::{Input, Notice, Told};
use crate::error::RequestError;
use crate::members::Members;
use crate::metrics::Metrics;
use crate::pulse::Pulse;

/// Messages that wait for one peer; more are dropped. Room for all appends that may be under way, and
/// for what else there is to say.
const QUEUE_LEN_MAX: usize = 2 * INFLIGHT_MESSAGES_MAX;
/// Largest frame taken from a peer. An entry has at most the size of a client's request.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Largest entry taken from a peer: well above a client's request, and above a window's verdicts.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;
/// Versions of the peer protocol that this node speaks.
pub const PROTOCOL: std::ops::RangeInclusive<u32> = 1..=1;

/// What a node says of itself to its peers.
#[derive(Clone, Debug)]
pub struct Me {
    /// Its cluster.
    pub cluster_id: u64,
    /// The cluster's unbroken history.
    pub lineage: u64,
    /// Its ID.
    pub id: MemberId,
    /// Where it is reached.
    pub peer_urls: Vec<String>,
    /// How often its node was started on this disk.
    pub boot: u64,
    /// Drawn by this start.
    pub start: u64,
}

/// What a peer is told.
#[derive(Debug)]
enum Outgoing {
    /// A message of Raft's, with the verdict that travels with it.
    Raft(PeerMessage, Option<Notice>),
    /// What this member measured.
    Told(Box<Told>),
    /// Append this command, whose client waits here.
    Command(Bytes),
    /// A command with this number wasn't appended.
    Refusal(u64, Refusal),
}

/// Why a leader didn't append a command that was sent on to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It doesn't lead, or is handing over.
    NotLeader,
    /// Too much waits.
    TooManyRequests,
    /// Its disk is full.
    NoSpace,
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotLeader => Self::NotLeader { leader: None },
            Refusal::TooManyRequests => Self::TooManyRequests,
            Refusal::NoSpace => Self::NoSpace,
        }
    }
}

/// The outgoing side, owned by the driver.
#[derive(Debug)]
pub struct Transport {
    me: Arc<Me>,
    inputs: mpsc::UnboundedSender<Input>,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    supported: Arc<Supported>,
    peers: BTreeMap<MemberId, Link>,
    /// Members of which there is a record; it counts more than what a handshake said.
    recorded: BTreeSet<MemberId>,
    removed: BTreeSet<MemberId>,
}

#[derive(Debug)]
struct Link {
    urls: Vec<String>,
    queue: mpsc::Sender<Outgoing>,
    task: JoinHandle<()>,
}

impl Transport {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(
        me: Arc<Me>,
        inputs: mpsc::UnboundedSender<Input>,
        metrics: Arc<Metrics>,
        pulse: Arc<Pulse>,
        supported: Arc<Supported>,
    ) -> Self {
        Self {
            me,
            pulse,
            supported,
            inputs,
            metrics,
            peers: BTreeMap::new(),
            recorded: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }

    /// Tells a leader what was measured.
    pub fn tell(&self, leader: MemberId, told: Told) {
        self.queue(leader, Outgoing::Told(Box::new(told)));
    }

    /// Queues a message, or drops it when its receiver's queue is full or unknown.
    pub fn send(&self, message: PeerMessage, notice: Option<Notice>) {
        self.queue(message.to, Outgoing::Raft(message, notice));
    }

    /// Has the leader append a command of a client of this node. Whether it was queued; if not,
    /// it was sent nowhere.
    #[must_use]
    pub fn forward(&self, leader: MemberId, command: Bytes) -> bool {
        self.queue(leader, Outgoing::Command(command))
    }

    /// Tells a member that its client's command wasn't appended.
    pub fn refuse(&self, member: MemberId, request: u64, refusal: Refusal) {
        self.queue(member, Outgoing::Refusal(request, refusal));
    }

    fn queue(&self, to: MemberId, outgoing: Outgoing) -> bool {
        let queued = match self.peers.get(&to) {
            Some(link) => link.queue.try_send(outgoing).is_ok(),
            None => false,
        };
        if !queued {
            self.metrics.count_dropped_message();
        }
        queued
    }

    /// Where a peer is reached; empty when that isn't known.
    #[must_use]
    pub fn urls(&self, id: MemberId) -> Vec<String> {
        self.peers
            .get(&id)
            .map_or_else(Vec::new, |link| link.urls.clone())
    }

    /// The members' records changed.
    pub fn set_members(&mut self, members: &Members) {
        for (id, record) in members {
            self.link(*id, &record.peer_urls);
        }
        self.recorded = members.keys().copied().collect();
    }

    /// A peer's handshake told where it is; it counts until there is a record.
    pub fn on_seen(&mut self, id: MemberId, urls: &[String]) {
        if !self.recorded.contains(&id) {
            self.link(id, urls);
        }
    }

    /// These members left for ever. Their links stay a while, so that they hear of it: the
    /// stream itself tells them.
    pub fn set_removed(&mut self, removed: &BTreeSet<MemberId>) {
        for id in removed.difference(&self.removed) {
            // Dropping the queue lets the task send what it has, and end.
            self.peers.remove(id);
        }
        self.removed.clone_from(removed);
    }

    fn link(&mut self, id: MemberId, urls: &[String]) {
        let is_known = self.peers.get(&id).is_some_and(|link| link.urls == urls);
        if id == self.me.id || is_known || urls.is_empty() || self.removed.contains(&id) {
            return;
        }
        let (queue, receiver) = mpsc::channel(QUEUE_LEN_MAX);
        let peer = Peer {
            me: Arc::clone(&self.me),
            id,
            urls: urls.to_vec(),
            inputs: self.inputs.clone(),
            pulse: Arc::clone(&self.pulse),
            supported: Arc::clone(&self.supported),
        };
        let task = tokio::spawn(peer.run(receiver));
        self.peers.insert(
            id,
            Link {
                urls: urls.to_vec(),
                queue,
                task,
            },
        );
    }

    /// Gives the peer tasks a moment to send what is queued: a leader's last word, say, on
    /// who leads next.
    pub async fn flush(self) {
        let tasks: Vec<_> = self.peers.into_values().map(|link| link.task).collect();
        let all = async {
            for task in tasks {
                // A task that panicked has nothing more to send.
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(peer::FLUSH_TIME, all).await;
    }
}

/// A channel to one peer URL, connecting when first used.
///
/// # Errors
/// When the URL can't be parsed.
pub fn channel(url: &str) -> Result<Channel, tonic::transport::Error> {
    Ok(Endpoint::from_shared(url.to_owned())?
        .connect_timeout(peer::CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(peer::KEEP_ALIVE)
        .keep_alive_timeout(peer::KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy())
}

/// A client for one peer URL.
///
/// # Errors
/// When the URL can't be parsed.
pub fn client(url: &str) -> Result<PeerClient<Channel>, tonic::transport::Error> {
    Ok(PeerClient::new(channel(url)?)
        .max_decoding_message_size(FRAME_BYTES_MAX)
        .max_encoding_message_size(FRAME_BYTES_MAX))
}
