//! The operator: turns a `RaftCluster` into a running, healed cluster.
//!
//! Level-based. Each reconciliation reads the world, plans from scratch, does at most one
//! disruptive thing, and reports:
//!
//! ```text
//!   observe ──► plan ──► act ──► status
//!   objects,    pure,    server-side apply,
//!   members     printed  member calls, deletes
//! ```
//!
//! It owns the objects around a cluster and the cluster's membership. It never owns data: what
//! decides is what the members themselves report, the status holds notes of intent only.

pub mod act;
pub mod api;
pub mod args;
pub mod controller;
pub mod error;
pub mod events;
pub mod http;
pub mod ids;
pub mod metrics;
pub mod observe;
pub mod pace;
pub mod plan;
pub mod reconcile;
pub mod resources;
pub mod run;
pub mod status;
