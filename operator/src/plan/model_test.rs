//! A cluster in memory: what plans are tried on. It does at once what Kubernetes and Raft would
//! do in time, and refuses what they would refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use raftery_behaviour::Scoring;

use super::{Notes, Plan, Step, View};
use crate::api::{Desired, RaftCluster, RaftClusterSpec};
use crate::ids::{ClusterId, Incarnation, Lineage, MemberId};
use crate::observe::{
    ClaimSeen, Host, Identity, Ledger, Member, MongodbSeen, NodeReport, Observed, OrdinalSeen,
    PodSeen, Role, StatefulSetSeen,
};

/// A desired cluster `demo` in namespace `default` with all defaults but the size.
pub(crate) fn desired(replicas: i32) -> Desired {
    let spec: RaftClusterSpec = serde_json::from_value(serde_json::json!({
        "replicas": replicas,
        "healing": {"unresponsiveAfter": "10s", "maxReplacementsPerHour": 1000},
    }))
    .unwrap();
    let mut cluster = RaftCluster::new("demo", spec);
    cluster.metadata.namespace = Some("default".to_owned());
    cluster.metadata.uid = Some("cluster-uid".to_owned());
    cluster.metadata.generation = Some(1);
    Desired::from_cluster(&cluster, "node:1").unwrap()
}

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) template: String,
    pub(crate) frozen: bool,
    pub(crate) silent_since: Timestamp,
    pub(crate) terminating: bool,
    pub(crate) host: Host,
}

#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) uid: String,
    pub(crate) terminating: bool,
    pub(crate) incarnation: Incarnation,
    /// Cluster and ID on the disk.
    pub(crate) identity: Option<(ClusterId, MemberId)>,
    /// It works, slowly.
    pub(crate) slow: bool,
    /// Somebody put an older state of it back.
    pub(crate) rolled_back: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ModelMember {
    pub(crate) ordinal: u32,
    pub(crate) incarnation: Incarnation,
    pub(crate) learner: bool,
}

/// What Raft holds, on whatever disks.
#[derive(Clone, Debug)]
pub(crate) struct Raft {
    pub(crate) cluster_id: ClusterId,
    pub(crate) members: BTreeMap<MemberId, ModelMember>,
    pub(crate) removed: BTreeSet<MemberId>,
    pub(crate) config_index: u64,
    pub(crate) open: bool,
    pub(crate) leader: Option<MemberId>,
    pub(crate) term: u64,
    pub(crate) scoring: Scoring,
    pub(crate) judged_ago: Duration,
    pub(crate) cluster_version: u32,
    /// Who came and who goes, until the joint step is left.
    pub(crate) joint: Option<(MemberId, MemberId)>,
    pub(crate) swaps: u32,
}

impl Raft {
    /// Whether a change that was planned against this configuration is taken.
    fn admits(&self, config_index: u64) -> bool {
        self.config_index == config_index && self.joint.is_none()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) now: Timestamp,
    pub(crate) template: String,
    pub(crate) replicas: Option<u32>,
    pub(crate) notes: Notes,
    pub(crate) pods: BTreeMap<u32, Pod>,
    pub(crate) claims: BTreeMap<u32, Claim>,
    pub(crate) raft: Option<Raft>,
    pub(crate) foundings: u32,
    next: u64,
}

impl Model {
    /// Nothing but a RaftCluster.
    pub(crate) fn empty() -> Self {
        Self {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            template: "t1".to_owned(),
            replicas: None,
            notes: Notes::default(),
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            raft: None,
            foundings: 0,
            next: 100,
        }
    }

    /// A cluster as it is after its founding.
    pub(crate) fn founded(desired: &Desired) -> Self {
        let mut model = Self::empty();
        for _ in 0..200 {
            model.turn(desired);
        }
        assert!(model.notes.founded && model.raft.as_ref().unwrap().open);
        model
    }

    fn draw(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn plan(&self, desired: &Desired) -> Plan {
        super::plan(desired, &self.template, &self.observe(), self.now)
    }

    /// One turn of the operator and a second of the world.
    pub(crate) fn turn(&mut self, desired: &Desired) -> Plan {
        let plan = self.plan(desired);
        self.act(desired, &plan, true);
        self.settle();
        self.pass(Duration::from_secs(1));
        plan
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// What a plan does to the world; `noted` tells whether the operator lives to write its
    /// notes.
    pub(crate) fn act(&mut self, desired: &Desired, plan: &Plan, noted: bool) {
        let refreshed = super::refresh(desired, &self.observe(), self.now);
        if !desired.paused {
            self.replicas = Some(plan.replicas);
        }
        let mut notes = refreshed;
        if let Some(step) = &plan.step {
            self.perform(step);
            let mut next = self.next;
            notes = notes.after(step, self.now, &mut || {
                next += 1;
                next
            });
            self.next = next;
        }
        if noted {
            self.notes = notes;
        }
    }

    pub(crate) fn perform(&mut self, step: &Step) {
        let live = self.quorum_alive();
        match step {
            Step::Assign {
                ordinal,
                incarnation,
                cluster_id,
                lineage,
                id,
            } => {
                let answers = self.answers(*ordinal);
                let Some(claim) = self.claims.get_mut(ordinal).filter(|_| answers) else {
                    return;
                };
                if claim.incarnation != *incarnation || claim.identity.is_some() {
                    return;
                }
                claim.identity = Some((*cluster_id, *id));
                if lineage.is_none() {
                    self.foundings += 1;
                    let member = ModelMember {
                        ordinal: *ordinal,
                        incarnation: *incarnation,
                        learner: false,
                    };
                    self.raft = Some(Raft {
                        cluster_id: *cluster_id,
                        members: [(*id, member)].into(),
                        removed: BTreeSet::new(),
                        config_index: 1,
                        open: false,
                        leader: Some(*id),
                        term: 1,
                        scoring: Scoring::default(),
                        judged_ago: Duration::from_millis(300),
                        cluster_version: 2,
                        joint: None,
                        swaps: 0,
                    });
                }
            }
            Step::AddLearner {
                id,
                ordinal,
                incarnation,
                config_index,
            } => {
                let Some(raft) = self.raft.as_mut().filter(|_| live) else {
                    return;
                };
                if !raft.admits(*config_index) || raft.removed.contains(id) {
                    return;
                }
                let member = ModelMember {
                    ordinal: *ordinal,
                    incarnation: *incarnation,
                    learner: true,
                };
                raft.members.insert(*id, member);
                raft.config_index += 1;
            }
            Step::Promote {
                id, config_index, ..
            } => {
                let Some(raft) = self.raft.as_mut().filter(|_| live) else {
                    return;
                };
                if raft.admits(*config_index) {
                    raft.members.get_mut(id).unwrap().learner = false;
                    raft.config_index += 1;
                }
            }
            Step::Remove {
                id, config_index, ..
            } => {
                let Some(raft) = self.raft.as_mut().filter(|_| live) else {
                    return;
                };
                if raft.admits(*config_index) {
                    assert_ne!(raft.leader, Some(*id), "a leader is never removed");
                    raft.members.remove(id);
                    raft.removed.insert(*id);
                    raft.config_index += 1;
                }
            }
            Step::Swap {
                id,
                promote,
                config_index,
                ..
            } => {
                let Some(raft) = self.raft.as_mut().filter(|_| live) else {
                    return;
                };
                if raft.admits(*config_index) {
                    assert_ne!(raft.leader, Some(*id), "a leader is never removed");
                    assert!(raft.cluster_version >= 2, "refused");
                    let learner = raft.members.get_mut(promote).unwrap();
                    assert!(std::mem::take(&mut learner.learner), "only a learner");
                    raft.joint = Some((*promote, *id));
                    raft.config_index += 1;
                    raft.swaps += 1;
                }
            }
            Step::Transfer { id, .. } => {
                if let Some(raft) = self.raft.as_mut().filter(|_| live) {
                    raft.leader = Some(*id);
                    raft.term += 1;
                }
            }
            Step::Open => {
                if let Some(raft) = self.raft.as_mut().filter(|_| live) {
                    assert!(self.notes.founded, "open before the latch");
                    raft.open = true;
                }
            }
            Step::Configure { scoring } => {
                if let Some(raft) = self.raft.as_mut().filter(|_| live) {
                    raft.scoring = *scoring;
                }
            }
            Step::DeleteClaim { ordinal, uid } => {
                if let Some(claim) = self.claims.get_mut(ordinal).filter(|c| c.uid == *uid) {
                    claim.terminating = true;
                }
            }
            Step::DeletePod { ordinal, uid, .. } => {
                if let Some(pod) = self.pods.get_mut(ordinal).filter(|p| p.uid == *uid) {
                    pod.terminating = true;
                }
            }
            Step::NoteFounding { .. }
            | Step::Adopt { .. }
            | Step::AbandonFounding { .. }
            | Step::NoteJoin { .. }
            | Step::NoteRemoval { .. }
            | Step::CancelRemoval { .. }
            | Step::NoteSwap { .. }
            | Step::CancelSwap { .. }
            | Step::Forget { .. }
            | Step::LatchFounded => {}
        }
    }

    /// Kubernetes catches up: pods end, claims go, pods and claims are made.
    pub(crate) fn settle(&mut self) {
        let replicas = self.replicas.unwrap_or(0);
        self.pods.retain(|ordinal, pod| {
            let stuck = pod.host == Host::NotReady;
            stuck || (!pod.terminating && *ordinal < replicas)
        });
        let pods = &self.pods;
        self.claims
            .retain(|ordinal, claim| !claim.terminating || pods.contains_key(ordinal));
        for ordinal in 0..replicas {
            if self.pods.contains_key(&ordinal) {
                continue;
            }
            let (claim_uid, incarnation) = (self.draw(), self.draw());
            self.claims.entry(ordinal).or_insert(Claim {
                uid: format!("claim-{claim_uid}"),
                terminating: false,
                incarnation: Incarnation(incarnation),
                identity: None,
                slow: false,
                rolled_back: false,
            });
            let uid = format!("pod-{}", self.draw());
            let template = self.template.clone();
            self.pods.insert(
                ordinal,
                Pod {
                    uid,
                    template,
                    frozen: false,
                    silent_since: self.now,
                    terminating: false,
                    host: Host::Ready,
                },
            );
        }
        self.elect();
        self.leave_joint();
        self.elect();
    }

    /// A leader leaves a joint step by itself.
    fn leave_joint(&mut self) {
        let live = self.quorum_alive();
        let Some(raft) = self.raft.as_mut().filter(|_| live) else {
            return;
        };
        if let Some((_, out)) = raft.joint.take() {
            raft.members.remove(&out);
            raft.removed.insert(out);
            raft.config_index += 1;
        }
    }

    /// Pods end, and none is made yet: the worst moment.
    pub(crate) fn settle_without_recreation(&mut self) {
        self.pods.retain(|_, pod| !pod.terminating);
        self.elect();
    }

    /// Another leader, if the old one is gone and a quorum lives.
    fn elect(&mut self) {
        let alive = self.live_voters();
        let quorum = self.quorum_alive();
        if let Some(raft) = &mut self.raft {
            if !quorum {
                raft.leader = None;
            } else if raft.leader.is_none_or(|leader| !alive.contains(&leader)) {
                raft.leader = alive.first().copied();
                raft.term += 1;
            }
        }
    }

    pub(crate) fn freeze(&mut self, ordinal: u32) {
        let now = self.now;
        if let Some(pod) = self.pods.get_mut(&ordinal) {
            pod.frozen = true;
            pod.silent_since = now;
        }
        self.elect();
    }

    pub(crate) fn thaw(&mut self, ordinal: u32) {
        if let Some(pod) = self.pods.get_mut(&ordinal) {
            pod.frozen = false;
        }
        self.elect();
    }

    /// A disk that becomes slow, or is fast again.
    pub(crate) fn slow_down(&mut self, ordinal: u32, slow: bool) {
        if let Some(claim) = self.claims.get_mut(&ordinal) {
            claim.slow = slow;
        }
    }

    /// A machine that is cut off; its pod is evicted and can't end.
    pub(crate) fn lose_machine(&mut self, ordinal: u32) {
        let now = self.now;
        if let Some(pod) = self.pods.get_mut(&ordinal) {
            pod.host = Host::NotReady;
            pod.terminating = true;
            pod.silent_since = now;
        }
        self.elect();
    }

    pub(crate) fn recover_machine(&mut self, ordinal: u32) {
        if let Some(pod) = self.pods.get_mut(&ordinal) {
            pod.host = Host::Ready;
        }
        self.elect();
    }

    /// A volume whose files are gone.
    pub(crate) fn empty_disk(&mut self, ordinal: u32) {
        let incarnation = Incarnation(self.draw());
        if let Some(claim) = self.claims.get_mut(&ordinal) {
            claim.identity = None;
            claim.incarnation = incarnation;
        }
        self.elect();
    }

    fn answers(&self, ordinal: u32) -> bool {
        let pod = self.pods.get(&ordinal);
        let is_removed = self.is_removed(ordinal);
        pod.is_some_and(|pod| !pod.frozen && pod.host != Host::NotReady) && !is_removed
    }

    /// A removed node ends instead of answering.
    fn is_removed(&self, ordinal: u32) -> bool {
        let identity = self.claims.get(&ordinal).and_then(|claim| claim.identity);
        let (Some(raft), Some((_, id))) = (&self.raft, identity) else {
            return false;
        };
        raft.removed.contains(&id)
    }

    fn is_alive(&self, id: MemberId, member: &ModelMember) -> bool {
        let holds = self
            .claims
            .get(&member.ordinal)
            .is_some_and(|claim| claim.identity.is_some_and(|(_, on_disk)| on_disk == id));
        holds && self.answers(member.ordinal)
    }

    pub(crate) fn live_voters(&self) -> Vec<MemberId> {
        let Some(raft) = &self.raft else {
            return Vec::new();
        };
        raft.members
            .iter()
            .filter(|(id, member)| !member.learner && self.is_alive(**id, member))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn voters(&self) -> usize {
        self.raft.as_ref().map_or(0, |raft| {
            raft.members.values().filter(|m| !m.learner).count()
        })
    }

    pub(crate) fn learners(&self) -> usize {
        self.raft.as_ref().map_or(0, |raft| {
            raft.members.values().filter(|m| m.learner).count()
        })
    }

    /// A joint step needs a majority without whom came, and one without who goes.
    pub(crate) fn quorum_alive(&self) -> bool {
        let Some(raft) = &self.raft else {
            return false;
        };
        let live = self.live_voters();
        let is_majority = |without: Option<MemberId>| {
            let count = live.iter().filter(|id| Some(**id) != without).count();
            count > (self.voters() - usize::from(without.is_some())) / 2
        };
        match raft.joint {
            None => is_majority(None),
            Some((came, goes)) => is_majority(Some(came)) && is_majority(Some(goes)),
        }
    }

    pub(crate) fn member_at(&self, ordinal: u32) -> Option<MemberId> {
        let raft = self.raft.as_ref()?;
        raft.members
            .iter()
            .find(|(_, member)| member.ordinal == ordinal)
            .map(|(id, _)| *id)
    }

    pub(crate) fn leader_ordinal(&self) -> Option<u32> {
        let raft = self.raft.as_ref()?;
        Some(raft.members.get(&raft.leader?)?.ordinal)
    }

    pub(crate) fn observe(&self) -> Observed {
        let mut ordinals: BTreeMap<u32, OrdinalSeen> = BTreeMap::new();
        for (ordinal, claim) in &self.claims {
            ordinals.entry(*ordinal).or_default().claim = Some(ClaimSeen {
                uid: claim.uid.clone(),
                terminating: claim.terminating,
                owned: false,
            });
        }
        for (ordinal, pod) in &self.pods {
            let seen = ordinals.entry(*ordinal).or_default();
            seen.pod = Some(PodSeen {
                uid: pod.uid.clone(),
                ip: Some("10.0.0.1".to_owned()),
                ready: self.answers(*ordinal),
                terminating: pod.terminating,
                template_hash: Some(pod.template.clone()),
                host: pod.host,
                image_present: true,
                ended_as_removed: self.is_removed(*ordinal),
            });
            seen.node = self.report(*ordinal);
        }
        Observed {
            notes: self.notes.clone(),
            statefulset: self.replicas.map(|replicas| StatefulSetSeen {
                replicas,
                settled_hash: Some(self.template.clone()),
            }),
            ordinals,
            mongodb: MongodbSeen::default(),
        }
    }

    fn report(&self, ordinal: u32) -> Option<NodeReport> {
        if !self.answers(ordinal) {
            return None;
        }
        let claim = self.claims.get(&ordinal)?;
        let identity = claim.identity.and_then(|(cluster_id, id)| {
            let raft = self.raft.as_ref()?;
            let is_leader = raft.leader == Some(id) && raft.cluster_id == cluster_id;
            Some(Identity {
                cluster_id,
                lineage: Lineage(cluster_id.0),
                member_id: id,
                open: raft.open && raft.cluster_id == cluster_id,
                role: if is_leader {
                    Role::Leader
                } else {
                    Role::Follower
                },
                leader: raft.leader,
                term: raft.term,
                config_index: raft.config_index,
                last_index: 10,
                members: self.members_seen(raft),
                removed: raft.removed.clone(),
                rolled_back: claim.rolled_back,
                cluster_version: raft.cluster_version,
                scoring: raft.scoring,
                ledger: Ledger {
                    judged_ago: Some(raft.judged_ago),
                    ..Ledger::default()
                },
            })
        });
        Some(NodeReport {
            incarnation: claim.incarnation,
            identity,
        })
    }

    fn members_seen(&self, raft: &Raft) -> Vec<Member> {
        let seen = |(id, member): (&MemberId, &ModelMember)| {
            let alive = self.is_alive(*id, member);
            let silent = self.pods.get(&member.ordinal).map(|pod| {
                u64::try_from(self.now.duration_since(pod.silent_since).as_millis()).unwrap()
            });
            let slow = self
                .claims
                .get(&member.ordinal)
                .is_some_and(|claim| claim.slow && self.is_alive(*id, member));
            let (score, fast_score) = if slow { (-600, 100) } else { (500, 1) };
            Member {
                id: *id,
                name: format!("demo-{}", member.ordinal),
                peer_urls: Vec::new(),
                client_urls: Vec::new(),
                incarnation: Some(member.incarnation),
                is_learner: member.learner,
                match_index: 10,
                last_heard_ms: if alive { Some(0) } else { silent },
                active: alive,
                caught_up: alive,
                score,
                fast_score: Some(fast_score),
                last_verdict: "+1 in_time".to_owned(),
            }
        };
        raft.members.iter().map(seen).collect()
    }

    /// The view that a plan would have.
    pub(crate) fn has_leader(&self, desired: &Desired) -> bool {
        let observed = self.observe();
        View::new(desired, &self.template, &observed, self.now)
            .leader
            .is_some()
    }
}
