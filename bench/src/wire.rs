//! One connection to a member: gRPC straight on the `h2` crate.
//!
//! The load shares the cores with the servers that it measures, so it must cost little. A unary
//! call through tonic and hyper costs about twice the CPU time: tasks and a queue between caller and
//! connection, two buffers of 8 KiB for a message of 300 bytes. What a server sees of a call is
//! the same: the headers, the length prefix, the trailers.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use prost::Message;
use raftery_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    StatusRequest, StatusResponse, TxnRequest, TxnResponse,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One byte that says "not compressed" and four of length.
const PREFIX_BYTES: usize = 5;
/// So large that answers of a whole burst need no window update.
const WINDOW_BYTES: u32 = 4 << 20;

/// Why a call failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallError(String);

impl CallError {
    /// With the reason in words.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for CallError {}

impl From<h2::Error> for CallError {
    fn from(error: h2::Error) -> Self {
        Self(format!("the connection: {error}"))
    }
}

/// The calls of a connection, with their URLs.
struct Paths {
    put: Uri,
    range: Uri,
    txn: Uri,
    compact: Uri,
    status: Uri,
}

/// A connection over which any number of calls go at once. Clones share it. Once closed it
/// stays closed, and calls fail.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    paths: Rc<Paths>,
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
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(OneBuffer(stream))
            .await
            .with_context(|| format!("speaking HTTP/2 with {endpoint}"))?;
        // Its error is seen by the calls that it fails.
        tokio::task::spawn_local(async { drop(connection.await) });
        let path = |path: &'static str| -> Result<Uri> {
            let url = Uri::builder().scheme("http").authority(address.clone());
            Ok(url.path_and_query(path).build()?)
        };
        Ok(Self {
            sender,
            paths: Rc::new(Paths {
                put: path("/etcdserverpb.KV/Put")?,
                range: path("/etcdserverpb.KV/Range")?,
                txn: path("/etcdserverpb.KV/Txn")?,
                compact: path("/etcdserverpb.KV/Compact")?,
                status: path("/etcdserverpb.Maintenance/Status")?,
            }),
        })
    }

    /// Writes a key.
    pub async fn put(&mut self, request: &PutRequest) -> Result<PutResponse, CallError> {
        let url = self.paths.put.clone();
        self.call(url, request).await
    }

    /// Reads keys.
    pub async fn range(&mut self, request: &RangeRequest) -> Result<RangeResponse, CallError> {
        let url = self.paths.range.clone();
        self.call(url, request).await
    }

    /// Compares, then writes or reads.
    pub async fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, CallError> {
        let url = self.paths.txn.clone();
        self.call(url, request).await
    }

    /// Lets older revisions go.
    pub async fn compact(
        &mut self,
        request: &CompactionRequest,
    ) -> Result<CompactionResponse, CallError> {
        let url = self.paths.compact.clone();
        self.call(url, request).await
    }

    /// What the member says of itself.
    pub async fn status(&mut self) -> Result<StatusResponse, CallError> {
        let url = self.paths.status.clone();
        self.call(url, &StatusRequest {}).await
    }

    async fn call<A: Message + Default>(
        &mut self,
        url: Uri,
        request: &impl Message,
    ) -> Result<A, CallError> {
        std::future::poll_fn(|context| self.sender.poll_ready(context)).await?;
        let mut head = Request::new(());
        *head.method_mut() = Method::POST;
        *head.uri_mut() = url;
        let headers = head.headers_mut();
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let (response, mut sending) = self.sender.send_request(head, false)?;
        sending.send_data(framed(request), true)?;

        let response = response.await?;
        if response.headers().contains_key("grpc-status") {
            check_status(response.headers())?;
        }
        let mut body = response.into_body();
        let message = read_all(&mut body).await?;
        let trailers = body.trailers().await?;
        check_status(&trailers.unwrap_or_default())?;
        unframed(message)
    }
}

async fn read_all(body: &mut RecvStream) -> Result<Bytes, CallError> {
    // Nearly always one frame, which then isn't copied.
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        if first.is_empty() {
            first = chunk;
        } else {
            rest.get_or_insert_with(|| BytesMut::from(&first[..]))
                .extend_from_slice(&chunk);
        }
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}

/// A message with its prefix.
fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("keys and values are far below 4 GiB"));
    message.encode_raw(&mut frame);
    frame.freeze()
}

/// The one message of an answer.
fn unframed<A: Message + Default>(mut frame: Bytes) -> Result<A, CallError> {
    if frame.len() < PREFIX_BYTES {
        return Err(CallError::new("an answer without a message"));
    }
    let is_compressed = frame.get_u8() != 0;
    let length = frame.get_u32() as usize;
    if is_compressed || length != frame.len() {
        return Err(CallError::new("an answer that isn't one plain message"));
    }
    A::decode(frame).map_err(|error| CallError(format!("an answer can't be decoded: {error}")))
}

fn check_status(headers: &HeaderMap) -> Result<(), CallError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        Some("0") => Ok(()),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(CallError(format!("status {code}: {message}")))
        }
        None => Err(CallError::new("an answer without a status")),
    }
}

/// Doesn't take several buffers at once. If it did, `h2` would hand over every payload of 256
/// bytes and more with a system call of its own, instead of filling one buffer.
struct OneBuffer(TcpStream);

impl AsyncRead for OneBuffer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, to)
    }
}

impl AsyncWrite for OneBuffer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, from)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_its_frame() {
        let request = PutRequest {
            key: "k".into(),
            value: "v".into(),
            ..Default::default()
        };
        let frame = framed(&request);
        assert_eq!(&frame[..PREFIX_BYTES], [0, 0, 0, 0, 6]);
        assert_eq!(unframed::<PutRequest>(frame), Ok(request));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bad in [&b""[..], &[0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 1]] {
            assert!(unframed::<PutRequest>(Bytes::copy_from_slice(bad)).is_err());
        }
    }

    #[test]
    fn a_status_other_than_ok_is_an_error_with_its_words() {
        let mut headers = HeaderMap::new();
        assert!(check_status(&headers).is_err());
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert_eq!(check_status(&headers), Ok(()));
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        headers.insert("grpc-message", HeaderValue::from_static("no leader"));
        let error = check_status(&headers).unwrap_err();
        assert_eq!(error.to_string(), "status 14: no leader");
    }
}
