//! What gateways hold: the node, as far as anyone outside its tasks may touch it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raftery_behaviour::Verdict;
use raftery_config::NodeConfig;
use raftery_ledger::LedgerRow;
use raftery_proto::peer as proto;
use raftery_raft::{ConfChange, ConfChangeError, LogIndex, MemberId, RoleKind, Status};
use raftery_store::{RangeOp, RangeResult, TxnOp, TxnResult, WriteOp, WriteResult};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::apply::Applied;
use crate::bootstrap::{AssignError, Assignment};
use crate::clock;
use crate::command::{self, Command, CommandError, Outcome, Waiter};
use crate::driver::{ClientInput, Input};
use crate::error::{MembershipError, RequestError};
use crate::members::{MemberRecord, Members};
use crate::metrics::Metrics;
use crate::node::Running;
use crate::state::taken;
use crate::transport::{self, codec};

/// A follower with at most this many entries to go counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;
/// The largest encoded command: etcd's limit for a client's request.
pub const REQUEST_BYTES_MAX: usize = 3 << 19;
/// Pause before a proposal is tried again that found no leader.
const LEADER_PAUSE: Duration = Duration::from_millis(10);
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

/// A change of membership that a person or the operator asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipChange {
    /// Adds a member that receives the log and doesn't vote.
    AddLearner {
        /// The new ID.
        id: MemberId,
        /// Its record.
        record: MemberRecord,
    },
    /// Makes a caught-up learner a voter.
    Promote {
        /// The learner.
        id: MemberId,
    },
    /// Removes a member, for ever.
    Remove {
        /// The member.
        id: MemberId,
    },
}

/// A leader's view of another member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberProgress {
    /// The member.
    pub id: MemberId,
    /// Highest index known durable there.
    pub matched: u64,
    /// How long ago it last answered; `None`: never in this leadership.
    pub last_heard: Option<Duration>,
    /// It answered within an election timeout.
    pub active: bool,
    /// It is close to the leader's last index.
    pub caught_up: bool,
}

/// How the ledger stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LedgerStatus {
    /// A MongoDB is configured on this node.
    pub mongodb: bool,
    /// Raft index of the newest batch; 0: none.
    pub last_index: u64,
    /// Raft index of the newest batch known exported; 0: none.
    pub exported_index: u64,
    /// Batches that wait for export.
    pub pending: u64,
    /// Why exporting fails at the moment; set on the leader only.
    pub error: Option<String>,
}

/// Rows of the ledger, with where it begins.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LedgerRows {
    /// Rows, oldest first.
    pub rows: Vec<LedgerRow>,
    /// Index of the oldest retained batch; 0: none.
    pub oldest_index: u64,
    /// Raft index of the newest batch known exported.
    pub exported_index: u64,
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

/// Encodes a command of this member and waits until it is applied here, whoever leads.
///
/// # Errors
/// As for a client's request.
pub async fn replicate(
    running: &Running,
    command: &Command,
) -> Result<(LogIndex, Outcome), RequestError> {
    let request = running.next_request();
    let waiter = Waiter {
        origin: running.me.id,
        request,
    };
    let data = command::encode(waiter, command).map_err(|_| RequestError::Stopped)?;
    if data.len() > REQUEST_BYTES_MAX {
        return Err(RequestError::TooLarge {
            bytes: data.len(),
            bytes_max: REQUEST_BYTES_MAX,
        });
    }
    let deadline = Instant::now() + running.request_timeout;
    loop {
        let (reply, answer) = oneshot::channel();
        let propose = ClientInput::Propose {
            data: data.clone(),
            request,
            reply,
        };
        running.to_driver(propose).await?;
        match wait(deadline, answer).await {
            Err(RequestError::NotLeader {
                leader: Some(leader),
            }) if leader != running.me.id => {
                match forward_command(running, leader, &data, request, deadline).await {
                    Err(RequestError::NotLeader { .. }) => {}
                    other => return other,
                }
            }
            // Nothing was appended: there is no leader, or it is handing over.
            Err(RequestError::NotLeader { .. }) => {}
            other => return other,
        }
        if Instant::now() + LEADER_PAUSE >= deadline {
            let has_leader = running.driver.status.borrow().leader.is_some();
            return Err(if has_leader {
                RequestError::TimedOut
            } else {
                RequestError::NoLeader
            });
        }
        tokio::time::sleep(LEADER_PAUSE).await;
    }
}

async fn wait(
    deadline: Instant,
    answer: oneshot::Receiver<Applied>,
) -> Result<(LogIndex, Outcome), RequestError> {
    timeout_at(deadline, answer)
        .await
        .map_err(|_| RequestError::TimedOut)?
        .map_err(|_| RequestError::Stopped)?
}

/// Registers for the command in the own log, then has the leader append it.
async fn forward_command(
    running: &Running,
    leader: MemberId,
    data: &bytes::Bytes,
    request: u64,
    deadline: Instant,
) -> Result<(LogIndex, Outcome), RequestError> {
    let (reply, answer) = oneshot::channel();
    let (registered, is_registered) = oneshot::channel();
    running
        .to_driver(ClientInput::Await {
            request,
            reply,
            registered,
        })
        .await?;
    is_registered.await.map_err(|_| RequestError::Stopped)?;
    let forwarded = proto::forward_request::Request::Command(data.clone());
    let sent = forward(running, leader, forwarded);
    timeout_at(deadline, sent)
        .await
        .map_err(|_| RequestError::TimedOut)??;
    wait(deadline, answer).await
}

/// Has the leader do what only it can.
async fn forward(
    running: &Running,
    leader: MemberId,
    request: proto::forward_request::Request,
) -> Result<LogIndex, RequestError> {
    let channel = running
        .channel_to(leader)
        .ok_or(RequestError::NotLeader { leader: None })?;
    let mut client = proto::peer_client::PeerClient::new(channel)
        .max_encoding_message_size(transport::FRAME_BYTES_MAX);
    let request = proto::ForwardRequest {
        cluster_id: running.me.cluster_id,
        lineage: running.me.lineage,
        request: Some(request),
    };
    match client.forward(request).await {
        Ok(response) => Ok(LogIndex(response.into_inner().index)),
        // The table's own word for it: nothing was appended.
        Err(status) if status.message() == crate::grpc::status::NOT_LEADER => {
            Err(RequestError::NotLeader { leader: None })
        }
        // It was never sent: the leader is down, and there will be another.
        Err(status) if is_caused_by::<tonic::ConnectError>(&status) => {
            Err(RequestError::NotLeader { leader: None })
        }
        // The connection broke: the leader may or may not have appended it.
        Err(status) if is_local(&status) => Err(RequestError::LeaderChanged),
        Err(status) => Err(RequestError::FromLeader {
            code: status.code() as i32,
            message: status.message().to_owned(),
        }),
    }
}

fn is_caused_by<E: std::error::Error + 'static>(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether a status was made by the client side, not sent by the leader.
fn is_local(status: &tonic::Status) -> bool {
    std::error::Error::source(status).is_some()
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
        let status = running.driver.status.borrow();
        if status.membership.learners.contains(&running.me.id) {
            return Err(RequestError::Learner);
        }
        drop(status);
        Ok(running)
    }

    fn open_for_clients(&self) -> Result<&Arc<Running>, RequestError> {
        let running = self.running()?;
        if self.is_open() {
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
        match replicate(running, &Command::Write(op)).await? {
            (_, Outcome::Write(result)) => Ok((self.header(), result?)),
            _ => Err(RequestError::LeaderChanged),
        }
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
        let state = running.state.read().expect("no holder of the lock panics");
        let result = state.store.range(&op)?;
        Ok((self.header_at(running, state.store.revision()), result))
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
        let state = running.state.read().expect("no holder of the lock panics");
        let result = state.store.read_txn(&op)?;
        Ok((self.header_at(running, state.store.revision()), result))
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
            Err(_) if running.driver.status.borrow().leader.is_none() => {
                Err(RequestError::NoLeader)
            }
            Err(_) => Err(RequestError::TimedOut),
        }
    }

    /// The header of an answer given now.
    #[must_use]
    pub fn header(&self) -> Header {
        let Some(running) = self.cell().get() else {
            return Header::default();
        };
        let state = running.state.read().expect("no holder of the lock panics");
        self.header_at(running, state.store.revision())
    }

    fn header_at(&self, running: &Running, revision: i64) -> Header {
        Header {
            cluster_id: running.me.cluster_id,
            member_id: running.me.id.0,
            revision,
            raft_term: running.driver.status.borrow().term.0,
        }
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
            .members
            .clone()
    }

    /// Changes the membership, wherever the leader is; answered once applied here.
    /// Gives the index of the new configuration.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn change_membership(&self, change: MembershipChange) -> Result<u64, RequestError> {
        let running = self.serving()?;
        let leader = running.driver.status.borrow().leader;
        match leader {
            None => Err(RequestError::NoLeader),
            Some(leader) if leader == running.me.id => {
                self.change_membership_here(change, None).await
            }
            Some(leader) => {
                let change = codec::encode_change(into_raft(change)?);
                let request = proto::forward_request::Request::ConfChange(change);
                let sent = forward(running, leader, request);
                let index = tokio::time::timeout(running.request_timeout, sent)
                    .await
                    .map_err(|_| RequestError::TimedOut)??;
                // The change is done. That this member hasn't heard of it yet (or ever will: it
                // may be the one removed) makes it no failure.
                if let Err(error) = self.linearizable_barrier().await {
                    debug!(%error, "the change of membership is not applied here yet");
                }
                Ok(index.0)
            }
        }
    }

    /// Changes the membership as another member asks on behalf of its client.
    ///
    /// # Errors
    /// As [`Handle::change_membership_here`]; also when the change isn't one that a client can
    /// ask for.
    pub async fn change_membership_for(&self, change: ConfChange) -> Result<u64, RequestError> {
        let change = match change {
            ConfChange::AddLearner { id, context } => {
                let record = MemberRecord::decode(&context);
                let record = record.map_err(|e| MembershipError::Malformed(e.to_string()))?;
                MembershipChange::AddLearner { id, record }
            }
            ConfChange::Promote { id } => MembershipChange::Promote { id },
            ConfChange::Remove { id } => MembershipChange::Remove { id },
            ConfChange::Found { .. } => {
                return Err(MembershipError::Conf(ConfChangeError::AlreadyFounded).into());
            }
        };
        self.change_membership_here(change, None).await
    }

    /// Changes the membership if this member leads; `expected` fences callers that planned
    /// against another configuration.
    ///
    /// # Errors
    /// See [`MembershipError`]; `NotLeader` elsewhere.
    pub async fn change_membership_here(
        &self,
        change: MembershipChange,
        expected: Option<u64>,
    ) -> Result<u64, RequestError> {
        let running = self.running()?;
        self.check_change(running, &change)?;
        let index = running
            .change_here(into_raft(change)?, expected.map(LogIndex))
            .await?;
        Ok(index.0)
    }

    /// What only the leader can judge, besides what Raft itself refuses.
    fn check_change(
        &self,
        running: &Running,
        change: &MembershipChange,
    ) -> Result<(), MembershipError> {
        let status = running.driver.status.borrow().clone();
        match change {
            MembershipChange::AddLearner { id, record } => {
                if let Some(url) = record.peer_urls.iter().find(|url| !is_url(url)) {
                    return Err(MembershipError::InvalidUrl(url.clone()));
                }
                let state = running.state.read().expect("no holder of the lock panics");
                // The records lag behind the committed configuration until they are applied.
                if state.applied < status.membership.index {
                    return Err(MembershipError::Busy);
                }
                if let Some(url) = taken(&state.members, Some(*id), &record.peer_urls) {
                    return Err(MembershipError::PeerUrlTaken(url));
                }
                // etcd's limit; one member at a time also keeps the operator's steps apart.
                if !status.membership.learners.is_empty() {
                    return Err(MembershipError::TooManyLearners);
                }
                Ok(())
            }
            // Adding a voter that has caught up costs no quorum.
            MembershipChange::Promote { .. } => Ok(()),
            MembershipChange::Remove { id } => {
                let timeout = self.shared.config.election_timeout;
                check_removal(&status, clock::now(), timeout, *id)
            }
        }
    }

    /// Changes where peers reach a member.
    ///
    /// # Errors
    /// When it isn't a member, or a URL is another's or no URL.
    pub async fn update_member(
        &self,
        id: MemberId,
        peer_urls: Vec<String>,
    ) -> Result<(), RequestError> {
        if let Some(url) = peer_urls.iter().find(|url| !is_url(url)) {
            return Err(MembershipError::InvalidUrl(url.clone()).into());
        }
        let running = self.serving()?;
        let command = Command::UpdateMember {
            id: id.0,
            peer_urls,
        };
        match replicate(running, &command).await? {
            (_, Outcome::Updated(result)) => Ok(result?),
            _ => Err(RequestError::LeaderChanged),
        }
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

    /// Hands leadership to `to`, or to the most caught-up other voter; answered once it leads.
    ///
    /// # Errors
    /// `NotLeader` elsewhere, `BadTransferee` for whom can't lead, `TimedOut`.
    pub async fn transfer_leader(&self, to: Option<MemberId>) -> Result<MemberId, RequestError> {
        let running = self.running()?;
        let mut status = running.driver.status.clone();
        let to = match to {
            Some(to) => to,
            None => {
                let now = status.borrow().clone();
                let not_leader = RequestError::NotLeader { leader: now.leader };
                best_follower(&now).ok_or(not_leader)?
            }
        };
        let (reply, answer) = oneshot::channel();
        let input = Input::Transfer { to, reply };
        running
            .driver
            .inputs
            .send(input)
            .map_err(|_| RequestError::Stopped)?;
        match answer.await.map_err(|_| RequestError::Stopped)? {
            Ok(()) => {}
            Err(raftery_raft::TransferError::NotLeader { leader }) => {
                return Err(RequestError::NotLeader { leader });
            }
            Err(raftery_raft::TransferError::NotVoter(id)) => {
                return Err(RequestError::BadTransferee(id));
            }
        }
        let leads = status.wait_for(|status| status.leader == Some(to));
        match tokio::time::timeout(running.request_timeout, leads).await {
            Ok(Ok(_)) => Ok(to),
            Ok(Err(_)) => Err(RequestError::Stopped),
            Err(_) => Err(RequestError::TimedOut),
        }
    }

    /// Opens the cluster for clients.
    ///
    /// # Errors
    /// `NotLeader` elsewhere.
    pub async fn open(&self) -> Result<(), RequestError> {
        self.as_leader(&Command::Open).await
    }

    /// Changes the unit of judging, for all members.
    ///
    /// # Errors
    /// `NotLeader` elsewhere.
    pub async fn configure(&self, window: Duration) -> Result<(), RequestError> {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        self.as_leader(&Command::SetWindow { window_ms }).await
    }

    async fn as_leader(&self, command: &Command) -> Result<(), RequestError> {
        let running = self.running()?;
        if !running.is_leader() {
            let leader = running.driver.status.borrow().leader;
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
        self.cell().get().is_some_and(|r| {
            r.state
                .read()
                .expect("no holder of the lock panics")
                .settings
                .is_open
        })
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

    /// A leader's view of the others; empty elsewhere.
    #[must_use]
    pub fn progress(&self) -> Vec<MemberProgress> {
        let Some(status) = self.status() else {
            return Vec::new();
        };
        let now = clock::now();
        let timeout = self.shared.config.election_timeout;
        let last = status.last_index.0;
        let progress = |(id, peer): (&MemberId, &raftery_raft::PeerProgress)| {
            let last_heard = peer.last_heard.map(|at| now.since(at));
            MemberProgress {
                id: *id,
                matched: peer.matched.0,
                last_heard,
                active: last_heard.is_some_and(|ago| ago < timeout),
                caught_up: last.saturating_sub(peer.matched.0) <= CAUGHT_UP_ENTRIES,
            }
        };
        status.progress.iter().map(progress).collect()
    }

    /// How the ledger stands.
    #[must_use]
    pub fn ledger_status(&self) -> LedgerStatus {
        let Some(running) = self.cell().get() else {
            return LedgerStatus::default();
        };
        let state = running.state.read().expect("no holder of the lock panics");
        LedgerStatus {
            mongodb: running.export.is_some(),
            last_index: state.ledger.last_index(),
            exported_index: state.ledger.exported_index(),
            pending: state.ledger.pending(),
            error: running
                .export
                .as_ref()
                .and_then(crate::exporting::ExportHandle::error),
        }
    }

    /// Rows of the ledger from a Raft index on.
    #[must_use]
    pub fn ledger_rows(&self, from_index: u64, limit: usize) -> LedgerRows {
        let Some(running) = self.cell().get() else {
            return LedgerRows::default();
        };
        let state = running.state.read().expect("no holder of the lock panics");
        LedgerRows {
            rows: state.ledger.rows(from_index, limit),
            oldest_index: state.ledger.rows(0, 1).first().map_or(0, |row| row.index),
            exported_index: state.ledger.exported_index(),
        }
    }

    /// Scores and last verdicts by member.
    #[must_use]
    pub fn scores(&self) -> BTreeMap<u64, (i64, Option<Verdict>)> {
        let Some(running) = self.cell().get() else {
            return BTreeMap::new();
        };
        let state = running.state.read().expect("no holder of the lock panics");
        let ledger = &state.ledger;
        let score = |(id, score): (raftery_behaviour::MemberId, i32)| {
            (id.0, (i64::from(score), ledger.last_verdict(id).cloned()))
        };
        ledger.scores().map(score).collect()
    }

    /// Bytes of keys and values, the same on every member.
    #[must_use]
    pub fn db_bytes(&self) -> u64 {
        let Some(running) = self.cell().get() else {
            return 0;
        };
        running
            .state
            .read()
            .expect("no holder of the lock panics")
            .store
            .logical_bytes()
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Unit of judging.
    #[must_use]
    pub fn window(&self) -> Duration {
        let Some(running) = self.cell().get() else {
            return crate::state::WINDOW_DEFAULT;
        };
        running
            .state
            .read()
            .expect("no holder of the lock panics")
            .settings
            .window
    }
}

/// Refuses to remove a voter when those that remain couldn't commit (etcd's strict
/// reconfiguration check).
fn check_removal(
    status: &Status,
    now: raftery_raft::Instant,
    election_timeout: Duration,
    id: MemberId,
) -> Result<(), MembershipError> {
    let voters = &status.membership.voters;
    if status.role != RoleKind::Leader || !voters.contains(&id) {
        return Ok(());
    }
    let is_active = |voter: &MemberId| {
        *voter == status.id
            || status
                .progress
                .get(voter)
                .and_then(|progress| progress.last_heard)
                .is_some_and(|at| now.since(at) < election_timeout)
    };
    let active = voters
        .iter()
        .filter(|voter| **voter != id && is_active(voter))
        .count();
    let remaining = voters.len() - 1;
    if remaining > 0 && active < remaining / 2 + 1 {
        return Err(MembershipError::Unhealthy {
            active,
            voters: remaining,
        });
    }
    Ok(())
}

fn best_follower(status: &Status) -> Option<MemberId> {
    let voters = &status.membership.voters;
    let others = status.progress.iter().filter(|(id, _)| voters.contains(id));
    others
        .max_by_key(|(_, progress)| progress.matched)
        .map(|(id, _)| *id)
}

fn is_url(url: &str) -> bool {
    url.strip_prefix("http://")
        .and_then(|rest| rest.rsplit_once(':'))
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn into_raft(change: MembershipChange) -> Result<ConfChange, RequestError> {
    let encode = |record: &MemberRecord| -> Result<bytes::Bytes, CommandError> { record.encode() };
    Ok(match change {
        MembershipChange::AddLearner { id, record } => {
            let context = encode(&record).map_err(|_| RequestError::Stopped)?;
            ConfChange::AddLearner { id, context }
        }
        MembershipChange::Promote { id } => ConfChange::Promote { id },
        MembershipChange::Remove { id } => ConfChange::Remove { id },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use raftery_raft::{Instant as RaftInstant, Membership, PeerProgress, Term};

    /// A leader, 1, of three, that has heard from `heard` just now.
    fn leader(heard: &[u64]) -> Status {
        let now = RaftInstant(Duration::from_secs(100));
        let progress = [2, 3].map(|id| {
            let last_heard = heard.contains(&id).then_some(now);
            (
                MemberId(id),
                PeerProgress {
                    matched: LogIndex(9),
                    last_heard,
                },
            )
        });
        Status {
            id: MemberId(1),
            role: RoleKind::Leader,
            term: Term(2),
            leader: Some(MemberId(1)),
            commit: LogIndex(9),
            applied: LogIndex(9),
            last_index: LogIndex(9),
            has_committed_in_term: true,
            membership: Membership {
                voters: [1, 2, 3].map(MemberId).into(),
                ..Membership::default()
            },
            progress: progress.into(),
            transferee: None,
        }
    }

    fn removal(heard: &[u64], id: u64) -> Result<(), MembershipError> {
        let now = RaftInstant(Duration::from_millis(100_500));
        check_removal(&leader(heard), now, Duration::from_secs(1), MemberId(id))
    }

    #[test]
    fn a_dead_member_may_be_removed_and_a_living_one_not_while_another_is_dead() {
        assert_eq!(removal(&[2], 3), Ok(()));
        assert_eq!(
            removal(&[2], 2),
            Err(MembershipError::Unhealthy {
                active: 1,
                voters: 2
            })
        );
        assert_eq!(removal(&[2, 3], 2), Ok(()));
    }

    #[test]
    fn the_most_caught_up_other_voter_takes_over() {
        let mut status = leader(&[2, 3]);
        status
            .progress
            .entry(MemberId(3))
            .and_modify(|p| p.matched = LogIndex(10));
        assert_eq!(best_follower(&status), Some(MemberId(3)));
    }
}
