//! What wakes reconciliations up: RaftClusters that change, and everything around them.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::controller::{Action, Controller, Error as WatchError};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use crate::api::RaftCluster;
use crate::error::{Error, chain};
use crate::reconcile::Context;
use crate::resources::LABEL_INSTANCE;

/// Selects what belongs to RaftClusters.
const OURS: &str = "app.kubernetes.io/name=raftery";

/// Runs controllers until `stop`: one for all namespaces, or one for each that is named.
pub async fn run(
    client: Client,
    namespaces: &BTreeSet<String>,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    let scopes: Vec<Option<String>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().cloned().map(Some).collect()
    };
    let controllers = scopes.into_iter().map(|namespace| {
        let scope = Scope {
            client: client.clone(),
            namespace,
        };
        run_in(scope, Arc::clone(&context), stop.clone())
    });
    futures::future::join_all(controllers).await;
}

/// One namespace, or all.
struct Scope {
    client: Client,
    namespace: Option<String>,
}

impl Scope {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

async fn run_in(scope: Scope, context: Arc<Context>, stop: CancellationToken) {
    let ours = || watcher::Config::default().labels(OURS);
    // The operator's own status writes wake nothing.
    let (reader, writer) = reflector::store();
    let clusters = watcher(scope.api::<RaftCluster>(), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    Controller::for_stream(clusters, reader)
        .watches(scope.api::<StatefulSet>(), ours(), cluster_of)
        .watches(scope.api::<Pod>(), ours(), cluster_of)
        .watches(scope.api::<PersistentVolumeClaim>(), ours(), cluster_of)
        .watches(scope.api::<Service>(), ours(), cluster_of)
        .watches(scope.api::<ConfigMap>(), ours(), cluster_of)
        .watches(scope.api::<PodDisruptionBudget>(), ours(), cluster_of)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, on_error, context)
        .for_each(async |result| match result {
            // Failures have been told of, and what is gone needs nothing.
            Ok(_) | Err(WatchError::ReconcilerFailed(..) | WatchError::ObjectNotFound(_)) => {}
            Err(error @ (WatchError::QueueError(_) | WatchError::RunnerError(_))) => {
                warn!(error = chain(&error), "watching");
            }
        })
        .await;
}

/// The RaftCluster that an object is around, by its label.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is the controller's"
)]
fn cluster_of<K>(object: K) -> Option<ObjectRef<RaftCluster>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let name = object.labels().get(LABEL_INSTANCE)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

async fn reconcile(cluster: Arc<RaftCluster>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = cluster.namespace().unwrap_or_default();
    let span = info_span!("reconcile", namespace, name = cluster.name_any());
    context.reconcile(&cluster).instrument(span).await
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is the controller's"
)]
fn on_error(cluster: Arc<RaftCluster>, error: &Error, context: Arc<Context>) -> Action {
    let class = error.class();
    let delay = context.paces.failed(&cluster, class);
    warn!(
        namespace = cluster.namespace(),
        name = cluster.name_any(),
        class = class.name(),
        retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        error = chain(error),
        "reconciliation failed"
    );
    Action::requeue(delay)
}
