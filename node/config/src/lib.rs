//! The node's configuration, for both sides: the operator renders it, the node parses it.
//!
//! - [`Options`] is what anyone may say, every field optional: the flags, the `ETCD_*`
//!   variables and the YAML file (`--config-file`) are all read into it, and the operator
//!   writes its ConfigMap with [`Options::to_yaml`].
//! - [`NodeConfig`] is what the node runs with: every field settled and checked once.
//!
//! A flag beats its variable, a variable beats the file, the file beats the default.
//!
//! ```text
//! argv ──┐
//! ETCD_* ├─> Options ──or──> Options ──> NodeConfig (validate)
//! file ──┘
//! ```
//!
//! This crate holds what may differ from node to node. What all members must share is
//! replicated and changed by log entries; it isn't here.

mod error;
mod node_config;
mod options;
mod parse;
mod url;
mod values;

pub use error::{ConfigError, UsageError, ValueError};
pub use node_config::{ClusterStart, NodeConfig};
pub use options::Options;
pub use parse::{Invocation, parse};
pub use url::{InitialCluster, ListenUrl, ListenUrls, Urls, parse_url};
pub use values::{ClusterState, Interval, LogFormat, LogLevel};

/// The level of etcd's API that clients see: `/version`, `Status.version` and `--version`
/// say this. kube-apiserver decides by it what it may ask for.
pub const ETCD_API_VERSION: &str = "3.6.11";

/// etcd's minor version: what `/version` calls the cluster's version.
pub const ETCD_CLUSTER_VERSION: &str = "3.6.0";

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
