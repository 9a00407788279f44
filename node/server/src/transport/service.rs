//! What peers ask of this node.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::Stream;
use raftery_proto::peer::{self as proto, peer_notice, peer_server};
use raftery_raft::{LogIndex, MemberId, Rollback};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{debug, warn};

use super::{ENTRY_BYTES_MAX, PROTOCOL, codec, snapshot};
use crate::boots::Boot;
use crate::bootstrap::Introductions;
use crate::cluster_version::ClusterVersion;
use crate::command::{self, Command};
use crate::driver::{ClientInput, Input};
use crate::grpc::status::to_status;
use crate::handle::{Handle, REQUEST_BYTES_MAX};
use crate::node::Running;

/// The peer service; refuses all but introductions while the node has no identity.
#[derive(Clone)]
pub struct PeerService {
    handle: Handle,
    introductions: Arc<Introductions>,
}

impl PeerService {
    /// Serves for this node.
    #[must_use]
    pub fn new(handle: Handle, introductions: Arc<Introductions>) -> Self {
        Self {
            handle,
            introductions,
        }
    }

    fn running(&self) -> Result<&Arc<Running>, Status> {
        let cell: &OnceLock<Arc<Running>> = self.handle.cell();
        cell.get()
            .ok_or_else(|| Status::unavailable("this node has no identity yet"))
    }

    fn check_cluster(&self, cluster_id: u64, lineage: u64) -> Result<&Arc<Running>, Status> {
        let running = self.running()?;
        if (cluster_id, lineage) == (running.me.cluster_id, running.me.lineage) {
            return Ok(running);
        }
        self.handle.metrics().count_refused_peer();
        Err(Status::failed_precondition(format!(
            "cluster ID mismatch: the caller belongs to cluster {cluster_id:x} lineage {lineage:x}, \
             this member to cluster {:x} lineage {:x}",
            running.me.cluster_id, running.me.lineage
        )))
    }

    fn check_receiver(&self, running: &Running, to: u64) -> Result<(), Status> {
        if to == running.me.id.0 {
            return Ok(());
        }
        self.handle.metrics().count_refused_peer();
        Err(Status::failed_precondition(format!(
            "for member {to:x}, this is {:x}: an old address?",
            running.me.id.0
        )))
    }

    fn check_handshake(&self, hello: &proto::Handshake) -> Result<Arc<Running>, Status> {
        let running = self.check_cluster(hello.cluster_id, hello.lineage)?;
        self.check_receiver(running, hello.to)?;
        if hello.protocol_min > *PROTOCOL.end() || hello.protocol_max < *PROTOCOL.start() {
            self.handle.metrics().count_refused_peer();
            return Err(Status::failed_precondition(format!(
                "the caller speaks peer protocol {} to {}, this member {} to {}",
                hello.protocol_min,
                hello.protocol_max,
                PROTOCOL.start(),
                PROTOCOL.end()
            )));
        }
        Ok(Arc::clone(running))
    }

    /// An entry of a kind that the caller doesn't know would end it, in the middle of its work.
    fn check_version(&self, running: &Running, hello: &proto::Handshake) -> Result<(), Status> {
        let highest = ClusterVersion::from_wire(hello.cluster_version_max);
        let applied = running.pulse.cluster_version();
        if highest >= applied {
            return Ok(());
        }
        self.handle.metrics().count_refused_peer();
        Err(Status::failed_precondition(format!(
            "the cluster goes by cluster version {applied}; the caller supports only up to \
             {highest}: it needs a newer version of this program"
        )))
    }
}

type Progress = Pin<Box<dyn Stream<Item = Result<proto::SnapshotProgress, Status>> + Send>>;
type Notices = Pin<Box<dyn Stream<Item = Result<proto::PeerNotice, Status>> + Send>>;

#[tonic::async_trait]
impl peer_server::Peer for PeerService {
    type DeliverStream = Notices;

    async fn deliver(
        &self,
        request: Request<Streaming<proto::PeerFrame>>,
    ) -> Result<Response<Notices>, Status> {
        let mut frames = request.into_inner();
        let first = frames.message().await?.and_then(|frame| frame.handshake);
        let hello = first.ok_or_else(|| Status::invalid_argument("no handshake"))?;
        let running = self.check_handshake(&hello)?;
        let from = MemberId(hello.from);
        let is_removed = running
            .driver
            .status
            .borrow()
            .membership
            .removed
            .contains(&from);
        let answer = if is_removed {
            notice(peer_notice::Kind::Removed)
        } else {
            self.check_version(&running, &hello)?;
            running
                .rollback(&hello)
                .map_or_else(|| notice(peer_notice::Kind::Accepted), rolled_back)
        };
        let (notices, stream) = mpsc::channel(2);
        let _ = notices.send(Ok(answer)).await;
        if !is_removed {
            let _ = running.driver.inputs.send(Input::PeerSeen {
                id: from,
                urls: hello.peer_urls,
                start: hello.start,
            });
            let incoming = Incoming {
                handle: self.handle.clone(),
                running,
                from,
                notices,
                is_full: None,
            };
            tokio::spawn(incoming.run(frames));
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn forward(
        &self,
        request: Request<proto::ForwardRequest>,
    ) -> Result<Response<proto::ForwardResponse>, Status> {
        use proto::forward_request::Request as Forwarded;
        let request = request.into_inner();
        self.check_cluster(request.cluster_id, request.lineage)?;
        let index = match request.request {
            Some(Forwarded::ConfChange(change)) => {
                let change = codec::decode_change(change)
                    .map_err(|e| Status::invalid_argument(e.to_string()))?;
                let changed = self.handle.change_membership_for(change).await;
                LogIndex(changed.map_err(|e| to_status(&e))?)
            }
            None => return Err(Status::invalid_argument("nothing to forward")),
        };
        Ok(Response::new(proto::ForwardResponse { index: index.0 }))
    }

    type InstallSnapshotStream = Progress;

    async fn install_snapshot(
        &self,
        request: Request<Streaming<proto::SnapshotFrame>>,
    ) -> Result<Response<Progress>, Status> {
        let mut frames = request.into_inner();
        let first = frames.message().await?.and_then(|frame| frame.hello);
        let hello = first.ok_or_else(|| Status::invalid_argument("no hello"))?;
        let running = self.check_cluster(hello.cluster_id, hello.lineage)?;
        self.check_receiver(running, hello.to)?;
        let receiving = Arc::clone(&running.receiving).try_lock_owned();
        let receiving =
            receiving.map_err(|_| Status::aborted("another snapshot is being received"))?;
        let (progress, stream) = mpsc::channel(2);
        let incoming = snapshot::Incoming {
            state: Arc::clone(&running.state),
            inputs: running.driver.inputs.clone(),
            metrics: Arc::clone(self.handle.metrics()),
            hello,
            receiving,
            progress,
        };
        tokio::spawn(incoming.run(frames));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn introduce(
        &self,
        request: Request<proto::IntroduceRequest>,
    ) -> Result<Response<proto::IntroduceResponse>, Status> {
        let caller = request.into_inner();
        let mut answer = self.introductions.answer();
        if let Some(running) = self.handle.cell().get() {
            answer.cluster_id = running.me.cluster_id;
            let state = running.state.read().expect("no holder of the lock panics");
            // Right after the start the records are those of the past, or none at all.
            if state.meta.members.is_empty()
                || state.applied().index < running.driver.status.borrow().commit
            {
                return Err(Status::unavailable("this member is still reading its log"));
            }
            let bound = state.meta.members.values().find(|record| {
                record
                    .peer_urls
                    .iter()
                    .any(|url| caller.peer_urls.contains(url))
            });
            answer.caller_incarnation = bound.and_then(|record| record.incarnation).unwrap_or(0);
        }
        Ok(Response::new(answer))
    }

    async fn join(
        &self,
        request: Request<proto::JoinRequest>,
    ) -> Result<Response<proto::JoinResponse>, Status> {
        let caller = request.into_inner();
        let running = Arc::clone(self.running()?);
        let command = Command::Bind {
            incarnation: caller.incarnation,
            peer_urls: caller.peer_urls,
        };
        let id = self
            .handle
            .bind(command)
            .await
            .map_err(|error| to_status(&error))?;
        Ok(Response::new(proto::JoinResponse {
            cluster_id: running.me.cluster_id,
            lineage: running.me.lineage,
            member_id: id.0,
        }))
    }
}

fn notice(kind: peer_notice::Kind) -> proto::PeerNotice {
    proto::PeerNotice {
        kind: kind.into(),
        cluster_version_max: ClusterVersion::HIGHEST.0,
        ..Default::default()
    }
}

fn rolled_back(evidence: Rollback) -> proto::PeerNotice {
    let (term, acknowledged) = match evidence {
        Rollback::LogEndsEarly { term, acknowledged } => (term.0, acknowledged.0),
        Rollback::BootCounterWentBack => (0, 0),
    };
    proto::PeerNotice {
        term,
        acknowledged,
        ..notice(peer_notice::Kind::RolledBack)
    }
}

impl Running {
    /// What the handshake of a peer shows of its disk, if it went back to an earlier state.
    fn rollback(&self, hello: &proto::Handshake) -> Option<Rollback> {
        let from = MemberId(hello.from);
        let told = Boot {
            number: hello.boot,
            drawn: hello.start,
        };
        let goes_back = {
            let mut boots = self.boots.lock().expect("no holder of the lock panics");
            boots.entry(from).or_default().goes_back(told)
        };
        if goes_back {
            return Some(Rollback::BootCounterWentBack);
        }
        // A leader remembers what the peer acknowledged; what is shown may be a little older,
        // which is less.
        let status = self.driver.status.borrow();
        let acknowledged = status.progress.get(&from)?.matched;
        (acknowledged.0 > hello.last_index).then_some(Rollback::LogEndsEarly {
            term: status.term,
            acknowledged,
        })
    }
}

/// Refuses entries that no member of this cluster makes: the log would have to keep them.
fn check_entries(message: &proto::Message) -> Result<(), Status> {
    use proto::{entry::Payload, message::Body};
    let Some(Body::Append(append)) = &message.body else {
        return Ok(());
    };
    for entry in &append.entries {
        if let Some(Payload::Data(data)) = &entry.payload
            && data.len() > ENTRY_BYTES_MAX
        {
            return Err(too_large("an entry", data.len(), ENTRY_BYTES_MAX));
        }
    }
    Ok(())
}

fn too_large(what: &str, bytes: usize, bytes_max: usize) -> Status {
    Status::invalid_argument(format!(
        "{what} of {bytes} bytes: at most {bytes_max} are taken"
    ))
}

/// One peer's stream of messages.
struct Incoming {
    handle: Handle,
    running: Arc<Running>,
    from: MemberId,
    /// Held so that the peer's stream stays open.
    notices: mpsc::Sender<Result<proto::PeerNotice, Status>>,
    /// What the peer told last of its disk; `None`: nothing on this stream.
    is_full: Option<bool>,
}

impl Incoming {
    async fn run(mut self, mut frames: Streaming<proto::PeerFrame>) {
        loop {
            match frames.message().await {
                Ok(Some(_)) if self.is_removed() => {
                    let removed = notice(peer_notice::Kind::Removed);
                    let _ = self.notices.send(Ok(removed)).await;
                    return;
                }
                Ok(Some(frame)) => {
                    if let Err(error) = self.take(frame) {
                        return self.refuse(error).await;
                    }
                }
                Ok(None) => return,
                // A frame beyond what is taken at all.
                Err(status) if status.code() == Code::OutOfRange => {
                    return self.refuse(status).await;
                }
                Err(status) => {
                    debug!(peer = %self.from, reason = status.message(), "peer's stream ended");
                    return;
                }
            }
        }
    }

    async fn refuse(&self, error: Status) {
        warn!(peer = %self.from, reason = error.message(), "peer's stream refused");
        self.handle.metrics().count_refused_peer();
        let _ = self.notices.send(Err(error)).await;
    }

    fn is_removed(&self) -> bool {
        self.running
            .driver
            .status
            .borrow()
            .membership
            .removed
            .contains(&self.from)
    }

    fn take(&mut self, frame: proto::PeerFrame) -> Result<(), Status> {
        if self.is_full != Some(frame.is_full) {
            self.is_full = Some(frame.is_full);
            let (id, is_full) = (self.from, frame.is_full);
            let _ = self
                .running
                .driver
                .inputs
                .send(Input::PeerSpace { id, is_full });
        }
        if frame.sign_of_life != 0 {
            let answer = proto::PeerNotice {
                sign_of_life: frame.sign_of_life,
                ..Default::default()
            };
            // One that doesn't go out at once would only tell of a queue.
            let _ = self.notices.try_send(Ok(answer));
        }
        if let Some(report) = frame.report {
            let told = Box::new(codec::decode_told(report));
            let id = self.from;
            let _ = self
                .running
                .driver
                .inputs
                .send(Input::PeerTold { id, told });
        }
        if let Some(verdict) = frame.verdict {
            self.running.on_verdict(self.from, &verdict);
        }
        for proto::Refusal { request, reason } in frame.refusals {
            let refusal = codec::decode_refusal(reason)
                .map_err(|e| Status::invalid_argument(e.to_string()))?;
            // A driver that is gone has told its clients already.
            let _ = self
                .running
                .driver
                .inputs
                .send(Input::Refused { request, refusal });
        }
        if !frame.commands.is_empty() {
            self.forwarded(frame.commands)?;
        }
        for message in frame.messages {
            check_entries(&message)?;
            let message =
                codec::decode(message).map_err(|e| Status::invalid_argument(e.to_string()))?;
            if message.from != self.from {
                return Err(Status::invalid_argument(format!(
                    "a message of {} on the stream of {}",
                    message.from, self.from
                )));
            }
            if self.running.driver.peers.try_send(message).is_err() {
                self.handle.metrics().count_dropped_message();
            }
        }
        Ok(())
    }

    /// Commands of the peer's clients, for this member to append if it leads.
    fn forwarded(&self, commands: Vec<Bytes>) -> Result<(), Status> {
        for data in &commands {
            // What can't be applied must not get into the log: every member would end.
            let command = command::decode(data);
            let command = command.map_err(|e| Status::invalid_argument(e.to_string()))?;
            if data.len() > REQUEST_BYTES_MAX {
                return Err(too_large("a command", data.len(), REQUEST_BYTES_MAX));
            }
            if let Command::SetClusterVersion { .. } = command {
                // Only who leads knows what all members support.
                let why = "a cluster version isn't forwarded";
                return Err(Status::invalid_argument(why));
            }
        }
        let from = self.from;
        let input = ClientInput::Forwarded { from, commands };
        if self.running.driver.clients.try_send(input).is_err() {
            self.handle.metrics().count_dropped_message();
        }
        Ok(())
    }
}
