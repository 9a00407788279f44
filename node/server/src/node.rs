//! A node that has its identity: the tasks that make it up, and what may be asked of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use std::time::Duration;

use raftery_config::NodeConfig;
use raftery_fs::RealFs;
use raftery_ledger::ExportSettings;
use raftery_proto::peer as proto;
use raftery_raft::{
    ConfChange, HardState, LogId, LogIndex, MemberId, PROMISE_MAX, ProposeError, Raft, RaftConfig,
    Recovered, RoleKind,
};
use raftery_wal::{Wal, WalError, WalOptions, WalWriter};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tracing::{debug, info, warn};

use crate::apply::Apply;
use crate::boots::Boot;
use crate::clock;
use crate::cluster_version::Supported;
use crate::driver::{
    ClientInput, Driver, DriverConfig, DriverHandle, Ended, Inbox, Input, Parts, wal_events,
};
use crate::error::{MembershipError, RequestError};
use crate::exporting::{self, ExportHandle};
use crate::handle::lineage_name;
use crate::incarnation::random_id;
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::state::{State, StateError};
use crate::transport::{self, Me, Receiving, SnapshotSender, Transport};
use crate::{RunError, boots, housekeeping};

/// Messages from peers that wait for the driver; more are dropped.
const PEER_QUEUE_LEN_MAX: usize = 4_096;
/// Requests of clients that wait for the driver; more wait at their gateway.
const CLIENT_QUEUE_LEN_MAX: usize = 4_096;

/// A node that has its identity.
#[derive(Debug)]
pub struct Running {
    /// Who it is.
    pub me: Arc<Me>,
    /// The driver's inputs.
    pub driver: DriverHandle,
    /// The replicated state; written by the apply task only.
    pub state: Arc<RwLock<State>>,
    /// What every request looks at.
    pub pulse: Arc<Pulse>,
    /// How the export to MongoDB goes; `None` without MongoDB.
    pub export: Option<ExportHandle>,
    /// A snapshot on its way here.
    pub receiving: Receiving,
    /// How long a client's request may take.
    pub request_timeout: Duration,
    metrics: Arc<Metrics>,
    next_request: AtomicU64,
    /// The highest boot number that each peer told, with what that start drew.
    pub(crate) boots: Mutex<BTreeMap<MemberId, Boot>>,
    /// The cluster versions that connected peers support.
    pub(crate) supported: Arc<Supported>,
    /// Connections over which requests are sent on to a leader.
    channels: Mutex<BTreeMap<MemberId, (String, Channel)>>,
}

/// The tasks of a running node.
#[derive(Debug)]
pub struct Tasks {
    /// Ends when the node must.
    pub driver: JoinHandle<Ended>,
    /// Ends with the driver, or when an entry can't be understood.
    pub apply: JoinHandle<Result<(), StateError>>,
    /// Makes durable what is applied; ends when it is dropped.
    pub keeper: Keeper,
    /// End with the driver.
    pub others: Vec<JoinHandle<()>>,
}

/// An opened WAL with what was found in it.
pub type Log = (Wal<RealFs>, raftery_wal::Recovered);

/// Where the WAL lies.
#[must_use]
pub fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("wal")
}

/// Opens the WAL under `data_dir`, if the node has one.
///
/// # Errors
/// When it is damaged, another's, or can't be read.
pub fn open_wal(data_dir: &Path) -> Result<Option<Log>, RunError> {
    let dir = wal_dir(data_dir);
    let options = WalOptions::default();
    let opened = match Wal::open(RealFs, &dir, options) {
        Err(WalError::Repairable(damage)) => {
            warn!(%damage, "the write-ahead log is damaged: its files are kept aside, and what is \
                   lost is fetched from the leader");
            Wal::begin_repair(RealFs, &dir, options).map(Some)
        }
        opened => opened,
    };
    let Some((wal, recovered)) = opened.map_err(RunError::Wal)? else {
        return Ok(None);
    };
    if let Some(tail) = &recovered.torn_tail {
        warn!(
            file = %tail.file.display(),
            offset = tail.offset,
            bytes = tail.bytes,
            "cut a torn tail of the write-ahead log: it was never acknowledged"
        );
    }
    Ok(Some((wal, recovered)))
}

/// Starts the tasks of a node from its WAL.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn start(
    config: &NodeConfig,
    wal: Wal<RealFs>,
    recovered: raftery_wal::Recovered,
    metrics: &Arc<Metrics>,
) -> Result<(Arc<Running>, Tasks), RunError> {
    let identity = recovered.identity;
    let me = Arc::new(Me {
        cluster_id: identity.cluster_id,
        lineage: identity.lineage,
        id: identity.member_id,
        peer_urls: config.initial_advertise_peer_urls.clone(),
        boot: boots::count(&RealFs, &config.data_dir)?,
        start: random_id().map_err(RunError::Io)?,
    });
    let state = State::open(&config.data_dir)?;
    let applied = state.applied();
    let mut wal = wal;
    let recovered = fit(&mut wal, recovered, applied)?;
    info!(
        member = %me.id,
        cluster = format!("{:x}", me.cluster_id),
        %applied,
        revision = state.store.revision(),
        entries = recovered.entries.len(),
        term = %recovered.hard_state.term,
        "starting as a member"
    );
    let raft = Raft::new(
        clock::now(),
        RaftConfig {
            id: me.id,
            heartbeat_interval: config.heartbeat_interval,
            election_timeout: config.election_timeout,
            promise_max: PROMISE_MAX,
            lease_reads: config.lease_reads,
            seed: random_id().map_err(RunError::Io)?,
        },
        Recovered {
            hard_state: recovered.hard_state,
            base: recovered.base,
            entries: recovered.entries,
            applied: applied.index,
            membership: state.meta.membership.clone(),
            repair_until: wal.repair_until(),
        },
    );

    let (inputs, inputs_in) = mpsc::unbounded_channel();
    let (peers, peers_in) = mpsc::channel(PEER_QUEUE_LEN_MAX);
    let (clients, clients_in) = mpsc::channel(CLIENT_QUEUE_LEN_MAX);
    let (status_out, status) = watch::channel(raft.status());
    let last_turn_ms = Arc::new(AtomicU64::new(millis(clock::now().0)));
    let driver_handle = DriverHandle {
        inputs,
        peers,
        clients,
        status,
        last_turn_ms: Arc::clone(&last_turn_ms),
    };

    let cluster_version = state.meta.settings.cluster_version;
    let state = Arc::new(RwLock::new(state));
    let pulse = Arc::new(Pulse::default());
    pulse.set_cluster_version(cluster_version);
    let supported = Arc::new(Supported::default());
    let (committed, committed_in) = mpsc::unbounded_channel();
    let (applied_out, applied_in) = watch::channel(applied.index);
    let apply = Apply {
        state: Arc::clone(&state),
        driver: driver_handle.inputs.clone(),
        applied: applied_out,
        pulse: Arc::clone(&pulse),
    };
    let apply_task = tokio::spawn(apply.run(committed_in));
    let keeper = Keeper::spawn(Arc::clone(&state), driver_handle.inputs.clone())?;
    let transport = Transport::new(
        Arc::clone(&me),
        driver_handle.inputs.clone(),
        Arc::clone(metrics),
        Arc::clone(&pulse),
        Arc::clone(&supported),
    );
    pulse.set_last_index(raft.last_index());
    let writer = WalWriter::spawn(wal, wal_events(driver_handle.inputs.clone()));
    let parts = Parts {
        raft,
        wal: writer,
        transport,
        apply: committed,
        metrics: Arc::clone(metrics),
        pulse: Arc::clone(&pulse),
        snapshots: SnapshotSender {
            me: Arc::clone(&me),
            state: Arc::clone(&state),
            inputs: driver_handle.inputs.clone(),
        },
        applied: applied.index,
    };
    let timers = DriverConfig {
        heartbeat_interval: config.heartbeat_interval,
        election_timeout: config.election_timeout,
        adaptive_timers: config.adaptive_timers,
    };
    let inbox = Inbox {
        inputs: inputs_in,
        peers: peers_in,
        clients: clients_in,
    };
    let driver = Driver::new(parts, timers, inbox, status_out, last_turn_ms);
    let driver_task = tokio::spawn(driver.run());

    let (export, export_task) = match &config.ledger_mongodb_uri_file {
        Some(file) => {
            let settings = ExportSettings {
                uri_file: file.clone(),
                lineage: lineage_name(me.lineage),
                retention: config.ledger_retention,
            };
            let (handle, task) = exporting::start(settings, &driver_handle, &state, applied_in);
            (Some(handle), Some(task))
        }
        None => (None, None),
    };
    let running = Arc::new(Running {
        me,
        driver: driver_handle,
        state,
        pulse,
        export,
        receiving: Receiving::default(),
        // etcd's: 5 s of grace and two elections.
        request_timeout: Duration::from_secs(5) + config.election_timeout * 2,
        metrics: Arc::clone(metrics),
        // Random, so that an entry of an earlier life of this process never answers a client
        // of this one.
        next_request: AtomicU64::new(random_id().map_err(RunError::Io)?),
        boots: Mutex::default(),
        supported,
        channels: Mutex::default(),
    });
    if let Some(export) = &running.export {
        export.attach(&running);
    }
    let keep = housekeeping::run(Arc::clone(&running), config.clone());
    let others = export_task
        .into_iter()
        .chain([tokio::spawn(keep)])
        .collect();
    Ok((
        running,
        Tasks {
            driver: driver_task,
            apply: apply_task,
            keeper,
            others,
        },
    ))
}

/// Makes the log begin behind what is applied, if it doesn't reach there: what is applied was
/// committed, so this is as if a snapshot had been installed. It happens when a crash took the
/// log's end, or came between a snapshot's installation and the log's note of it.
fn fit(
    wal: &mut Wal<RealFs>,
    recovered: raftery_wal::Recovered,
    applied: LogId,
) -> Result<raftery_wal::Recovered, RunError> {
    let base = recovered.base;
    if applied.index < base.index {
        return Err(RunError::StateBehindLog { applied, base });
    }
    let place = usize::try_from(applied.index.0 - base.index.0).unwrap_or(usize::MAX);
    let at = match place.checked_sub(1) {
        None => Some(base),
        Some(place) => recovered.entries.get(place).map(|entry| entry.id),
    };
    if at == Some(applied) {
        return Ok(recovered);
    }
    warn!(%applied, "the log doesn't reach what is applied; it begins there now");
    let found = recovered.hard_state;
    let hard_state = HardState {
        // A vote in a term that was forgotten was never answered.
        term: found.term.max(applied.term),
        vote: found.vote.filter(|_| found.term >= applied.term),
        commit: found.commit.max(applied.index),
    };
    wal.rebase(applied, hard_state).map_err(RunError::Wal)?;
    Ok(raftery_wal::Recovered {
        hard_state,
        base: applied,
        entries: Vec::new(),
        ..recovered
    })
}

/// Whole milliseconds.
fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

impl Running {
    /// The replicated state, to be read for a moment.
    pub fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no holder of the lock panics")
    }

    /// A number for a client that waits.
    pub fn next_request(&self) -> u64 {
        self.next_request.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether this member leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.driver.status.borrow().role == RoleKind::Leader
    }

    /// When the driver's loop last turned.
    #[must_use]
    pub fn since_last_turn(&self) -> Duration {
        let last = self.driver.last_turn_ms.load(Ordering::Relaxed);
        Duration::from_millis(millis(clock::now().0).saturating_sub(last))
    }

    /// Changes the membership, when this member leads; answered once applied here.
    ///
    /// # Errors
    /// When Raft refuses the change, the leader changes meanwhile, or time runs out.
    pub async fn change_here(
        &self,
        change: ConfChange,
        expected: Option<LogIndex>,
    ) -> Result<LogIndex, RequestError> {
        let (reply, answer) = oneshot::channel();
        let input = Input::Change {
            change,
            expected,
            reply,
        };
        self.driver
            .inputs
            .send(input)
            .map_err(|_| RequestError::Stopped)?;
        let proposed = answer.await.map_err(|_| RequestError::Stopped)?;
        let applied = proposed?;
        let (index, _) = tokio::time::timeout(self.request_timeout, applied)
            .await
            .map_err(|_| RequestError::TimedOut)?
            .map_err(|_| RequestError::Stopped)??;
        Ok(index)
    }

    /// Hands an input of a client to the driver.
    ///
    /// # Errors
    /// When the node is going down.
    pub async fn to_driver(&self, input: ClientInput) -> Result<(), RequestError> {
        self.driver
            .clients
            .send(input)
            .await
            .map_err(|_| RequestError::Stopped)
    }

    /// The leader's verdict on this member arrived.
    pub fn on_verdict(&self, from: MemberId, verdict: &proto::Verdict) {
        self.metrics.set_verdict(verdict.points);
        let proto::Verdict {
            term,
            window,
            points,
            reason,
        } = verdict;
        if *points < 0 {
            info!(leader = %from, term, window, points, reason, "penalised by the leader");
        } else {
            debug!(leader = %from, term, window, points, reason, "judged by the leader");
        }
    }
}

/// What a client is told when Raft refuses a proposal.
#[must_use]
pub fn refused(error: &ProposeError) -> RequestError {
    match error {
        ProposeError::NotLeader { leader } => RequestError::NotLeader { leader: *leader },
        // Nothing was appended; there will be another leader in a moment.
        ProposeError::Transferring { .. } => RequestError::NotLeader { leader: None },
        ProposeError::TooManyUncommitted { .. } => RequestError::TooManyRequests,
        ProposeError::ConfChangePending { .. } | ProposeError::NothingCommittedInTerm => {
            MembershipError::Busy.into()
        }
        ProposeError::ConfigurationMoved { expected, actual } => {
            MembershipError::ConfigurationMoved {
                expected: expected.0,
                actual: actual.0,
            }
            .into()
        }
        ProposeError::InvalidConfChange(error) => MembershipError::Conf(*error).into(),
    }
}

impl Running {
    /// A channel to a member, over its first peer URL.
    #[must_use]
    pub fn channel_to(&self, member: MemberId) -> Option<Channel> {
        let url = {
            let state = self.state.read().expect("no holder of the lock panics");
            state.meta.members.get(&member)?.peer_urls.first()?.clone()
        };
        let mut channels = self.channels.lock().expect("no holder of the lock panics");
        if let Some((known, channel)) = channels.get(&member)
            && *known == url
        {
            return Some(channel.clone());
        }
        let channel = transport::channel(&url).ok()?;
        channels.insert(member, (url, channel.clone()));
        Some(channel)
    }
}
