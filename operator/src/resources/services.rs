//! Services: `<name>-peers` finds every pod, `<name>-client` the voters that serve.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::{
    ADMIN_PORT, CLIENT_PORT, COMPONENT_NODE, METRICS_PORT, PEER_PORT, metadata, peers_service_name,
    selector_labels,
};
use crate::api::Desired;

/// The headless service that gives each pod a name. It names pods that aren't ready too: a
/// member can't become ready before its peers find it.
pub fn peers_service(desired: &Desired) -> Service {
    Service {
        metadata: metadata(desired, peers_service_name(&desired.name), COMPONENT_NODE),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector_labels(&desired.name, COMPONENT_NODE)),
            ports: Some(vec![
                port("client", CLIENT_PORT),
                port("peer", PEER_PORT),
                port("metrics", METRICS_PORT),
                port("admin", ADMIN_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The service for clients. Learners are never ready, so it leads to voters only.
pub fn client_service(desired: &Desired) -> Service {
    Service {
        metadata: metadata(desired, format!("{}-client", desired.name), COMPONENT_NODE),
        spec: Some(ServiceSpec {
            selector: Some(selector_labels(&desired.name, COMPONENT_NODE)),
            ports: Some(vec![port("client", CLIENT_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

pub(super) fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}
