//! The pod template of the nodes.

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapProjection, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, KeyToPath, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec,
    Probe, ProjectedVolumeSource, SeccompProfile, SecretProjection, SecurityContext,
    TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::{
    ADMIN_PORT, CLIENT_PORT, COMPONENT_NODE, METRICS_PORT, PEER_PORT, URI_KEY, admin_secret_name,
    config_map_name, managed_mongodb_name, pod_url, selector_labels,
};
use crate::api::{Desired, Mongodb};

pub(super) const DATA_VOLUME: &str = "data";
pub(super) const DATA_MOUNT: &str = "/var/lib/raftery";
pub(super) const ETC_MOUNT: &str = "/etc/raftery";
pub(super) const NODE_YAML: &str = "node.yaml";
pub(super) const ADMIN_TOKEN_KEY: &str = "token";
pub(super) const ADMIN_TOKEN_FILE: &str = "admin/token";
pub(super) const MONGODB_URI_FILE: &str = "mongodb/uri";

const ETC_VOLUME: &str = "etc";
/// The user in the node's image.
const USER: i64 = 65532;
/// Long enough to hand leadership over and to end the last sync on a slow disk.
const GRACE_SECONDS: i64 = 30;

/// The template, without the annotation that carries its hash.
pub(super) fn template(desired: &Desired) -> PodTemplateSpec {
    let pod = &desired.pod;
    let mut labels = pod.labels.clone().unwrap_or_default();
    labels.extend(selector_labels(&desired.name, COMPONENT_NODE));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: pod.annotations.clone(),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(desired)],
            volumes: Some(vec![etc_volume(desired)]),
            security_context: Some(pod_security(USER)),
            // Nodes don't talk to Kubernetes.
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            affinity: pod.affinity.clone(),
            topology_spread_constraints: Some(
                pod.topology_spread_constraints
                    .clone()
                    .unwrap_or_else(|| default_spread(desired)),
            ),
            tolerations: pod.tolerations.clone(),
            node_selector: pod.node_selector.clone(),
            priority_class_name: pod.priority_class_name.clone(),
            image_pull_secrets: pod.image_pull_secrets.clone(),
            ..PodSpec::default()
        }),
    }
}

fn container(desired: &Desired) -> Container {
    // The kubelet puts the pod's name in.
    let name = "$(POD_NAME)";
    Container {
        name: "node".to_owned(),
        image: Some(desired.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec![
            format!("--config-file={ETC_MOUNT}/{NODE_YAML}"),
            format!("--name={name}"),
            format!(
                "--advertise-client-urls={}",
                pod_url(desired, name, CLIENT_PORT)
            ),
            format!(
                "--initial-advertise-peer-urls={}",
                pod_url(desired, name, PEER_PORT)
            ),
        ]),
        env: Some(vec![EnvVar {
            name: "POD_NAME".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.name".to_owned(),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        }]),
        ports: Some(vec![
            port("client", CLIENT_PORT),
            port("peer", PEER_PORT),
            port("metrics", METRICS_PORT),
            port("admin", ADMIN_PORT),
        ]),
        resources: desired.pod.resources.clone(),
        security_context: Some(SecurityContext {
            read_only_root_filesystem: Some(true),
            ..container_security()
        }),
        volume_mounts: Some(vec![
            mount(DATA_VOLUME, DATA_MOUNT, false),
            mount(ETC_VOLUME, ETC_MOUNT, true),
        ]),
        // Recovery of a large log may take a while: a quarter of an hour.
        startup_probe: Some(probe("/livez", 1, 3, 900)),
        // Whether the driver's loop turns, which needs no quorum: 60 s of silence kill.
        liveness_probe: Some(probe("/livez", 10, 5, 6)),
        // Whether clients are served, which may need a quorum.
        readiness_probe: Some(probe("/readyz", 2, 3, 2)),
        ..Container::default()
    }
}

/// Configuration, token and connection string in one volume: mounts inside a read-only mount
/// would have no place to be made at.
fn etc_volume(desired: &Desired) -> Volume {
    let mut sources = vec![
        VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name: config_map_name(&desired.name),
                items: Some(vec![item(NODE_YAML, NODE_YAML)]),
                ..ConfigMapProjection::default()
            }),
            ..VolumeProjection::default()
        },
        secret(
            &admin_secret_name(&desired.name),
            ADMIN_TOKEN_KEY,
            ADMIN_TOKEN_FILE,
            false,
        ),
    ];
    // Optional: a missing connection string stops the export, never a member.
    match &desired.mongodb {
        None => {}
        Some(Mongodb::Managed { .. }) => {
            let name = managed_mongodb_name(&desired.name);
            sources.push(secret(&name, URI_KEY, MONGODB_URI_FILE, true));
        }
        Some(Mongodb::External { secret: name, key }) => {
            sources.push(secret(name, key, MONGODB_URI_FILE, true));
        }
    }
    Volume {
        name: ETC_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(sources),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn secret(name: &str, key: &str, path: &str, optional: bool) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection {
            name: name.to_owned(),
            items: Some(vec![item(key, path)]),
            optional: Some(optional),
        }),
        ..VolumeProjection::default()
    }
}

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path: path.to_owned(),
        ..KeyToPath::default()
    }
}

fn default_spread(desired: &Desired) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(selector_labels(&desired.name, COMPONENT_NODE)),
                ..LabelSelector::default()
            }),
            ..TopologySpreadConstraint::default()
        })
        .into()
}

fn probe(path: &str, period: i32, timeout: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(METRICS_PORT)),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

pub(super) fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// What Pod Security "restricted" asks of a pod.
pub(super) fn pod_security(user: i64) -> PodSecurityContext {
    PodSecurityContext {
        run_as_user: Some(user),
        run_as_group: Some(user),
        run_as_non_root: Some(true),
        fs_group: Some(user),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// What Pod Security "restricted" asks of a container.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}
