//! A node from start to end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use raftery_config::{ClusterStart, NodeConfig};
use raftery_fs::RealFs;
use raftery_proto::peer::peer_server::PeerServer;
use raftery_raft::{LogId, RoleKind};
use raftery_store::StoreIoError;
use raftery_wal::WalError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::bootstrap::{self, AssignError, Assignment, Introductions};
use crate::command::CommandError;
use crate::driver::{Ended, Input};
use crate::grpc::Gateway;
use crate::handle::Handle;
use crate::listen::Listeners;
use crate::metrics::Metrics;
use crate::node::{self, Log, Running, Tasks};
use crate::state::StateError;
use crate::transport::{FRAME_BYTES_MAX, PeerService};
use crate::{grpc, http, incarnation};

/// Why a node ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A socket couldn't be bound.
    #[error("cannot listen for {what} on {address}: {source}")]
    Listen {
        /// Which gateway.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the configuration couldn't be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The data folder or the system's randomness failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The write-ahead log is damaged, another's, or failed.
    #[error("write-ahead log: {0}")]
    Wal(#[source] WalError),
    /// The state is damaged, failed, or can't be understood.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log was cut behind what the state machine had durable, and that is gone.
    #[error(
        "the store holds entries up to {applied}, but the write-ahead log begins behind {base}: the \
         store was lost or is an older copy. This disk can't go on; replace the member"
    )]
    StateBehindLog {
        /// What the store holds.
        applied: LogId,
        /// Where the log begins.
        base: LogId,
    },
    /// The peers have founded a cluster with another disk in this node's place.
    #[error(
        "the peer at {url} belongs to cluster {cluster_id:x}, which knows another disk under this \
         node's URLs: this disk was replaced or emptied. Remove the old member, add a new one \
         (etcdctl member remove, member add) and start with --initial-cluster-state=existing"
    )]
    FoundedWithoutUs {
        /// The peer.
        url: String,
        /// Its cluster.
        cluster_id: u64,
    },
    /// A peer was started for another cluster.
    #[error("the peer at {url} has another --initial-cluster-token")]
    TokenMismatch {
        /// The peer.
        url: String,
    },
    /// The members don't let this node join.
    #[error("the member at {url} refused to let this node join: {reason}")]
    JoinRefused {
        /// The member.
        url: String,
        /// Why.
        reason: String,
    },
    /// This member was removed from the cluster; it must never come back.
    #[error("this member was removed from its cluster; its data folder is of no more use")]
    Removed,
    /// A task of the node ended by a bug.
    #[error("a task of the node ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl RunError {
    /// The process's exit code: supervisors and the operator tell the cases apart by it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Listen { .. } | Self::File { .. } | Self::Io(_) | Self::Task(_) => 1,
            Self::Removed => 10,
            Self::Wal(WalError::Sync { .. } | WalError::Failed) => 11,
            Self::State(StateError::Store(StoreIoError::Sync { .. } | StoreIoError::Failed)) => 11,
            Self::State(StateError::Command(CommandError::ClusterVersion { .. })) => 14,
            // A full disk, say: what is there is sound.
            Self::Wal(WalError::Io { .. })
            | Self::State(StateError::Store(StoreIoError::Io { .. })) => 1,
            Self::Wal(_) | Self::State(_) | Self::StateBehindLog { .. } => 12,
            Self::FoundedWithoutUs { .. }
            | Self::TokenMismatch { .. }
            | Self::JoinRefused { .. } => 13,
        }
    }
}

type AssignmentQueue = mpsc::Receiver<(Assignment, oneshot::Sender<Result<(), AssignError>>)>;

/// Runs a node until `shutdown` resolves or it must end.
///
/// # Errors
/// See [`RunError`].
pub async fn run(config: NodeConfig, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let token = match &config.admin_token_file {
        Some(path) => Some(read_token(path)?),
        None => None,
    };
    // Before anyone can ask: a node with data must never look blank, or the operator would
    // replace a member that lost nothing.
    let log = node::open_wal(&config.data_dir)?;
    let incarnation = incarnation::load_or_draw(&RealFs, &config.data_dir, log.is_some())?;
    let metrics = Arc::new(Metrics::new());
    let (assignments, mut assignments_in) = mpsc::channel(1);
    let handle = Handle::new(
        config.clone(),
        incarnation,
        Arc::clone(&metrics),
        assignments,
    );
    let resumed = match log {
        Some(log) => Some(start(&config, log, &metrics, &handle)?),
        None => None,
    };

    let stop = CancellationToken::new();
    let mut gateways = JoinSet::new();
    serve(&config, incarnation, &handle, token, &mut gateways, &stop).await?;
    tokio::pin!(shutdown);
    let started = match resumed {
        Some(started) => Some(started),
        None => tokio::select! {
            started = begin(&config, incarnation, &metrics, &handle, &mut assignments_in) => {
                Some(started?)
            }
            () = &mut shutdown => None,
        },
    };
    let result = match started {
        Some((running, tasks)) => supervise(&running, tasks, assignments_in, shutdown).await,
        None => Ok(()),
    };
    stop.cancel();
    while gateways.join_next().await.is_some() {}
    result
}

/// Binds and serves the gateways.
async fn serve(
    config: &NodeConfig,
    incarnation: u64,
    handle: &Handle,
    token: Option<String>,
    gateways: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let introductions = Arc::new(Introductions::new(config, incarnation));
    let peer_service = PeerServer::new(PeerService::new(handle.clone(), introductions))
        .max_decoding_message_size(FRAME_BYTES_MAX)
        .max_encoding_message_size(FRAME_BYTES_MAX);
    let peers = Gateway::new(tonic::service::Routes::new(peer_service).into_axum_router());
    let admin = Gateway::new(grpc::admin_router(handle.clone(), token));
    let metrics = Gateway::new(http::metrics_router(handle.clone()));
    let clients = grpc::client_gateway(handle.clone());
    for (what, urls, gateway) in [
        ("peers", &config.listen_peer_urls, peers),
        ("admin", &config.listen_admin_urls, admin),
        ("metrics", &config.listen_metrics_urls, metrics),
        ("clients", &config.listen_client_urls, clients),
    ] {
        Listeners::bind(what, urls)
            .await?
            .serve(&gateway, gateways, stop);
    }
    Ok(())
}

fn read_token(path: &std::path::Path) -> Result<String, RunError> {
    let text = std::fs::read_to_string(path).map_err(|source| RunError::File {
        path: path.display().to_string(),
        source,
    })?;
    Ok(text.trim().to_owned())
}

/// Starts the node from its log; from here on gateways reach it.
fn start(
    config: &NodeConfig,
    (wal, recovered): Log,
    metrics: &Arc<Metrics>,
    handle: &Handle,
) -> Result<(Arc<Running>, Tasks), RunError> {
    let started = node::start(config, wal, recovered, metrics)?;
    // Set once, since a node starts once.
    let _ = handle.cell().set(Arc::clone(&started.0));
    Ok(started)
}

/// Comes to an identity, then starts.
async fn begin(
    config: &NodeConfig,
    incarnation: u64,
    metrics: &Arc<Metrics>,
    handle: &Handle,
    assignments: &mut AssignmentQueue,
) -> Result<(Arc<Running>, Tasks), RunError> {
    let start = || {
        let log = node::open_wal(&config.data_dir)?.ok_or_else(|| RunError::File {
            path: node::wal_dir(&config.data_dir).display().to_string(),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        start(config, log, metrics, handle)
    };
    if config.start != ClusterStart::Managed {
        bootstrap::find_identity(config, incarnation).await?;
        return start();
    }
    info!(
        incarnation = format!("{incarnation:x}"),
        "blank, waiting for an identity"
    );
    loop {
        let Some((assignment, reply)) = assignments.recv().await else {
            return std::future::pending().await;
        };
        if let Err(refused) = bootstrap::check_assigned(config, incarnation, &assignment) {
            let _ = reply.send(Err(refused));
            continue;
        }
        if let Err(error) = bootstrap::write_assigned(config, incarnation, assignment) {
            let _ = reply.send(Err(AssignError::Write(error.to_string())));
            return Err(error);
        }
        let started = start()?;
        // Whoever gave up waiting asks again, and is answered alike.
        let _ = reply.send(Ok(()));
        return Ok(started);
    }
}

/// Waits until the node is asked to stop or must end.
async fn supervise(
    running: &Arc<Running>,
    mut tasks: Tasks,
    mut assignments: AssignmentQueue,
    mut shutdown: impl Future<Output = ()> + Unpin,
) -> Result<(), RunError> {
    let mut announced = running.driver.status.clone();
    let mut is_announced = false;
    let mut is_applying = true;
    let ended = loop {
        tokio::select! {
            ended = &mut tasks.driver => break ended?,
            applied = &mut tasks.apply, if is_applying => {
                // An entry that can't be understood ends the process.
                applied??;
                is_applying = false;
            }
            () = &mut shutdown => {
                info!("asked to stop");
                let _ = running.driver.inputs.send(Input::Stop);
                break (&mut tasks.driver).await?;
            }
            Some((assignment, reply)) = assignments.recv() => {
                let _ = reply.send(assigned_already(running, assignment));
            }
            changed = announced.wait_for(is_serving), if !is_announced => {
                if changed.is_ok() {
                    info!("ready to serve client requests");
                }
                is_announced = true;
            }
        }
    };
    if is_applying {
        // Whoever waits for what was committed is still answered.
        tasks.apply.await??;
    }
    drop(tasks.keeper);
    for task in tasks.others {
        task.abort();
    }
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Removed => Err(RunError::Removed),
        Ended::WalFailed(failure) => {
            error!(%failure, "ending: what was not synced must not be acknowledged");
            Err(RunError::Wal(failure))
        }
        Ended::StateFailed(failure) => Err(RunError::State(failure)),
    }
}

fn is_serving(status: &raftery_raft::Status) -> bool {
    status.leader.is_some() && status.role != RoleKind::Learner
}

/// An assignment is idempotent: the same one is answered as the first time.
fn assigned_already(running: &Running, assignment: Assignment) -> Result<(), AssignError> {
    let me = &running.me;
    let same = assignment.cluster_id == me.cluster_id
        && assignment.lineage == me.lineage
        && assignment.member_id == me.id;
    if same {
        return Ok(());
    }
    Err(AssignError::NotBlank {
        member: me.id.0,
        cluster: me.cluster_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_version_that_is_too_new_has_an_exit_code_of_its_own() {
        let unknown = StateError::Command(CommandError::ClusterVersion { version: 99 });
        let ended = RunError::State(unknown);
        assert_eq!(ended.exit_code(), 14);
        let told = ended.to_string();
        assert!(
            told.contains("version 99") && told.contains("newer"),
            "{told}"
        );
        let damaged = StateError::Command(CommandError::StateLayout(Some(9)));
        assert_eq!(RunError::State(damaged).exit_code(), 12);
    }
}
