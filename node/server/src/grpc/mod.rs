//! The gRPC gateways: protobuf outside, the domain's types inside.
//!
//! **Owns** the translation of requests, answers and errors, and what is refused before a
//! request costs anything. **Never** holds state: every service is a [`Handle`].
//!
//! ```text
//! client ── gate (leader wanted?) ── service ── convert ──> Handle ──> driver, store
//!    ^                                  └── status (errors) <──┘
//! ```

mod admin;
mod cluster;
mod convert;
mod health;
mod kv;
mod maintenance;
pub(crate) mod status;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use raftery_proto::admin::admin_server::AdminServer;
use raftery_proto::etcdserverpb::cluster_server::ClusterServer;
use raftery_proto::etcdserverpb::kv_server::KvServer;
use raftery_proto::etcdserverpb::maintenance_server::MaintenanceServer;
use raftery_raft::RoleKind;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};
use tonic_health::pb::health_server::HealthServer;

use crate::error::RequestError;
use crate::handle::{Handle, REQUEST_BYTES_MAX};
use crate::http;

/// Largest message in bytes that is read: etcd leaves 512 KiB for what surrounds a request.
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 512 * 1024;
/// Largest answer in bytes: what etcd's clients take.
const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

/// Everything on the client port: etcd's services, health, and the HTTP paths beside them.
pub fn client_router(handle: Handle) -> Router {
    let gate = {
        let handle = handle.clone();
        move |request: Request<()>| leader_if_wanted(&handle, request)
    };
    let kv = KvServer::new(kv::KvService::new(handle.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let cluster = ClusterServer::new(cluster::ClusterService::new(handle.clone()));
    let maintenance = MaintenanceServer::new(maintenance::MaintenanceService::new(handle.clone()));
    let health = HealthServer::new(health::HealthService::new(handle.clone()));
    Routes::new(InterceptedService::new(kv, gate.clone()))
        .add_service(InterceptedService::new(cluster, gate.clone()))
        .add_service(InterceptedService::new(maintenance, gate))
        .add_service(health)
        .into_axum_router()
        .merge(http::client_routes(handle))
        .fallback(unknown_path)
}

/// The admin port. With a token, every call must bear it.
pub fn admin_router(handle: Handle, token: Option<String>) -> Router {
    let service = AdminServer::new(admin::AdminService::new(handle));
    let guarded = InterceptedService::new(service, admin::Guard::new(token));
    Routes::new(guarded)
        .into_axum_router()
        .fallback(unknown_path)
}

/// gRPC clients want to hear that a method doesn't exist in their own words: etcd's clients
/// fall back on other methods then.
async fn unknown_path(headers: HeaderMap) -> Response {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|text| text.starts_with("application/grpc")) {
        Status::unimplemented("unknown service or method").into_http::<axum::body::Body>()
    } else {
        (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
    }
}

/// The metadata of etcd's clients: `hasleader: true` wants to fail rather than wait.
fn leader_if_wanted(handle: &Handle, request: Request<()>) -> Result<Request<()>, Status> {
    if wants_leader(request.metadata()) && !has_leader(handle) {
        return Err(RequestError::NoLeader.into());
    }
    Ok(request)
}

fn wants_leader(metadata: &MetadataMap) -> bool {
    metadata
        .get("hasleader")
        .is_some_and(|value| value.as_bytes() == b"true")
}

fn has_leader(handle: &Handle) -> bool {
    handle.status().is_some_and(|raft| raft.leader.is_some())
}

/// Whether this member may serve more than its status and serializable reads.
fn admit(handle: &Handle) -> Result<(), RequestError> {
    if handle.is_blank() || !handle.is_open() {
        return Err(RequestError::NotOpen);
    }
    match handle.status() {
        Some(raft) if raft.role == RoleKind::Learner => Err(RequestError::Learner),
        _ => Ok(()),
    }
}

/// Refuses what is too large for the log before it is copied anywhere.
fn within_limit(request: &impl prost::Message) -> Result<(), RequestError> {
    let bytes = request.encoded_len();
    if bytes > REQUEST_BYTES_MAX {
        return Err(RequestError::TooLarge {
            bytes,
            bytes_max: REQUEST_BYTES_MAX,
        });
    }
    Ok(())
}
