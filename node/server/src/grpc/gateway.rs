//! The way into a port. On the client port nearly every call is for the KV service, so that one is
//! found without a router; what is common to all of etcd's services is looked at here.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use axum::routing::future::RouteFuture;
use futures::TryFutureExt;
use futures::future::{Either, MapOk, Ready, ready};
use raftery_proto::etcdserverpb::kv_server::KvServer;
use tonic::Status;
use tonic::codegen::BoxFuture;
use tower::Service;

use super::kv::KvService;
use crate::error::RequestError;
use crate::handle::Handle;

/// Paths of etcd's services.
const ETCD: &str = "/etcdserverpb.";
/// Paths of its KV service.
const KV: &str = "/etcdserverpb.KV/";

/// What a port serves. One type for all ports, so that the HTTP server is built once.
#[derive(Clone)]
pub(crate) struct Gateway {
    client: Option<Client>,
    others: Router,
}

/// What only the client port has.
#[derive(Clone)]
struct Client {
    handle: Handle,
    kv: KvServer<KvService>,
}

type Answer = Response<tonic::body::Body>;
type Kv = MapOk<BoxFuture<Answer, Infallible>, fn(Answer) -> Response<Body>>;
type Refused = Ready<Result<Response<Body>, Infallible>>;

impl Gateway {
    /// A port that serves nothing but `router`.
    pub(crate) fn new(router: Router) -> Self {
        Self {
            client: None,
            others: router,
        }
    }

    /// The client port: the KV service, and `others`.
    pub(super) fn with_kv(handle: Handle, kv: KvServer<KvService>, others: Router) -> Self {
        Self {
            client: Some(Client { handle, kv }),
            others,
        }
    }
}

impl Client {
    /// A client may ask to be refused rather than to wait while there is no leader.
    fn admit(&self, request: &Request<Body>) -> Result<(), Status> {
        let is_refused = request.uri().path().starts_with(ETCD)
            && wants_leader(request.headers())
            && !self.handle.has_leader();
        if is_refused {
            return Err(RequestError::NoLeader.into());
        }
        Ok(())
    }
}

impl Service<Request<Body>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Kv, Either<RouteFuture<Infallible>, Refused>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(client) = &mut self.client {
            if let Err(status) = client.admit(&request) {
                return Either::Right(Either::Right(ready(Ok(status.into_http()))));
            }
            if request.uri().path().starts_with(KV) {
                let to_axum: fn(Answer) -> Response<Body> = |answer| answer.map(Body::new);
                return Either::Left(client.kv.call(request).map_ok(to_axum));
            }
        }
        Either::Right(Either::Left(self.others.call(request)))
    }
}

/// The metadata of etcd's clients: `hasleader: true` wants to fail rather than wait.
fn wants_leader(headers: &HeaderMap) -> bool {
    headers
        .get("hasleader")
        .is_some_and(|value| value.as_bytes() == b"true")
}
