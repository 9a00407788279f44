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
mod gateway;
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
use tonic::Status;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic_health::pb::health_server::HealthServer;

pub(crate) use self::gateway::Gateway;
use crate::error::RequestError;
use crate::handle::{Handle, REQUEST_BYTES_MAX};
use crate::http;

/// Largest message in bytes that is read: etcd leaves 512 KiB for what surrounds a request.
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 512 * 1024;
/// Largest answer in bytes: what etcd's clients take.
const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

/// Everything on the client port: etcd's services, health, and the HTTP paths beside them.
pub(crate) fn client_gateway(handle: Handle) -> Gateway {
    let kv = KvServer::new(kv::KvService::new(handle.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let cluster = ClusterServer::new(cluster::ClusterService::new(handle.clone()));
    let maintenance = MaintenanceServer::new(maintenance::MaintenanceService::new(handle.clone()));
    let health = HealthServer::new(health::HealthService::new(handle.clone()));
    let others = Routes::new(cluster)
        .add_service(maintenance)
        .add_service(health)
        .into_axum_router()
        .merge(http::client_routes(handle.clone()))
        .fallback(unknown_path);
    Gateway::with_kv(handle, kv, others)
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
