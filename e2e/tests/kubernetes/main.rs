//! A RaftCluster on the development cluster, with the Helm chart and real clients.
//!
//! Run where pods are reachable: `hack/devcluster/run cargo test -p raftery-e2e --test
//! kubernetes`, with the images loaded (`make test` does all that). One test at a time: each
//! has its own namespace, and all share the machine and the operator.

mod beginning;
mod healing;
mod input;
mod ledger;
mod rolling;
mod scaling;
mod slow;

use std::time::Duration;

use raftery_e2e::kube::{self, Sandbox};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// A cluster of three is ready within half of this on a slow machine.
const READY_LIMIT: Duration = Duration::from_secs(150);
/// The same for one replaced member.
const REPLACED_LIMIT: Duration = Duration::from_secs(300);

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
static CHART: OnceCell<()> = OnceCell::const_new();

/// A namespace, the operator installed, and nobody else at work.
async fn alone(namespace: &str) -> anyhow::Result<(MutexGuard<'static, ()>, Sandbox)> {
    let alone = ONE_AT_A_TIME.lock().await;
    CHART.get_or_try_init(kube::install_chart).await?;
    Ok((alone, Sandbox::new(namespace).await?))
}

/// A cluster that heals soon and often.
fn manifest(name: &str, replicas: u32) -> String {
    manifest_that_heals_after("10s", name, replicas)
}

fn manifest_that_heals_after(time: &str, name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: raftery.dev/v1alpha1
kind: RaftCluster
metadata:
  name: {name}
spec:
  replicas: {replicas}
  storage: {{ size: 1Gi }}
  healing: {{ unresponsiveAfter: {time}, maxReplacementsPerHour: 100 }}
"
    )
}
