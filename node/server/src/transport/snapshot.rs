//! Snapshots between members: a stream of their own, checked chunk by chunk, that goes on where
//! it broke.
//!
//! ```text
//! sender                                   receiver
//! hello (what, how long)  ───────────────>
//!                         <─────────────── how much of it is here already
//! chunks                  ───────────────> written beside the live state
//! end                     ───────────────> verified, synced, its index built
//!                         <─────────────── whole ──> driver ──> Raft decides
//! ```

use std::sync::{Arc, RwLock};
use std::time::Duration;

use raftery_fs::RealFs;
use raftery_proto::peer as proto;
use raftery_raft::{LogId, MemberId, MessageBody, PeerMessage, SnapshotMeta, Term};
use raftery_store::{ReceivedSnapshot, Snapshot, SnapshotChunk, SnapshotReceiver};
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::{Me, client, codec};
use crate::driver::Input;
use crate::metrics::Metrics;
use crate::state::{State, StateError};

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks between the reader of the files and the connection.
const CHUNKS_IN_FLIGHT: usize = 4;
/// Times that a broken stream is taken up again before Raft is told that it failed.
const ATTEMPTS: u32 = 5;
/// Pause before a broken stream is taken up again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the receiver may take for a word: building an index takes seconds.
const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Sends the state machine's state to peers.
#[derive(Clone, Debug)]
pub struct SnapshotSender {
    /// Who sends.
    pub me: Arc<Me>,
    /// What is sent.
    pub state: Arc<RwLock<State>>,
    /// Told how it ended.
    pub inputs: mpsc::UnboundedSender<Input>,
}

/// Why a snapshot wasn't sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the peer's address isn't known")]
    NoAddress,
    #[error("{0}")]
    State(#[from] StateError),
    #[error("{0}")]
    Address(#[from] tonic::transport::Error),
    #[error("{}", .0.message())]
    Peer(Box<Status>),
    #[error("the peer closed the stream")]
    Closed,
    #[error("no answer in {} s", ANSWER_TIME.as_secs())]
    Silence,
    #[error("a task ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<Status> for SendError {
    fn from(status: Status) -> Self {
        Self::Peer(Box::new(status))
    }
}

impl SnapshotSender {
    /// Sends the present state to `to`, in the leader's term; the driver hears how it ended.
    pub fn send(&self, to: MemberId, term: Term, urls: Vec<String>) {
        let sender = self.clone();
        tokio::spawn(async move {
            let last = match sender.attempts(to, term, &urls).await {
                Ok(last) => Some(last),
                Err(error) => {
                    warn!(peer = %to, %error, "the peer got no snapshot");
                    None
                }
            };
            // A driver that is gone has no use for it.
            let _ = sender.inputs.send(Input::SnapshotSent { to, last });
        });
    }

    async fn attempts(
        &self,
        to: MemberId,
        term: Term,
        urls: &[String],
    ) -> Result<LogId, SendError> {
        let state = Arc::clone(&self.state);
        let taken = tokio::task::spawn_blocking(move || {
            let mut state = state.write().expect("no holder of the lock panics");
            state.snapshot()
        });
        let (meta, snapshot) = taken.await??;
        let snapshot = Arc::new(snapshot);
        info!(peer = %to, last = %meta.last, bytes = snapshot.size(), "sending a snapshot");
        let hello = self.hello(to, term, &meta, &snapshot);
        let mut failure = SendError::NoAddress;
        let urls = urls.iter().cycle();
        for (attempt, url) in (1..=ATTEMPTS).zip(urls) {
            match self.stream(url, hello.clone(), &snapshot).await {
                Ok(()) => {
                    info!(peer = %to, last = %meta.last, "the peer has the snapshot");
                    return Ok(meta.last);
                }
                Err(error) => {
                    warn!(peer = %to, url, attempt, %error, "sending the snapshot broke off");
                    failure = error;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(failure)
    }

    fn hello(
        &self,
        to: MemberId,
        term: Term,
        meta: &SnapshotMeta,
        snapshot: &Snapshot<RealFs>,
    ) -> proto::SnapshotHello {
        proto::SnapshotHello {
            cluster_id: self.me.cluster_id,
            lineage: self.me.lineage,
            from: self.me.id.0,
            to: to.0,
            term: term.0,
            last: Some(codec::log_id(meta.last)),
            membership: Some(codec::encode_membership(&meta.membership)),
            snapshot: snapshot.id(),
            bytes: snapshot.size(),
        }
    }

    async fn stream(
        &self,
        url: &str,
        hello: proto::SnapshotHello,
        snapshot: &Arc<Snapshot<RealFs>>,
    ) -> Result<(), SendError> {
        let (frames, stream) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let hello = proto::SnapshotFrame {
            hello: Some(hello),
            chunk: None,
        };
        frames.send(hello).await.map_err(|_| SendError::Closed)?;
        let mut client = client(url)?;
        let opened = client.install_snapshot(ReceiverStream::new(stream));
        let opened = tokio::time::timeout(ANSWER_TIME, opened).await;
        let mut progress = opened.map_err(|_| SendError::Silence)??.into_inner();
        let mut offset = next(&mut progress).await?.received;
        loop {
            let snapshot = Arc::clone(snapshot);
            let read =
                tokio::task::spawn_blocking(move || snapshot.read_chunk(offset, CHUNK_BYTES));
            let chunk = read.await?.map_err(StateError::Store)?;
            if chunk.bytes.is_empty() {
                break;
            }
            offset += chunk.bytes.len() as u64;
            let frame = proto::SnapshotFrame {
                hello: None,
                chunk: Some(proto::SnapshotChunk {
                    offset: chunk.offset,
                    data: chunk.bytes,
                    crc: chunk.crc,
                }),
            };
            if frames.send(frame).await.is_err() {
                // Why it was closed comes as the status.
                break;
            }
        }
        drop(frames);
        while !next(&mut progress).await?.is_whole {}
        Ok(())
    }
}

async fn next(
    progress: &mut Streaming<proto::SnapshotProgress>,
) -> Result<proto::SnapshotProgress, SendError> {
    let message = tokio::time::timeout(ANSWER_TIME, progress.message()).await;
    message
        .map_err(|_| SendError::Silence)??
        .ok_or(SendError::Closed)
}

/// A snapshot that isn't whole yet, and which it is; none when there is nothing to take up again.
#[derive(Default)]
pub struct Partial(Option<(u64, SnapshotReceiver<RealFs>)>);

impl std::fmt::Debug for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let received = self.0.as_ref().map(|(_, receiver)| receiver.received());
        f.debug_tuple("Partial").field(&received).finish()
    }
}

/// One snapshot is received at a time, until the state machine has it: its files lie where the
/// next one's would.
pub type Receiving = Arc<tokio::sync::Mutex<Partial>>;

/// A received state, and with it the right to receive.
pub struct Received {
    /// The state.
    pub state: ReceivedSnapshot<RealFs>,
    _receiving: OwnedMutexGuard<Partial>,
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "snapshot up to {}", self.state.at())
    }
}

/// The receiving side of one stream.
pub(super) struct Incoming {
    pub(super) state: Arc<RwLock<State>>,
    pub(super) inputs: mpsc::UnboundedSender<Input>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) hello: proto::SnapshotHello,
    pub(super) receiving: OwnedMutexGuard<Partial>,
    pub(super) progress: mpsc::Sender<Result<proto::SnapshotProgress, Status>>,
}

impl Incoming {
    pub(super) async fn run(self, frames: Streaming<proto::SnapshotFrame>) {
        let progress = self.progress.clone();
        let metrics = Arc::clone(&self.metrics);
        let from = MemberId(self.hello.from);
        let answer = match self.receive(frames).await {
            Ok(received) => Ok(proto::SnapshotProgress {
                received,
                is_whole: true,
            }),
            Err(status) => {
                metrics.count_refused_snapshot();
                warn!(peer = %from, reason = status.message(), "snapshot not taken");
                Err(status)
            }
        };
        // A sender that is gone asks again.
        let _ = progress.send(answer).await;
    }

    async fn receive(mut self, mut frames: Streaming<proto::SnapshotFrame>) -> Result<u64, Status> {
        let message = self.message()?;
        let id = self.hello.snapshot;
        let mut receiver = match self.receiving.0.take() {
            Some((known, receiver)) if known == id => receiver,
            _ => {
                let state = Arc::clone(&self.state);
                blocking(move || {
                    let state = state.read().expect("no holder of the lock panics");
                    state.store.receive_snapshot().map_err(internal)
                })
                .await?
            }
        };
        let begun = proto::SnapshotProgress {
            received: receiver.received(),
            is_whole: false,
        };
        let _ = self.progress.send(Ok(begun)).await;
        let broken = loop {
            let chunk = match frames.message().await {
                Ok(Some(frame)) => frame.chunk,
                Ok(None) => break None,
                Err(status) => break Some(status),
            };
            let chunk = chunk.ok_or_else(|| Status::invalid_argument("a frame without a chunk"))?;
            let chunk = SnapshotChunk {
                snapshot: id,
                offset: chunk.offset,
                bytes: chunk.data,
                crc: chunk.crc,
            };
            receiver = blocking(move || {
                let mut receiver = receiver;
                receiver
                    .write(&chunk)
                    .map_err(|error| Status::data_loss(error.to_string()))?;
                Ok(receiver)
            })
            .await?;
        };
        let received = receiver.received();
        if received != self.hello.bytes {
            // The sender takes it up again from here.
            self.receiving.0 = Some((id, receiver));
            let why = format!("truncated: {received} of {} bytes", self.hello.bytes);
            return Err(broken.unwrap_or_else(|| Status::data_loss(why)));
        }
        let state = blocking(move || {
            receiver
                .finish()
                .map_err(|error| Status::data_loss(error.to_string()))
        })
        .await?;
        let received_state = Box::new(Received {
            state,
            _receiving: self.receiving,
        });
        let input = Input::SnapshotReceived {
            message,
            received: received_state,
        };
        self.inputs
            .send(input)
            .map_err(|_| Status::unavailable("server stopped"))?;
        Ok(received)
    }

    /// What Raft is told once the snapshot is here.
    fn message(&self) -> Result<PeerMessage, Status> {
        let hello = &self.hello;
        let lacks = |what: &str| Status::invalid_argument(format!("a snapshot without {what}"));
        let last = codec::read_log_id(hello.last).map_err(|_| lacks("its last entry"))?;
        let membership = hello.membership.clone();
        let membership = membership.ok_or_else(|| lacks("its membership"))?;
        Ok(PeerMessage {
            from: MemberId(hello.from),
            to: MemberId(hello.to),
            term: Term(hello.term),
            body: MessageBody::InstallSnapshot {
                meta: SnapshotMeta {
                    last,
                    membership: codec::decode_membership(membership),
                },
            },
        })
    }
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

/// Files are read and written where nobody else waits.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(internal)?
}
