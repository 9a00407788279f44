//! One reconciliation: observe, plan, act, report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::controller::Action;
use kube::{Api, Client, ResourceExt};
use tracing::{debug, info};

use crate::act::{ActError, Actor, draw};
use crate::api::{Desired, RaftCluster, RaftClusterStatus};
use crate::error::{Error, ErrorClass, chain};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::observe::{Members, Observed, Observer};
use crate::pace::Paces;
use crate::plan::{self, Notes, Plan, State};
use crate::resources::{Images, template_hash};
use crate::status::{self, notes_of};

/// Most random numbers that a step needs: a cluster ID and nine member IDs.
const DRAWS: usize = 10;

/// What reconciliations share.
pub struct Context {
    client: Client,
    observer: Observer,
    actor: Actor,
    events: Events,
    metrics: Arc<Metrics>,
    node_image: String,
    pub(crate) paces: Paces,
}

impl Context {
    /// A context that works through `client`. `node_image` is for clusters that name none.
    pub fn new(
        client: Client,
        events: Events,
        metrics: Arc<Metrics>,
        node_image: String,
        images: Images,
    ) -> Self {
        Self {
            observer: Observer::new(client.clone()),
            actor: Actor::new(client.clone(), images),
            client,
            events,
            metrics,
            node_image,
            paces: Paces::default(),
        }
    }

    /// Reconciles a cluster once, and says when to do so again.
    pub async fn reconcile(&self, cluster: &RaftCluster) -> Result<Action, Error> {
        let began = Instant::now();
        let result = self.once(cluster).await;
        let failed = result.as_ref().err().map(Error::class);
        self.metrics.reconciled(failed, began.elapsed());
        if result.is_ok() {
            self.paces.succeeded(cluster);
        }
        result
    }

    async fn once(&self, cluster: &RaftCluster) -> Result<Action, Error> {
        let namespace = cluster.namespace().unwrap_or_default();
        let api: Api<RaftCluster> = Api::namespaced(self.client.clone(), &namespace);
        // Live, not from the watch: plans hang on latches in the status.
        let live = api
            .get_opt(&cluster.name_any())
            .await
            .map_err(Error::Read)?;
        let Some(live) = live.filter(|live| live.metadata.deletion_timestamp.is_none()) else {
            self.paces.forget(cluster);
            return Ok(Action::await_change());
        };
        let previous = live.status.clone().unwrap_or_default();
        let desired = match Desired::from_cluster(&live, &self.node_image) {
            Ok(desired) => desired,
            Err(error) => {
                let generation = live.metadata.generation.unwrap_or_default();
                let next =
                    status::invalid(&previous, generation, error.to_string(), Timestamp::now());
                self.report(&api, &live, &previous, next).await?;
                return Err(Error::Spec(error));
            }
        };
        if !desired.paused {
            self.actor.ensure_mongodb(&desired).await?;
        }
        let members = self.actor.members(&desired, !desired.paused).await?;
        let observed = self
            .observer
            .observe(&desired, notes_of(&previous), members.as_ref())
            .await?;
        let now = Timestamp::now();
        let plan = plan::plan(&desired, &template_hash(&desired), &observed, now);
        debug!(%plan, "planned");

        let refreshed = plan::refresh(&desired, &observed, now);
        let done = self
            .act(
                &live,
                &desired,
                &observed,
                &plan,
                members.as_ref(),
                refreshed,
            )
            .await;
        let (notes, failed) = match done {
            Ok(notes) => (notes, None),
            // Whatever failed, what was seen is reported, without new notes.
            Err(error) => (plan::refresh(&desired, &observed, now), Some(error)),
        };
        let refused = failed
            .as_ref()
            .filter(|error| error.class() == ErrorClass::WaitForEdit)
            .map(|error| chain(error));
        let next = status::compute(
            &desired,
            &observed,
            &plan,
            &notes,
            refused.as_deref(),
            &previous,
            now,
        );
        self.report(&api, &live, &previous, next).await?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(Action::requeue(pace(&plan, &observed))),
        }
    }

    /// Applies objects and takes the plan's step. Returns the notes to write.
    async fn act(
        &self,
        cluster: &RaftCluster,
        desired: &Desired,
        observed: &Observed,
        plan: &Plan,
        members: Option<&Members>,
        notes: Notes,
    ) -> Result<Notes, ActError> {
        match plan.state {
            State::Paused | State::Stalled => return Ok(notes),
            State::QuorumLost
            | State::Founding
            | State::Working
            | State::Waiting
            | State::Steady => {}
        }
        let voters = plan::voters(desired, observed).max(noted_voters(cluster));
        let written = self
            .actor
            .apply(desired, observed, voters, plan.replicas)
            .await?;
        if !written.is_empty() {
            info!(objects = ?written, "applied");
        }
        self.actor.own_claims(desired, observed).await?;
        let (Some(step), Some(members)) = (&plan.step, members) else {
            return Ok(notes);
        };
        self.actor.perform(desired, observed, members, step).await?;
        info!(step = step.kind(), "{step}");
        self.metrics.stepped(step);
        self.events.stepped(cluster, desired, step).await;
        let numbers = (0..DRAWS)
            .map(|_| draw())
            .collect::<Result<Vec<u64>, ActError>>()?;
        let mut numbers = numbers.into_iter();
        let mut next = || {
            numbers
                .next()
                .expect("no step needs more than DRAWS numbers")
        };
        Ok(notes.after(step, Timestamp::now(), &mut next))
    }

    async fn report(
        &self,
        api: &Api<RaftCluster>,
        live: &RaftCluster,
        previous: &RaftClusterStatus,
        next: RaftClusterStatus,
    ) -> Result<(), Error> {
        if !status::is_worth_writing(previous, &next, self.paces.since_numbers(live)) {
            return Ok(());
        }
        // The whole object with its resource version: if anybody wrote in between, this is
        // refused and planned anew.
        let mut object = live.clone();
        object.metadata.managed_fields = None;
        object.status = Some(next.clone());
        api.replace_status(&live.name_any(), &PostParams::default(), &object)
            .await
            .map_err(Error::Status)?;
        self.paces.wrote_numbers(live);
        self.events.changed(live, previous, &next).await;
        Ok(())
    }
}

/// When to look again. What is under way is watched closely; a healthy cluster rarely.
fn pace(plan: &Plan, observed: &Observed) -> Duration {
    let replicas = observed.statefulset.as_ref().map(|set| set.replicas);
    if plan.step.is_some() || replicas != Some(plan.replicas) {
        return Duration::from_millis(100);
    }
    match plan.state {
        State::Founding => Duration::from_millis(300),
        State::Working | State::Waiting | State::QuorumLost => Duration::from_secs(1),
        State::Steady if everyone_answers(observed) => Duration::from_secs(5),
        State::Steady => Duration::from_secs(1),
        State::Paused | State::Stalled => Duration::from_secs(5),
    }
}

fn everyone_answers(observed: &Observed) -> bool {
    observed
        .ordinals
        .values()
        .all(|seen| seen.node.is_some() && seen.pod.as_ref().is_some_and(|pod| pod.ready))
}

/// Voters as last reported; while no leader answers, the budget must not shrink.
fn noted_voters(cluster: &RaftCluster) -> u32 {
    let noted = cluster.status.as_ref().map_or(0, |status| status.replicas);
    u32::try_from(noted).unwrap_or(0)
}
