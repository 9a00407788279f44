//! What plain HTTP serves: probes, metrics, the version, the ledger.
//!
//! | path | client port | metrics port | answers |
//! |---|---|---|---|
//! | `/health` | x | x | etcd's JSON; 503 when a client's read would fail |
//! | `/livez` | x | x | the driver's loop turns; never needs a quorum |
//! | `/readyz` | x | x | an open cluster, a voter, a leader, a linearizable read in time |
//! | `/version` | x | | etcd's JSON |
//! | `/metrics` | x | x | OpenMetrics text |
//! | `/ledger` | | x | batches of verdicts and intervals, JSON |

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use raftery_config::{ETCD_API_VERSION, ETCD_CLUSTER_VERSION};
use raftery_raft::RoleKind;
use serde::{Deserialize, Serialize};

use crate::handle::{Handle, LedgerPart};
use crate::metrics::Picture;

/// How long a probe waits for a linearizable read.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// Batches that a call without a limit gets.
const BATCHES_DEFAULT: usize = 1_000;
/// The most batches that one call gets.
const BATCHES_MAX: usize = 10_000;

/// What stands beside gRPC on the client port.
pub(crate) fn client_routes(handle: Handle) -> Router {
    probes().route("/version", get(version)).with_state(handle)
}

/// Everything on the metrics port.
pub fn metrics_router(handle: Handle) -> Router {
    probes().route("/ledger", get(ledger)).with_state(handle)
}

fn probes() -> Router<Handle> {
    Router::new()
        .route("/health", get(health))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// Why a node can't serve clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotServe {
    /// The driver's loop hasn't turned for long.
    #[error("the node's main loop is stuck")]
    Stuck,
    /// No identity yet.
    #[error("waiting for an identity")]
    Blank,
    /// The cluster is being founded.
    #[error("the cluster is being founded and not open for clients yet")]
    NotOpen,
    /// A learner serves next to nothing.
    #[error("not a voter")]
    NotVoter,
    /// Nobody leads.
    #[error("no leader")]
    NoLeader,
}

/// Whether this node can serve clients, by what it knows without asking anyone.
pub(crate) fn can_serve(handle: &Handle) -> Result<(), CannotServe> {
    if !handle.is_alive() {
        return Err(CannotServe::Stuck);
    }
    let raft = handle.status().ok_or(CannotServe::Blank)?;
    if !handle.is_open() {
        return Err(CannotServe::NotOpen);
    }
    if !raft.membership.is_voter(raft.id) {
        return Err(CannotServe::NotVoter);
    }
    if raft.leader.is_none() {
        return Err(CannotServe::NoLeader);
    }
    Ok(())
}

/// A read that sees everything committed before it; an error says why there is none.
async fn linearizable_read(handle: &Handle) -> Result<(), String> {
    match tokio::time::timeout(READ_TIMEOUT, handle.linearizable_barrier()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "no linearizable read within {} ms",
            READ_TIMEOUT.as_millis()
        )),
    }
}

#[derive(Deserialize)]
struct HealthQuery {
    #[serde(default)]
    serializable: bool,
}

/// etcd's answer, which load balancers and scripts read.
async fn health(State(handle): State<Handle>, query: Query<HealthQuery>) -> Response {
    let reason = if query.serializable {
        match can_serve(&handle) {
            Ok(()) | Err(CannotServe::NoLeader | CannotServe::NotVoter) => None,
            Err(other) => Some(other.to_string()),
        }
    } else {
        match can_serve(&handle) {
            Err(CannotServe::NoLeader) => Some("RAFT NO LEADER".to_owned()),
            Err(other) => Some(other.to_string()),
            Ok(()) => linearizable_read(&handle)
                .await
                .err()
                .map(|e| format!("RANGE ERROR:{e}")),
        }
    };
    #[derive(Serialize)]
    struct Health {
        health: &'static str,
        reason: String,
    }
    let (status, health) = match reason {
        None => (
            StatusCode::OK,
            Health {
                health: "true",
                reason: String::new(),
            },
        ),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Health {
                health: "false",
                reason,
            },
        ),
    };
    (status, Json(health)).into_response()
}

#[derive(Deserialize)]
struct ProbeQuery {
    verbose: Option<String>,
}

/// One check of a probe by name, and why it failed.
type Check = (&'static str, Result<(), String>);

/// Needs nobody but this process: restarting it wouldn't bring a quorum back.
async fn livez(State(handle): State<Handle>, query: Query<ProbeQuery>) -> Response {
    let turns = if handle.is_alive() {
        Ok(())
    } else {
        Err(CannotServe::Stuck.to_string())
    };
    probe("livez", &[("driver", turns)], query.verbose.is_some())
}

async fn readyz(State(handle): State<Handle>, query: Query<ProbeQuery>) -> Response {
    let mut checks: Vec<Check> = vec![("serving", can_serve(&handle).map_err(|e| e.to_string()))];
    // Without a leader the read would only wait for what is known already.
    if checks.iter().all(|(_, result)| result.is_ok()) {
        checks.push(("linearizable_read", linearizable_read(&handle).await));
    }
    probe("readyz", &checks, query.verbose.is_some())
}

/// Answers like etcd: `ok`, the checks in front of it when asked to be verbose or failing.
fn probe(name: &str, checks: &[Check], is_verbose: bool) -> Response {
    let is_ok = checks.iter().all(|(_, result)| result.is_ok());
    let mut text = String::new();
    if is_verbose || !is_ok {
        for (check, result) in checks {
            let _ = match result {
                Ok(()) => writeln!(text, "[+]{check} ok"),
                Err(why) => writeln!(text, "[-]{check} failed: {why}"),
            };
        }
    }
    if is_ok {
        text.push_str("ok\n");
        (StatusCode::OK, text).into_response()
    } else {
        let _ = writeln!(text, "{name} check failed");
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

async fn version() -> Response {
    #[derive(Serialize)]
    struct Version {
        etcdserver: &'static str,
        etcdcluster: &'static str,
        storage: &'static str,
    }
    Json(Version {
        etcdserver: ETCD_API_VERSION,
        etcdcluster: ETCD_CLUSTER_VERSION,
        storage: ETCD_CLUSTER_VERSION,
    })
    .into_response()
}

async fn metrics(State(handle): State<Handle>) -> Response {
    handle.metrics().mirror(&picture(&handle));
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(header::CONTENT_TYPE, content_type)],
        handle.metrics().encode(),
    )
        .into_response()
}

/// The node's state as its metrics show it.
fn picture(handle: &Handle) -> Picture {
    let Some(raft) = handle.status() else {
        return Picture::default();
    };
    let ledger = handle.ledger_status();
    Picture {
        has_leader: raft.leader.is_some(),
        is_leader: raft.role == RoleKind::Leader,
        is_learner: raft.role == RoleKind::Learner,
        term: raft.term.0,
        commit_index: raft.commit.0,
        applied_index: raft.applied.0,
        db_bytes: handle.db_bytes(),
        cluster_version: handle.cluster_version().0,
        score: handle
            .scores()
            .get(&raft.id.0)
            .map_or(0, |(score, _)| score.slow().into()),
        fast_score: handle
            .scores()
            .get(&raft.id.0)
            .map_or(0, |(score, _)| score.fast().into()),
        ledger_last_index: ledger.last_index,
        ledger_exported_index: ledger.exported_index,
        ledger_pending: ledger.pending,
        ledger_is_failing: ledger.error.is_some(),
        ledger_lost: ledger.lost,
    }
}

#[derive(Deserialize)]
struct LedgerQuery {
    /// Raft index of the first batch wanted.
    #[serde(default)]
    from: u64,
    /// Most batches to answer.
    limit: Option<usize>,
    /// So many of the last batches are wanted, instead.
    last: Option<usize>,
}

/// Batches as this member has applied them, oldest first, and how members stand. Without a MongoDB
/// this is where the ledger is read.
async fn ledger(State(handle): State<Handle>, query: Query<LedgerQuery>) -> Response {
    let (part, limit) = match query.last {
        Some(last) => (LedgerPart::Last, last),
        None => (
            LedgerPart::From(query.from),
            query.limit.unwrap_or(BATCHES_DEFAULT),
        ),
    };
    match handle.ledger_page(part, limit.min(BATCHES_MAX)).await {
        Ok(Some(page)) => Json(page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Ok(None) => (
            StatusCode::SERVICE_UNAVAILABLE,
            CannotServe::Blank.to_string(),
        )
            .into_response(),
    }
}

#[cfg(test)]
#[path = "http_test.rs"]
mod http_test;
