//! What stands in front of a member's peer service and passes on every call, but for what it is
//! told to change. Unlike [`crate::proxy`] it knows what is said.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use futures::{Stream, StreamExt};
use raftery_proto::peer::peer_client::PeerClient;
use raftery_proto::peer::peer_server::{Peer, PeerServer};
use raftery_proto::peer::{
    ForwardRequest, ForwardResponse, IntroduceRequest, IntroduceResponse, JoinRequest,
    JoinResponse, PeerFrame, PeerNotice, SnapshotFrame, SnapshotProgress,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::bare::Cluster;
use crate::proxy::Whereabouts;

/// As members have it.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What happens to a snapshot's stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotFault {
    /// A byte of its first chunk is another one.
    WrongByte,
    /// It ends, in good order, after its first chunk.
    CutShort,
    /// It waits until [`PeerProxies::let_snapshots_pass`].
    Held,
}

/// The proxies of a cluster's nodes, in their order.
pub struct PeerProxies {
    doors: Vec<Arc<Door>>,
    _servers: JoinSet<()>,
}

/// What stands in front of one node.
struct Door {
    node: Arc<Whereabouts>,
    /// In the node's answers to handshakes; `None`: as the node says.
    cluster_version_max: Mutex<Option<u32>>,
    /// Streams end when it changes.
    cuts: watch::Sender<u64>,
    /// Of the next snapshots that come.
    faults: Mutex<VecDeque<SnapshotFault>>,
    snapshots_pass: watch::Sender<bool>,
}

impl PeerProxies {
    /// Put themselves in front of the nodes of a cluster that wasn't started yet.
    pub async fn in_front_of(cluster: &mut Cluster) -> Result<Self> {
        let mut doors = Vec::new();
        let mut servers = JoinSet::new();
        let mut ports = Vec::new();
        for node in &cluster.nodes {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            ports.push(listener.local_addr()?.port());
            let door = Arc::new(Door {
                node: node.whereabouts(),
                cluster_version_max: Mutex::default(),
                cuts: watch::Sender::default(),
                faults: Mutex::default(),
                snapshots_pass: watch::Sender::default(),
            });
            let service = PeerServer::new(Front(Arc::clone(&door)))
                .max_decoding_message_size(FRAME_BYTES_MAX);
            doors.push(door);
            let server = Server::builder().add_service(service);
            let serving = server.serve_with_incoming(TcpIncoming::from(listener));
            // It ends with the test; what fails before shows as a peer that isn't reached.
            servers.spawn(async move { drop(serving.await) });
        }
        cluster.advertise(&ports);
        Ok(Self {
            doors,
            _servers: servers,
        })
    }

    /// Has a node's answers say that it supports no higher cluster version; `None`: what it says
    /// itself. Its peers connect anew and hear it.
    pub fn claim_cluster_version(&self, node: usize, highest: Option<u32>) {
        let door = &self.doors[node];
        *door.cluster_version_max.lock().expect(LOCK) = highest;
        door.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// What happens to the next snapshots that are sent to a node, one after the other.
    pub fn spoil_snapshots(&self, node: usize, faults: &[SnapshotFault]) {
        self.doors[node].faults.lock().expect(LOCK).extend(faults);
    }

    /// Held snapshots go on.
    pub fn let_snapshots_pass(&self, node: usize) {
        self.doors[node].snapshots_pass.send_replace(true);
    }
}

const LOCK: &str = "no holder panics";

impl Door {
    fn client(&self) -> Result<PeerClient<Channel>, Status> {
        let url = format!("http://127.0.0.1:{}", self.node.peer_port());
        let endpoint = Endpoint::from_shared(url).map_err(|e| Status::internal(e.to_string()))?;
        Ok(PeerClient::new(endpoint.connect_lazy()).max_decoding_message_size(FRAME_BYTES_MAX))
    }

    /// Comes when streams are to end.
    fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut cuts = self.cuts.subscribe();
        async move { drop(cuts.changed().await) }
    }
}

struct Front(Arc<Door>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What arrived, up to where the stream breaks.
fn arrived<T: Send + 'static>(frames: Streaming<T>) -> impl Stream<Item = T> + Send {
    frames
        .take_while(|frame| std::future::ready(frame.is_ok()))
        .filter_map(|frame| std::future::ready(frame.ok()))
}

#[tonic::async_trait]
impl Peer for Front {
    type DeliverStream = Answers<PeerNotice>;

    async fn deliver(
        &self,
        request: Request<Streaming<PeerFrame>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let Self(door) = self;
        let frames = arrived(request.into_inner()).take_until(Box::pin(door.cut()));
        let answers = door.client()?.deliver(frames).await?.into_inner();
        let claimed = *door.cluster_version_max.lock().expect(LOCK);
        let answers = answers.map(move |notice| {
            let mut notice = notice?;
            if let Some(highest) = claimed {
                notice.cluster_version_max = highest;
            }
            Ok(notice)
        });
        Ok(Response::new(Box::pin(
            answers.take_until(Box::pin(door.cut())),
        )))
    }

    async fn forward(
        &self,
        request: Request<ForwardRequest>,
    ) -> Result<Response<ForwardResponse>, Status> {
        self.0.client()?.forward(request.into_inner()).await
    }

    type InstallSnapshotStream = Answers<SnapshotProgress>;

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotFrame>>,
    ) -> Result<Response<Self::InstallSnapshotStream>, Status> {
        let Self(door) = self;
        let fault = door.faults.lock().expect(LOCK).pop_front();
        if fault == Some(SnapshotFault::Held) {
            let mut passes = door.snapshots_pass.subscribe();
            let passing = passes.wait_for(|passes| *passes).await;
            passing.map_err(|_| Status::unavailable("the test is over"))?;
        }
        let frames = arrived(request.into_inner());
        let mut client = door.client()?;
        let answers = match fault {
            Some(SnapshotFault::WrongByte) => client.install_snapshot(frames.map(spoiled)).await,
            // The hello and one chunk.
            Some(SnapshotFault::CutShort) => client.install_snapshot(frames.take(2)).await,
            Some(SnapshotFault::Held) | None => client.install_snapshot(frames).await,
        }?;
        Ok(Response::new(Box::pin(answers.into_inner())))
    }

    async fn introduce(
        &self,
        request: Request<IntroduceRequest>,
    ) -> Result<Response<IntroduceResponse>, Status> {
        self.0.client()?.introduce(request.into_inner()).await
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        self.0.client()?.join(request.into_inner()).await
    }
}

fn spoiled(mut frame: SnapshotFrame) -> SnapshotFrame {
    if let Some(chunk) = frame.chunk.as_mut().filter(|chunk| chunk.offset == 0) {
        let mut data = chunk.data.to_vec();
        if let Some(last) = data.last_mut() {
            *last ^= 1;
        }
        chunk.data = data.into();
    }
    frame
}
