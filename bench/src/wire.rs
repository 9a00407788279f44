//! One connection to a member: tonic's generated-code path straight on hyper's HTTP/2.
//!
//! `tonic::transport::Channel` puts a queue, a worker task and a reconnecting layer between the
//! caller and the connection. The load shares two cores with the servers it measures, so what
//! it needn't do it doesn't: everything here runs on one thread, without them.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use prost::Message;
use raftery_proto::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse,
    TxnRequest, TxnResponse,
};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Allocated for each request and each answer; a pair of 1 KiB fits. tonic's own are 8 KiB.
const BUFFER_BYTES: usize = 1536;

/// A connection over which any number of calls go at once. Clones share it. Once closed it
/// stays closed, and calls fail.
#[derive(Clone)]
pub struct Connection {
    grpc: Grpc<Http2>,
}

impl Connection {
    /// Connects to `http://host:port`. Only inside a `LocalSet`: the connection's own task is
    /// spawned there.
    pub async fn open(endpoint: &str) -> Result<Self> {
        let origin: Uri = endpoint
            .parse()
            .with_context(|| format!("{endpoint} is no URL"))?;
        let address = origin
            .authority()
            .with_context(|| format!("{endpoint} has no host and port"))?;
        let stream = TcpStream::connect(address.as_str())
            .await
            .with_context(|| format!("connecting to {endpoint}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(OnThisThread, TokioIo::new(stream)).await?;
        // Its error is seen by the calls that it fails.
        tokio::task::spawn_local(async { drop(connection.await) });
        Ok(Self {
            grpc: Grpc::with_origin(Http2(sender), origin),
        })
    }

    /// Writes a key.
    pub async fn put(&mut self, request: PutRequest) -> Result<PutResponse, Status> {
        self.call("/etcdserverpb.KV/Put", request).await
    }

    /// Reads keys.
    pub async fn range(&mut self, request: RangeRequest) -> Result<RangeResponse, Status> {
        self.call("/etcdserverpb.KV/Range", request).await
    }

    /// Compares, then writes or reads.
    pub async fn txn(&mut self, request: TxnRequest) -> Result<TxnResponse, Status> {
        self.call("/etcdserverpb.KV/Txn", request).await
    }

    /// What the member says of itself.
    pub async fn status(&mut self) -> Result<StatusResponse, Status> {
        self.call("/etcdserverpb.Maintenance/Status", StatusRequest {})
            .await
    }

    async fn call<Q, A>(&mut self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path = PathAndQuery::from_static(path);
        self.grpc
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = self
            .grpc
            .unary(tonic::Request::new(request), path, SmallBuffers::default())
            .await?;
        Ok(answer.into_inner())
    }
}

/// hyper's sending half in the shape that tonic calls.
#[derive(Clone)]
struct Http2(SendRequest<Body>);

impl GrpcService<Body> for Http2 {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Runs a connection's tasks on the thread that opened it.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future + 'static> Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async {
            future.await;
        });
    }
}

/// Protobuf with [`BUFFER_BYTES`].
struct SmallBuffers<Q, A>(PhantomData<(Q, A)>);

impl<Q, A> Default for SmallBuffers<Q, A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Q, A> Codec for SmallBuffers<Q, A>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    type Encode = Q;
    type Decode = A;
    type Encoder = ProstEncoder<Q>;
    type Decoder = ProstDecoder<A>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER_BYTES, BUFFER_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER_BYTES, BUFFER_BYTES))
    }
}
