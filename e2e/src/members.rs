//! What the members say over time, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use raftery_proto::admin::{Role, StatusResponse};
use tokio::task::JoinHandle;

use crate::admin::Admin;
use crate::kube::{RaftCluster, admin_of};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Asks every member again and again what it sees, in the background.
pub struct Onlooker {
    history: Arc<Mutex<History>>,
    task: JoinHandle<()>,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Members (and whether each only learns) of each committed configuration, by its index.
    pub configurations: BTreeMap<u64, BTreeMap<u64, bool>>,
    /// Who said that it leads, by term.
    pub leaders: BTreeMap<u64, BTreeSet<u64>>,
    /// IDs of clusters.
    pub clusters: BTreeSet<u64>,
    /// Pods in the order in which they began to end.
    pub ended: Vec<Ended>,
    seen_ending: BTreeSet<String>,
    member_of_pod: BTreeMap<String, u64>,
    looks: usize,
}

/// A pod that began to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub pod: String,
    /// The rest followed its member at that moment.
    pub led: bool,
}

impl Onlooker {
    /// Begins to look.
    pub async fn start(cluster: &RaftCluster) -> Result<Self> {
        let token = cluster.admin_token().await?;
        let history = Arc::new(Mutex::new(History::default()));
        let task = tokio::spawn(look(cluster.clone(), token, history.clone()));
        Ok(Self { history, task })
    }

    /// What was seen so far.
    #[must_use]
    pub fn history(&self) -> History {
        locked(&self.history).clone()
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().expect("no holder panics")
}

async fn look(cluster: RaftCluster, token: String, history: Arc<Mutex<History>>) {
    let mut clock = tokio::time::interval(LOOK_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut connections: BTreeMap<String, Admin> = BTreeMap::new();
    loop {
        clock.tick().await;
        let Ok(pods) = cluster.pods().await else {
            continue;
        };
        let asked = pods.iter().map(|pod| {
            let known = connections.get(&pod.uid().unwrap_or_default()).cloned();
            let admin = known.map_or_else(|| admin_of(pod, &token), Ok);
            async move {
                let admin = admin.ok()?;
                // A frozen member must not slow down the look at the others.
                let status = tokio::time::timeout(LOOK_EVERY * 3, admin.status()).await;
                Some((admin, status.ok()?.ok()))
            }
        });
        let answers = futures::future::join_all(asked).await;
        let mut seen = Vec::new();
        for (pod, answer) in pods.iter().zip(answers) {
            let mut said = None;
            if let Some((admin, status)) = answer {
                connections.insert(pod.uid().unwrap_or_default(), admin);
                said = status;
            }
            seen.push((pod, said));
        }
        locked(&history).add(&seen);
    }
}

impl History {
    fn add(&mut self, seen: &[(&Pod, Option<StatusResponse>)]) {
        self.looks += 1;
        let spoken = || {
            seen.iter()
                .filter_map(|(_, said)| said.as_ref())
                .filter(|said| !said.blank)
        };
        for said in spoken() {
            self.clusters.insert(said.cluster_id);
            let members = said
                .members
                .iter()
                .map(|member| (member.id, member.is_learner));
            if said.config_index > 0 {
                self.configurations
                    .insert(said.config_index, members.collect());
            }
            if said.role() == Role::Leader {
                self.leaders
                    .entry(said.term)
                    .or_default()
                    .insert(said.member_id);
            }
        }
        let newest = spoken()
            .filter(|said| said.leader_id != 0)
            .max_by_key(|said| said.term);
        let leader = newest.map(|said| said.leader_id);
        for (pod, said) in seen {
            let uid = pod.uid().unwrap_or_default();
            if let Some(said) = said.as_ref().filter(|said| !said.blank) {
                self.member_of_pod.insert(uid.clone(), said.member_id);
            }
            if pod.metadata.deletion_timestamp.is_some() && self.seen_ending.insert(uid.clone()) {
                let member = self.member_of_pod.get(&uid).copied();
                self.ended.push(Ended {
                    pod: pod.name_any(),
                    led: member.is_some() && member == leader,
                });
            }
        }
    }

    /// What must hold at every moment: one cluster, one leader in a term, at most one learner,
    /// and nobody who left comes back.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.looks > 0 && !self.configurations.is_empty(),
            "nothing was seen"
        );
        ensure!(self.clusters.len() == 1, "clusters: {:x?}", self.clusters);
        for (term, leaders) in &self.leaders {
            ensure!(leaders.len() == 1, "leaders of term {term}: {leaders:x?}");
        }
        let mut left: BTreeSet<u64> = BTreeSet::new();
        let mut before: Option<&BTreeMap<u64, bool>> = None;
        for (index, members) in &self.configurations {
            let learners = members.values().filter(|learns| **learns).count();
            ensure!(
                learners <= 1,
                "configuration {index} has {learners} learners: {members:x?}"
            );
            let gone = before.into_iter().flat_map(BTreeMap::keys);
            left.extend(gone.filter(|id| !members.contains_key(id)));
            let back = members.keys().find(|id| left.contains(id));
            ensure!(
                back.is_none(),
                "{back:x?} came back with configuration {index}"
            );
            before = Some(members);
        }
        Ok(())
    }

    /// All members that ever were.
    #[must_use]
    pub fn members(&self) -> BTreeSet<u64> {
        self.configurations
            .values()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect()
    }
}
