//! The objects around a cluster, each built by one pure function in one file.
//!
//! A builder says everything that the operator decides about an object and nothing else: the
//! object is applied server-side, and what others add stays.

mod admin_secret;
mod config_map;
mod mongodb;
mod names;
mod pdb;
mod pod;
mod services;
mod statefulset;

#[cfg(test)]
mod resources_test;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::ApiResource;
use serde::Serialize;

use crate::api::{Desired, Mongodb};
use crate::observe::MongodbSeen;

pub use admin_secret::admin_secret;
pub use config_map::config_map;
pub use mongodb::{mongodb_claim, mongodb_secret, mongodb_service, mongodb_statefulset};
pub use names::{
    COMPONENT_MONGODB, COMPONENT_NODE, LABEL_INSTANCE, TEMPLATE_HASH, URI_KEY, admin_secret_name,
    client_url, managed_mongodb_name, owner_reference, peer_url, selector_labels, selector_text,
};
pub use pdb::pdb;
pub use services::{client_service, peers_service};
pub use statefulset::{statefulset, template_hash};

/// What an operator knows besides the spec.
#[derive(Clone, Debug)]
pub struct Images {
    /// Image of a managed MongoDB.
    pub mongodb: String,
}

/// An object to apply, whatever its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its type.
    pub resource: ApiResource,
    /// Its name.
    pub name: String,
    /// What is decided about it.
    pub wanted: serde_json::Value,
}

impl Child {
    fn new<K>(object: &K) -> Self
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize,
    {
        Self {
            resource: ApiResource::erase::<K>(&()),
            name: object.meta().name.clone().unwrap_or_default(),
            wanted: serde_json::to_value(object)
                .expect("objects of Kubernetes are made of maps with text keys"),
        }
    }
}

/// Every object to apply for a cluster, in the order to apply them. `voters` is the number of
/// voting members, `replicas` how many pods to ask for.
///
/// The Secrets aren't among them: they are made once and never overwritten.
pub fn children(
    desired: &Desired,
    images: &Images,
    mongodb: &MongodbSeen,
    voters: u32,
    replicas: u32,
) -> Vec<Child> {
    let mut children = vec![
        Child::new(&config_map(desired)),
        Child::new(&peers_service(desired)),
        Child::new(&client_service(desired)),
        Child::new(&pdb(desired, voters)),
    ];
    if matches!(desired.mongodb, Some(Mongodb::Managed { .. })) {
        children.push(Child::new(&mongodb_service(desired)));
        if mongodb.has_uri {
            children.push(Child::new(&mongodb_statefulset(desired, &images.mongodb)));
        }
    }
    children.push(Child::new(&statefulset(desired, replicas)));
    children
}
