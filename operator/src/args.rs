//! Flags.

use std::net::SocketAddr;

use clap::Parser;

/// Turns RaftClusters into running, healed clusters.
#[derive(Clone, Debug, Parser)]
#[command(name = "raftery-operator", version)]
pub struct Args {
    /// Image of the node, for RaftClusters that name none.
    #[arg(long, value_name = "IMAGE", env = "RAFTERY_NODE_IMAGE")]
    pub node_image: String,

    /// Image of managed MongoDBs.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "RAFTERY_MONGODB_IMAGE",
        default_value = "docker.io/library/mongo:8.0"
    )]
    pub mongodb_image: String,

    /// Namespaces to watch, separated by commas; all, if none is named.
    #[arg(
        long,
        value_name = "NAMESPACES",
        env = "RAFTERY_WATCH_NAMESPACES",
        value_delimiter = ','
    )]
    pub watch_namespaces: Vec<String>,

    /// Where to serve /healthz, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub http_address: SocketAddr,

    /// Name of the Lease that decides which replica of the operator acts.
    #[arg(long, value_name = "NAME", default_value = "raftery-operator")]
    pub lease_name: String,

    /// Namespace of the Lease [default: the operator's own].
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// How long another replica waits for a silent one, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u64).range(6..=3600))]
    pub lease_seconds: u64,

    /// Name of this replica [default: a random one].
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: Option<String>,

    /// What to log: a level, or levels by module.
    #[arg(
        long,
        value_name = "FILTER",
        env = "RAFTERY_LOG",
        default_value = "info"
    )]
    pub log: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_come_separated_by_commas() {
        let args = Args::try_parse_from([
            "raftery-operator",
            "--node-image=node:1",
            "--watch-namespaces=a,b",
        ])
        .unwrap();
        assert_eq!(args.watch_namespaces, ["a", "b"]);
    }

    #[test]
    fn the_node_image_must_be_named() {
        let error = Args::try_parse_from(["raftery-operator"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
