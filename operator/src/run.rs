//! The process: holds the lease, runs the controllers while it does, lets go at the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::args::Args;
use crate::controller;
use crate::events::Events;
use crate::http::Pages;
use crate::reconcile::Context;
use crate::resources::Images;

/// Seconds before its end at which a lease is renewed.
const LEASE_GRACE_SECONDS: u64 = 5;
/// How long reconciliations under way may take to end, and the lease to be let go.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the process ends before it was asked to.
#[derive(Debug, Error)]
pub enum RunError {
    /// Nothing says how to reach Kubernetes.
    #[error("connecting to Kubernetes")]
    Connect(#[source] kube::Error),
    /// The address for probes can't be had.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The lease can't be read or made.
    #[error("taking part in the lease")]
    Lease(#[source] LeaseManagerError),
    /// Another replica acts by now; this one must not.
    #[error("the lease was lost")]
    LeaseLost,
}

/// Runs the operator until `stop`.
pub async fn run(args: Args, stop: CancellationToken) -> Result<(), RunError> {
    let pages = Pages::default();
    let listener = Pages::listen(args.http_address)
        .await
        .map_err(|source| RunError::Listen {
            address: args.http_address,
            source,
        })?;
    let serving = tokio::spawn(pages.clone().serve(listener, stop.clone()));

    let client = Client::try_default().await.map_err(RunError::Connect)?;
    let manager = lease(&args, client.clone())
        .await
        .map_err(RunError::Lease)?;
    let (leading, lease_task) = manager.watch().await;
    pages.set_ready();
    info!(version = env!("CARGO_PKG_VERSION"), "waiting for the lease");

    let result = lead(args, client, &pages, leading, lease_task, &stop).await;
    stop.cancel();
    if let Ok(Ok(Err(error))) = tokio::time::timeout(STOP_TIMEOUT, serving).await {
        warn!(%error, "serving probes");
    }
    result
}

async fn lease(args: &Args, client: Client) -> Result<LeaseManager, LeaseManagerError> {
    let namespace = args
        .lease_namespace
        .clone()
        .unwrap_or_else(|| client.default_namespace().to_owned());
    // Random on top of the pod's name: a restarted container isn't the one that held the lease.
    let name = args.identity.as_deref().unwrap_or("raftery-operator");
    let identity = format!("{name}-{:08x}", fastrand::u32(..));
    LeaseManagerBuilder::new(client, &args.lease_name)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(args.lease_seconds)
        .with_grace(LEASE_GRACE_SECONDS.min(args.lease_seconds / 2))
        .build()
        .await
}

/// Waits for the lease, acts while it holds, and lets it go.
async fn lead(
    args: Args,
    client: Client,
    pages: &Pages,
    mut leading: watch::Receiver<bool>,
    lease_task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let acting = tokio::select! {
        () = stop.cancelled() => false,
        held = leading.wait_for(|leads| *leads) => held.is_ok(),
    };
    let mut result = Ok(());
    if acting {
        info!("holding the lease");
        pages.metrics().lead(true);
        let stop_acting = stop.child_token();
        let namespaces: BTreeSet<String> = args
            .watch_namespaces
            .iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect();
        let context = Arc::new(Context::new(
            client.clone(),
            Events::new(client.clone(), args.identity),
            Arc::clone(pages.metrics()),
            args.node_image,
            Images {
                mongodb: args.mongodb_image,
            },
        ));
        let mut controllers = tokio::spawn({
            let stop = stop_acting.clone();
            async move { controller::run(client, &namespaces, context, stop).await }
        });
        let have_ended = tokio::select! {
            () = stop.cancelled() => {
                info!("stopping");
                false
            }
            _ = leading.wait_for(|leads| !*leads) => {
                result = Err(RunError::LeaseLost);
                false
            }
            _ = &mut controllers => true,
        };
        stop_acting.cancel();
        // A lost lease allows no more deeds; otherwise what is under way may end.
        let may_end = result.is_ok() && !have_ended;
        if may_end
            && tokio::time::timeout(STOP_TIMEOUT, &mut controllers)
                .await
                .is_err()
        {
            warn!("reconciliations under way took too long to end");
        }
        controllers.abort();
        pages.metrics().lead(false);
    }
    // Without a receiver the manager lets the lease go and ends.
    drop(leading);
    match tokio::time::timeout(STOP_TIMEOUT, lease_task).await {
        Ok(Ok(Ok(_))) => info!("the lease is let go"),
        Ok(Ok(Err(error))) => warn!(%error, "letting the lease go"),
        Ok(Err(error)) => warn!(%error, "the lease's task ended"),
        Err(_) => warn!("letting the lease go took too long"),
    }
    result
}
