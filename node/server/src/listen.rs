//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::ServiceExt;
use raftery_config::ListenUrl;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::RunError;
use crate::grpc::Gateway;

/// How long open connections may finish when the node goes down.
const GRACE: Duration = Duration::from_secs(1);

/// Sockets of one gateway, bound but not served yet.
#[derive(Debug)]
pub(crate) struct Listeners {
    what: &'static str,
    sockets: Vec<TcpListener>,
}

impl Listeners {
    /// Binds all URLs.
    ///
    /// # Errors
    /// When an address is taken or isn't this machine's.
    pub(crate) async fn bind(what: &'static str, urls: &[ListenUrl]) -> Result<Self, RunError> {
        let mut sockets = Vec::new();
        for url in urls {
            for address in [url.address()] {
                sockets.push(bind(what, address).await?);
            }
        }
        Ok(Self { what, sockets })
    }

    /// Serves until told to stop.
    pub(crate) fn serve(
        self,
        gateway: &Gateway,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        for socket in self.sockets {
            let (gateway, stop, what) = (gateway.clone(), stop.clone(), self.what);
            if let Ok(address) = socket.local_addr() {
                info!(what, %address, "listening");
            }
            tasks.spawn(async move {
                let stopped = stop.clone();
                let serve = axum::serve(NoDelay(socket), gateway.into_make_service())
                    .with_graceful_shutdown(async move { stopped.cancelled().await });
                let deadline = async {
                    stop.cancelled().await;
                    tokio::time::sleep(GRACE).await;
                };
                tokio::select! {
                    result = serve => if let Err(error) = result {
                        debug!(what, %error, "serving ended");
                    },
                    () = deadline => {}
                }
            });
        }
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen {
            what,
            address,
            source,
        })
}

/// A listener whose connections send at once: answers are small and someone waits for them.
struct NoDelay(TcpListener);

impl axum::serve::Listener for NoDelay {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%address, %error, "the connection was closed while it was accepted");
        }
        (Connection(stream), address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A connection that doesn't offer to write several pieces at once. The HTTP/2 library then copies
/// small answers into one buffer, and one call sends them all; otherwise it would hand each of 256
/// bytes and more to the system on its own.
struct Connection(TcpStream);

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
