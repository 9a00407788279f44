//! A managed MongoDB, all of it named `<name>-mongodb`: claim, Secret, service and one pod.
//!
//! The Secret lives as long as the claim, whose data knows its password: the claim is its owner.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, PersistentVolumeClaim,
    PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, Probe, Secret, SecretKeySelector,
    Service, ServiceSpec, TCPSocketAction, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::{
    COMPONENT_MONGODB, MONGODB_PORT, URI_KEY, managed_mongodb_name, metadata, metadata_unowned,
    selector_labels,
};
use super::pod::{container_security, mount, pod_security};
use super::services::port;
use super::statefulset::claim_spec;
use crate::api::{Desired, Mongodb};

/// The user `mongodb` of the official image.
const USER: i64 = 999;
const USERNAME: &str = "raftery";
const USERNAME_KEY: &str = "username";
const PASSWORD_KEY: &str = "password";
const DATABASE: &str = "raftery";

/// The claim; `None` if no MongoDB is managed. Made once and then left alone.
pub fn mongodb_claim(desired: &Desired) -> Option<PersistentVolumeClaim> {
    let Some(Mongodb::Managed {
        size,
        storage_class_name,
    }) = &desired.mongodb
    else {
        return None;
    };
    let name = managed_mongodb_name(&desired.name);
    Some(PersistentVolumeClaim {
        metadata: metadata_unowned(desired, name, COMPONENT_MONGODB),
        spec: Some(claim_spec(size, storage_class_name.clone())),
        ..PersistentVolumeClaim::default()
    })
}

/// The Secret, with a password that the caller drew; hexadecimal, so that it needs no escaping
/// in the connection string.
pub fn mongodb_secret(desired: &Desired, claim_uid: &str, password: &str) -> Secret {
    let name = managed_mongodb_name(&desired.name);
    let host = format!("{name}.{}.svc:{MONGODB_PORT}", desired.namespace);
    // Direct: one pod is no replica set, and its name is the service's.
    let uri = format!(
        "mongodb://{USERNAME}:{password}@{host}/{DATABASE}?authSource=admin&directConnection=true"
    );
    let data = [
        (USERNAME_KEY, USERNAME.to_owned()),
        (PASSWORD_KEY, password.to_owned()),
        (URI_KEY, uri),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    Secret {
        metadata: ObjectMeta {
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "PersistentVolumeClaim".to_owned(),
                name: name.clone(),
                uid: claim_uid.to_owned(),
                ..OwnerReference::default()
            }]),
            ..metadata_unowned(desired, name, COMPONENT_MONGODB)
        },
        string_data: Some(data.into()),
        ..Secret::default()
    }
}

/// The service.
pub fn mongodb_service(desired: &Desired) -> Service {
    Service {
        metadata: metadata(
            desired,
            managed_mongodb_name(&desired.name),
            COMPONENT_MONGODB,
        ),
        spec: Some(ServiceSpec {
            selector: Some(selector_labels(&desired.name, COMPONENT_MONGODB)),
            ports: Some(vec![port("mongodb", MONGODB_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The pod, in a StatefulSet so that there is never more than one.
pub fn mongodb_statefulset(desired: &Desired, image: &str) -> StatefulSet {
    let name = managed_mongodb_name(&desired.name);
    let labels = selector_labels(&desired.name, COMPONENT_MONGODB);
    StatefulSet {
        metadata: metadata(desired, name.clone(), COMPONENT_MONGODB),
        spec: StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(name.clone()),
            selector: LabelSelector {
                match_labels: Some(labels.clone()),
                ..LabelSelector::default()
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    containers: vec![container(&name, image)],
                    volumes: Some(vec![
                        Volume {
                            name: "data".to_owned(),
                            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                                claim_name: name.clone(),
                                read_only: None,
                            }),
                            ..Volume::default()
                        },
                        // mongod keeps a socket in /tmp.
                        Volume {
                            name: "tmp".to_owned(),
                            empty_dir: Some(EmptyDirVolumeSource::default()),
                            ..Volume::default()
                        },
                    ]),
                    security_context: Some(pod_security(USER)),
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    tolerations: desired.pod.tolerations.clone(),
                    node_selector: desired.pod.node_selector.clone(),
                    image_pull_secrets: desired.pod.image_pull_secrets.clone(),
                    ..PodSpec::default()
                }),
            },
            ..StatefulSetSpec::default()
        },
        ..StatefulSet::default()
    }
}

/// As the official image wants it: the environment names the user to make on an empty disk.
fn container(secret: &str, image: &str) -> Container {
    let from_secret = |name: &str, key: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let port = MONGODB_PORT.to_string();
    let args = [
        "mongod",
        "--bind_ip_all",
        "--port",
        &port,
        "--dbpath",
        "/data/db",
    ];
    Container {
        name: "mongodb".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(args.map(str::to_owned).into()),
        env: Some(vec![
            from_secret("MONGO_INITDB_ROOT_USERNAME", USERNAME_KEY),
            from_secret("MONGO_INITDB_ROOT_PASSWORD", PASSWORD_KEY),
        ]),
        ports: Some(vec![ContainerPort {
            name: Some("mongodb".to_owned()),
            container_port: i32::from(MONGODB_PORT),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![
            mount("data", "/data/db", false),
            mount("tmp", "/tmp", false),
        ]),
        readiness_probe: Some(Probe {
            tcp_socket: Some(TCPSocketAction {
                port: IntOrString::Int(i32::from(MONGODB_PORT)),
                host: None,
            }),
            period_seconds: Some(2),
            failure_threshold: Some(2),
            ..Probe::default()
        }),
        ..Container::default()
    }
}
