//! What gateways hold: the node, as far as anyone outside its tasks may touch it.

mod membership;
mod reading;
mod replicate;
mod views;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raftery_behaviour::Scoring;
use raftery_config::NodeConfig;
use raftery_raft::{MemberId, Status};
use raftery_store::{RangeOp, RangeResult, TxnOp, TxnResult, WriteOp, WriteResult};
use tokio::sync::{mpsc, oneshot};

pub use self::membership::MembershipChange;
pub(crate) use self::membership::best_follower;
pub use self::replicate::{REQUEST_BYTES_MAX, replicate};
pub(crate) use self::views::lineage_name;
pub use self::views::{LedgerPart, LedgerRows, LedgerStatus, MemberProgress};
use crate::bootstrap::{AssignError, Assignment};
use crate::command::{Command, Outcome};
use crate::driver::ClientInput;
use crate::error::RequestError;
use crate::members::Members;
use crate::metrics::Metrics;
use crate::node::Running;

/// A driver whose loop didn't turn for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// What every etcd answer starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// The cluster.
    pub cluster_id: u64,
    /// The member that answered.
    pub member_id: u64,
    /// The store's revision when the request was served.
    pub revision: i64,
    /// The member's term.
    pub raft_term: u64,
}

/// The node, for gateways. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: NodeConfig,
    incarnation: u64,
    metrics: Arc<Metrics>,
    /// Set once the node has its identity.
    running: OnceLock<Arc<Running>>,
    assignments: Assignments,
}

/// Where assignments go.
pub type Assignments = mpsc::Sender<(Assignment, oneshot::Sender<Result<(), AssignError>>)>;

impl Running {
    /// The header of an answer given now.
    fn header(&self) -> Header {
        Header {
            cluster_id: self.me.cluster_id,
            member_id: self.me.id.0,
            revision: self.pulse.revision(),
            raft_term: self.pulse.term(),
        }
    }
}

impl Handle {
    /// A node without an identity yet.
    #[must_use]
    pub fn new(
        config: NodeConfig,
        incarnation: u64,
        metrics: Arc<Metrics>,
        assignments: Assignments,
    ) -> Self {
        let running = OnceLock::new();
        Self {
            shared: Arc::new(Shared {
                config,
                incarnation,
                metrics,
                running,
                assignments,
            }),
        }
    }

    /// The running node, once it has its identity.
    #[must_use]
    pub fn cell(&self) -> &OnceLock<Arc<Running>> {
        &self.shared.running
    }

    fn running(&self) -> Result<&Arc<Running>, RequestError> {
        self.cell().get().ok_or(RequestError::NotOpen)
    }

    /// The running node, if it may serve what learners don't.
    fn serving(&self) -> Result<&Arc<Running>, RequestError> {
        let running = self.open_for_clients()?;
        if running.pulse.is_learner() {
            return Err(RequestError::Learner);
        }
        Ok(running)
    }

    fn open_for_clients(&self) -> Result<&Arc<Running>, RequestError> {
        let running = self.running()?;
        if running.pulse.is_open() {
            Ok(running)
        } else {
            Err(RequestError::NotOpen)
        }
    }

    /// Replicates a client's write; answered once it is applied here.
    ///
    /// # Errors
    /// See [`RequestError`]. After `LeaderChanged` and `TimedOut` the write may or may not
    /// have happened.
    pub async fn write(&self, op: WriteOp) -> Result<(Header, WriteResult), RequestError> {
        let running = self.serving()?;
        // At the gate and not when it is applied, as etcd does: what is in the log is done.
        if op.adds() && self.is_over_quota(running) {
            return Err(RequestError::NoSpace);
        }
        match replicate(running, &Command::Write(op)).await? {
            (_, Outcome::Write(result)) => Ok((self.header(), result?)),
            _ => Err(RequestError::LeaderChanged),
        }
    }

    fn is_over_quota(&self, running: &Running) -> bool {
        running.pulse.logical_bytes() >= self.shared.config.quota_backend_bytes
    }

    /// Whether this member refuses writes, or would as leader, because of the quota or a full disk.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        let running = self.cell().get();
        running.is_some_and(|running| self.is_over_quota(running) || running.pulse.is_full())
    }

    /// Reads keys; linearizably unless `serializable`.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn range(
        &self,
        op: RangeOp,
        serializable: bool,
    ) -> Result<(Header, RangeResult), RequestError> {
        let running = self.admit_read(serializable).await?;
        let result = if reading::is_short(&op) {
            running.read_state().store.range(&op)?
        } else {
            reading::long(running, op).await?
        };
        Ok((running.header(), result))
    }

    /// Runs a transaction that only reads.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn read_txn(
        &self,
        op: TxnOp,
        serializable: bool,
    ) -> Result<(Header, TxnResult), RequestError> {
        let running = self.admit_read(serializable).await?;
        let result = running.read_state().store.read_txn(&op)?;
        Ok((running.header(), result))
    }

    async fn admit_read(&self, serializable: bool) -> Result<&Arc<Running>, RequestError> {
        if serializable {
            return self.open_for_clients();
        }
        let running = self.serving()?;
        self.linearizable_barrier().await?;
        Ok(running)
    }

    /// Returns once everything that was committed before the call is applied here (§6.4).
    ///
    /// # Errors
    /// When no leader confirms it in time.
    pub async fn linearizable_barrier(&self) -> Result<(), RequestError> {
        let running = self.running()?;
        let (reply, answer) = oneshot::channel();
        running.to_driver(ClientInput::Read(reply)).await?;
        match tokio::time::timeout(running.request_timeout, answer).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(RequestError::Stopped),
            Err(_) if running.pulse.leader().is_none() => Err(RequestError::NoLeader),
            Err(_) => Err(RequestError::TimedOut),
        }
    }

    /// The header of an answer given now.
    #[must_use]
    pub fn header(&self) -> Header {
        self.cell()
            .get()
            .map_or_else(Header::default, |running| running.header())
    }

    /// A picture of Raft; `None` while blank.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.cell()
            .get()
            .map(|running| running.driver.status.borrow().clone())
    }

    /// Records of the members.
    #[must_use]
    pub fn members(&self) -> Members {
        let Some(running) = self.cell().get() else {
            return Members::new();
        };
        running
            .state
            .read()
            .expect("no holder of the lock panics")
            .meta
            .members
            .clone()
    }

    /// Binds an added ID to a blank disk.
    ///
    /// # Errors
    /// When nobody added the URLs, or another disk has the ID.
    pub async fn bind(&self, command: Command) -> Result<MemberId, RequestError> {
        match replicate(self.running()?, &command).await? {
            (_, Outcome::Bound(result)) => Ok(result?),
            _ => Err(RequestError::LeaderChanged),
        }
    }

    /// Opens the cluster for clients.
    ///
    /// # Errors
    /// `NotLeader` elsewhere.
    pub async fn open(&self) -> Result<(), RequestError> {
        self.as_leader(&Command::Open).await
    }

    /// Changes how members are judged, for all members. The caller has validated it.
    ///
    /// # Errors
    /// `NotLeader` elsewhere.
    pub async fn configure(&self, scoring: Scoring) -> Result<(), RequestError> {
        self.as_leader(&Command::SetScoring(scoring)).await
    }

    async fn as_leader(&self, command: &Command) -> Result<(), RequestError> {
        let running = self.running()?;
        if !running.is_leader() {
            let leader = running.pulse.leader();
            return Err(RequestError::NotLeader { leader });
        }
        replicate(running, command).await.map(|_| ())
    }

    /// Gives a blank node its identity; answered once it is synced.
    ///
    /// # Errors
    /// When it is for another disk, or this one isn't blank.
    pub async fn assign(&self, assignment: Assignment) -> Result<(), AssignError> {
        if !self.is_managed() {
            return Err(AssignError::NotManaged);
        }
        let (reply, answer) = oneshot::channel();
        let stopped = |_| AssignError::Stopped;
        self.shared
            .assignments
            .send((assignment, reply))
            .await
            .map_err(|_| AssignError::Stopped)?;
        answer.await.map_err(stopped)?
    }

    /// Names this disk.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.shared.incarnation
    }

    /// No identity yet.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.cell().get().is_none()
    }

    /// Clients are served.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.cell()
            .get()
            .is_some_and(|running| running.pulse.is_open())
    }

    /// Whether a leader is known.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.cell()
            .get()
            .is_some_and(|running| running.pulse.leader().is_some())
    }

    /// Whether this member may serve more than its status and serializable reads.
    ///
    /// # Errors
    /// `NotOpen`, `Learner`.
    pub fn admit(&self) -> Result<(), RequestError> {
        self.serving().map(|_| ())
    }

    /// An operator manages the membership.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        matches!(
            self.shared.config.start,
            raftery_config::ClusterStart::Managed
        )
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// The cluster's unbroken history; 0 while blank.
    #[must_use]
    pub fn lineage(&self) -> u64 {
        self.cell().get().map_or(0, |running| running.me.lineage)
    }

    /// The driver's loop turned lately; a blank node is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.cell()
            .get()
            .is_none_or(|running| running.since_last_turn() < STUCK)
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// How members are judged.
    #[must_use]
    pub fn scoring(&self) -> Scoring {
        let Some(running) = self.cell().get() else {
            return Scoring::default();
        };
        running
            .state
            .read()
            .expect("no holder of the lock panics")
            .meta
            .settings
            .scoring
    }
}
