//! What is remembered of each RaftCluster between reconciliations: only how often to try. A
//! restart forgets it without harm.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;

use crate::api::RaftCluster;
use crate::error::ErrorClass;
use crate::status::NUMBERS_INTERVAL;

/// Failures in a row and times of writing, by cluster.
#[derive(Default)]
pub struct Paces {
    clusters: Mutex<HashMap<String, Pace>>,
}

#[derive(Clone, Copy, Default)]
struct Pace {
    failures: u32,
    wrote_numbers: Option<Instant>,
}

impl Paces {
    /// Counts a failure and says how long to wait: longer after each, and never in step with
    /// other clusters.
    pub fn failed(&self, cluster: &RaftCluster, class: ErrorClass) -> Duration {
        let mut clusters = self.lock();
        let pace = clusters.entry(key(cluster)).or_default();
        pace.failures = pace.failures.saturating_add(1);
        let delay = class.delay(pace.failures);
        delay.mul_f64(0.75 + fastrand::f64() / 2.0)
    }

    /// Forgets the failures.
    pub fn succeeded(&self, cluster: &RaftCluster) {
        if let Some(pace) = self.lock().get_mut(&key(cluster)) {
            pace.failures = 0;
        }
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, cluster: &RaftCluster) {
        self.lock().remove(&key(cluster));
    }

    /// How long ago a status was written; long, if never.
    pub fn since_numbers(&self, cluster: &RaftCluster) -> Duration {
        let wrote = self
            .lock()
            .get(&key(cluster))
            .and_then(|pace| pace.wrote_numbers);
        wrote.map_or(NUMBERS_INTERVAL, |at| at.elapsed())
    }

    /// A status was written just now.
    pub fn wrote_numbers(&self, cluster: &RaftCluster) {
        self.lock().entry(key(cluster)).or_default().wrote_numbers = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pace>> {
        // Nothing in here can be half-done.
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By UID: a cluster of the same name is another one.
fn key(cluster: &RaftCluster) -> String {
    cluster.uid().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RaftClusterSpec;

    #[test]
    fn failures_are_counted_by_cluster_until_one_succeeds() {
        let cluster = |uid: &str| {
            let mut cluster = RaftCluster::new("demo", RaftClusterSpec::default());
            cluster.metadata.uid = Some(uid.to_owned());
            cluster
        };
        let (one, other) = (cluster("1"), cluster("2"));
        let paces = Paces::default();
        for _ in 0..4 {
            paces.failed(&one, ErrorClass::RetrySoon);
        }
        assert!(paces.failed(&one, ErrorClass::RetrySoon) > Duration::from_secs(2));
        assert!(paces.failed(&other, ErrorClass::RetrySoon) < Duration::from_secs(1));
        paces.succeeded(&one);
        assert!(paces.failed(&one, ErrorClass::RetrySoon) < Duration::from_secs(1));
    }
}
