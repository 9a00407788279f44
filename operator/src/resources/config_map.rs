//! ConfigMap `<name>-config`: what all nodes of a cluster are told alike.

use k8s_openapi::api::core::v1::ConfigMap;
use raftery_config::{Interval, Options};

use super::names::{
    ADMIN_PORT, CLIENT_PORT, COMPONENT_NODE, METRICS_PORT, PEER_PORT, config_map_name, metadata,
};
use super::pod::{ADMIN_TOKEN_FILE, DATA_MOUNT, ETC_MOUNT, MONGODB_URI_FILE, NODE_YAML};
use crate::api::Desired;

/// The ConfigMap.
pub fn config_map(desired: &Desired) -> ConfigMap {
    ConfigMap {
        metadata: metadata(desired, config_map_name(&desired.name), COMPONENT_NODE),
        data: Some([(NODE_YAML.to_owned(), node_yaml(desired))].into()),
        ..ConfigMap::default()
    }
}

/// The nodes' configuration file.
pub(super) fn node_yaml(desired: &Desired) -> String {
    let file = |name: &str| format!("{ETC_MOUNT}/{name}").into();
    let everywhere = |port: u16| {
        let url = format!("http://0.0.0.0:{port}");
        Some(
            url.parse()
                .expect("an address with a port is a URL to listen on"),
        )
    };
    Options {
        data_dir: Some(format!("{DATA_MOUNT}/data").into()),
        heartbeat_interval: Some(Interval(desired.heartbeat_interval)),
        election_timeout: Some(Interval(desired.election_timeout)),
        adaptive_timers: Some(desired.adaptive_timers),
        listen_client_urls: everywhere(CLIENT_PORT),
        listen_peer_urls: everywhere(PEER_PORT),
        listen_metrics_urls: everywhere(METRICS_PORT),
        listen_admin_urls: everywhere(ADMIN_PORT),
        managed: Some(true),
        admin_token_file: Some(file(ADMIN_TOKEN_FILE)),
        ledger_mongodb_uri_file: desired.mongodb.as_ref().map(|_| file(MONGODB_URI_FILE)),
        ledger_retention: desired.ledger_retention.map(Interval),
        ..Options::default()
    }
    .to_yaml()
}
