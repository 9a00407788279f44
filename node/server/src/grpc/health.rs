//! `grpc.health.v1`: whether this node can serve, by what it knows without asking anyone.

use std::time::Duration;

use futures::Stream;
use futures::stream::{self, BoxStream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::handle::Handle;
use crate::http;

/// How often a watcher's answer is looked at anew.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

pub(super) struct HealthService {
    handle: Handle,
}

impl HealthService {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

fn serving(handle: &Handle) -> ServingStatus {
    match http::can_serve(handle) {
        Ok(()) => ServingStatus::Serving,
        Err(_) => ServingStatus::NotServing,
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

/// The status now, and again whenever it has changed.
fn changes(handle: Handle) -> impl Stream<Item = ServingStatus> {
    stream::unfold((handle, None), |(handle, last)| async move {
        let mut now = serving(&handle);
        while last == Some(now) {
            tokio::time::sleep(WATCH_INTERVAL).await;
            now = serving(&handle);
        }
        Some((now, (handle, Some(now))))
    })
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !request.into_inner().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(answer(serving(&self.handle))))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let statuses = if request.into_inner().service.is_empty() {
            changes(self.handle.clone()).boxed()
        } else {
            // The protocol wants the stream to stay open.
            stream::once(async { ServingStatus::ServiceUnknown })
                .chain(stream::pending())
                .boxed()
        };
        Ok(Response::new(
            statuses.map(|status| Ok(answer(status))).boxed(),
        ))
    }
}
