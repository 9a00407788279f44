//! The driver: owns the Raft value, feeds it and carries out what it wants. Never waits for disk
//! or network.
//!
//! ```text
//! clients ──┐                     ┌──> WAL thread ──┐
//! peers ────┼──> inputs ─> Raft ──┼──> peer tasks   │ Persisted
//! disk, apply, time ──┘           └──> apply task ──┴─> inputs
//! ```

mod catch_up;
mod conduct;
mod inputs;
mod waiters;
mod windows;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use raftery_behaviour::{Ceiling, Event};
use raftery_raft::{
    ConfChange, Instant, LogId, LogIndex, MemberId, Payload, PeerMessage, Raft, Status, StepError,
    Term, dispatch,
};
use raftery_wal::{WalEvent, WalWriter};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, info, warn};

use self::catch_up::CatchUp;
use self::conduct::Conduct;
pub use self::conduct::{Notice, Told};
pub use self::inputs::{ClientInput, DriverHandle, Ended, Inbox, Input};
use self::waiters::{EntryWaiters, Readers};
use self::world::World;
use crate::apply::{Applied, ToApply};
use crate::clock;
use crate::cluster_version::ClusterVersion;
use crate::command::{self, Command, Waiter};
use crate::error::RequestError;
use crate::handle::best_follower;
use crate::meta::Settings;
use crate::metrics::Metrics;
use crate::node::refused;
use crate::pulse::Pulse;
use crate::transport::{Refusal, SnapshotSender, Transport};

/// Inputs taken per turn before their effects are carried out.
const INPUTS_PER_TURN: usize = 512;
/// The loop turns at least this often, so that a stuck one is noticed.
const IDLE_TURN: Duration = Duration::from_millis(500);
/// Progress of the members is shown this often.
const SHOW_PERIOD: Duration = Duration::from_millis(100);
/// Committed entries that may wait to be applied before writes are refused (etcd's limit).
const UNAPPLIED_MAX: u64 = 5_000;

/// Who waits for what the driver proposes by itself.
const NOBODY: Waiter = Waiter {
    origin: MemberId(0),
    request: 0,
};

/// The driver's settings.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// How often a leader beats.
    pub heartbeat_interval: Duration,
    /// How long a follower waits for a leader.
    pub election_timeout: Duration,
    /// Whether those two are but the longest, and shorter ones follow from what is measured.
    pub adaptive_timers: bool,
}

/// The driver task.
#[derive(Debug)]
pub struct Driver {
    raft: Raft,
    inbox: Inbox,
    world: World,
    status: watch::Sender<Status>,
    last_turn_ms: Arc<AtomicU64>,
    config: DriverConfig,
    /// As applied. A copy: the state's lock may be held by a long read.
    settings: Settings,
    shown_at: Instant,
    space: Space,
    /// Whether anyone had room was last looked at then.
    left_at: Instant,
}

/// Where there is room.
#[derive(Debug)]
struct Space {
    /// The log has a segment in reserve.
    log: bool,
    /// What was applied reached the disk.
    store: bool,
    /// Peers that told that their disks are full.
    full_peers: BTreeSet<MemberId>,
}

/// What a driver is made of.
#[derive(Debug)]
pub struct Parts {
    /// The Raft value.
    pub raft: Raft,
    /// Its disk.
    pub wal: WalWriter,
    /// Its network.
    pub transport: Transport,
    /// Its state machine.
    pub apply: mpsc::UnboundedSender<ToApply>,
    /// Sends the state machine's state to peers.
    pub snapshots: SnapshotSender,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What requests look at.
    pub pulse: Arc<Pulse>,
    /// What the state machine holds already.
    pub applied: LogIndex,
}

impl Driver {
    /// Wires a driver.
    #[must_use]
    pub fn new(
        parts: Parts,
        config: DriverConfig,
        inbox: Inbox,
        status: watch::Sender<Status>,
        last_turn_ms: Arc<AtomicU64>,
    ) -> Self {
        parts.metrics.set_timers(parts.raft.timers());
        let started = parts.raft.status();
        let ceiling = Ceiling {
            heartbeat_interval: config.heartbeat_interval,
            election_timeout: config.election_timeout,
        };
        let world = World {
            me: started.id,
            now: clock::now(),
            wal: parts.wal,
            transport: parts.transport,
            apply: parts.apply,
            entries: EntryWaiters::default(),
            readers: Readers::default(),
            conduct: Conduct::new(&started, ceiling, config.adaptive_timers),
            metrics: parts.metrics,
            leader: None,
            applied: parts.applied,
            lost_leader: false,
            is_removed: false,
            changed_status: None,
            term: Term(0),
            catch_up: CatchUp::default(),
            received: None,
            sending: BTreeSet::new(),
            snapshots: parts.snapshots,
            pulse: parts.pulse,
        };
        Self {
            raft: parts.raft,
            inbox,
            world,
            status,
            last_turn_ms,
            config,
            settings: Settings::default(),
            shown_at: Instant::default(),
            space: Space {
                log: true,
                store: true,
                full_peers: BTreeSet::new(),
            },
            left_at: Instant::default(),
        }
    }

    /// Turns until told to stop, removed, or the disk fails.
    pub async fn run(mut self) -> Ended {
        let ended = loop {
            if let Some(ended) = self.wait_for_input().await {
                break ended;
            }
            if let Some(ended) = self.drain_inputs() {
                break ended;
            }
            self.behave();
            self.leave_if_full();
            self.ask_for_reads();
            self.turn();
            if self.world.is_removed {
                // What was committed is on its way to the others.
                info!("this member was removed from the cluster");
                break Ended::Removed;
            }
        };
        self.world.entries.fail_all(&RequestError::Stopped);
        self.world.transport.flush().await;
        self.world.wal.shutdown();
        // A log that failed while it was closed makes it no clean end.
        while let Ok(input) = self.inbox.inputs.try_recv() {
            if let Input::WalFailed(failure) = input {
                return Ended::WalFailed(failure);
            }
        }
        ended
    }

    /// Sleeps until an input or a deadline, and takes that input.
    async fn wait_for_input(&mut self) -> Option<Ended> {
        let deadline = self.next_deadline();
        let idle = deadline.since(clock::now()).min(IDLE_TURN);
        tokio::select! {
            biased;
            Some(input) = self.inbox.inputs.recv() => self.on_input(input),
            () = tokio::time::sleep(idle) => {
                self.tick();
                None
            }
            Some(message) = self.inbox.peers.recv() => {
                self.on_peer(message);
                None
            }
            Some(input) = self.inbox.clients.recv() => {
                self.on_client(input);
                None
            }
        }
    }

    /// Takes what else has queued, rare inputs first, so that a flood can't starve time.
    fn drain_inputs(&mut self) -> Option<Ended> {
        while let Ok(input) = self.inbox.inputs.try_recv() {
            if let Some(ended) = self.on_input(input) {
                return Some(ended);
            }
        }
        self.tick();
        for _ in 0..INPUTS_PER_TURN {
            let Ok(message) = self.inbox.peers.try_recv() else {
                break;
            };
            self.on_peer(message);
        }
        for _ in 0..INPUTS_PER_TURN {
            let Ok(input) = self.inbox.clients.try_recv() else {
                break;
            };
            self.on_client(input);
        }
        None
    }

    fn next_deadline(&self) -> Instant {
        self.raft.next_deadline()
    }

    /// Samples the clock, after an input was taken from its queue.
    fn now(&mut self) -> Instant {
        self.world.now = clock::now();
        self.world.now
    }

    fn tick(&mut self) {
        let now = self.now();
        self.raft.tick(now);
        self.world
            .readers
            .retry(now, self.config.election_timeout / 2);
    }

    fn on_input(&mut self, input: Input) -> Option<Ended> {
        let now = self.now();
        match input {
            Input::Persisted { seq, sync_time } => {
                self.world.metrics.observe_wal_sync(sync_time);
                self.world.conduct.on_durable(seq, sync_time);
                self.raft.on_persisted(now, seq);
            }
            Input::SpaceLow(refused) => {
                warn!(error = %refused, "the disk is full: no more writes of clients are taken");
                self.space.log = false;
                self.space_changed();
            }
            Input::SpaceRegained => {
                info!("the disk has room again: writes of clients are taken");
                self.space.log = true;
                self.space_changed();
            }
            Input::StoreSpace { has_room } => {
                if has_room {
                    info!("the disk has room again for what is applied");
                } else {
                    warn!("the disk is full: no more writes of clients are taken");
                }
                self.space.store = has_room;
                self.space_changed();
            }
            Input::PeerSpace { id, is_full } => {
                if is_full {
                    if self.space.full_peers.insert(id) {
                        self.world.conduct.on_event(id, Event::DiskFilled);
                    }
                } else {
                    self.space.full_peers.remove(&id);
                }
            }
            Input::WalFailed(failure) => {
                error!(error = %failure, "the write-ahead log failed; this process must end");
                return Some(Ended::WalFailed(failure));
            }
            Input::Applied(index) => {
                self.world.applied = index;
                self.raft.on_applied(now, index);
                self.world.readers.applied(index);
            }
            Input::StateDurable(durable) => self.cut_log(now, durable),
            Input::StateFailed(failure) => {
                error!(error = %failure, "the store failed; this process must end");
                return Some(Ended::StateFailed(failure));
            }
            Input::SnapshotReceived { message, received } => {
                self.world.received = Some(received);
                self.on_peer(message);
            }
            Input::Installed(last) => {
                self.world.applied = last.index;
                self.raft.on_installed(now, last);
                self.world.readers.applied(last.index);
            }
            Input::SnapshotSent { to, last } => {
                self.world.sending.remove(&to);
                self.raft.on_snapshot_sent(now, to, last);
            }
            Input::MembersChanged(members) => self.world.transport.set_members(&members),
            Input::SettingsChanged(settings) => self.settings = settings,
            Input::PeerSeen { id, urls, start } => {
                self.world.transport.on_seen(id, &urls);
                self.world.conduct.on_start(id, start);
            }
            Input::PeerTold { id, told } => self.world.conduct.on_told(id, *told),
            Input::PeerAnswered { id, took } => self.world.conduct.on_sign_of_life(id, took),
            Input::ScoresChanged(scores) => self.act_on_scores(now, &scores),
            Input::Refused { request, refusal } => {
                self.world.entries.refuse(request, &refusal.into());
            }
            Input::RolledBack(evidence) => {
                self.raft.on_rolled_back(now, evidence);
                if self.raft.status().rolled_back.is_some() {
                    error!(
                        ?evidence,
                        "this disk went back to an earlier state: the member votes no more; replace it"
                    );
                }
            }
            Input::ToldRemoved => {
                info!("the cluster says that this member was removed");
                return Some(Ended::Removed);
            }
            Input::Transfer { to, reply } => {
                let _ = reply.send(self.raft.transfer_leader(now, to));
            }
            Input::Change {
                change,
                expected,
                reply,
            } => {
                let _ = reply.send(self.propose_change(now, change, expected));
            }
            Input::RaiseClusterVersion { to, expected } => {
                self.raise_cluster_version(now, to, expected);
            }
            Input::Stop => return Some(Ended::Stopped),
        }
        None
    }

    fn on_peer(&mut self, message: PeerMessage) {
        let now = self.now();
        self.world.conduct.on_receive(now, &message);
        match self.raft.step(now, message) {
            Ok(()) => {}
            Err(error @ (StepError::WrongReceiver { .. } | StepError::Removed { .. })) => {
                debug!(%error, "message refused");
            }
            Err(error @ StepError::Malformed { .. }) => {
                self.world.metrics.count_malformed_message();
                warn!(%error, "message refused");
            }
        }
    }

    fn on_client(&mut self, input: ClientInput) {
        let now = self.now();
        match input {
            ClientInput::Propose {
                data,
                request,
                reply,
            } => match self.propose(now, data) {
                Ok(()) => self.world.entries.wait_for_command(request, reply),
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            },
            ClientInput::Forwarded { from, commands } => {
                for data in commands {
                    self.propose_for(now, from, data);
                }
            }
            ClientInput::Read(reply) => self.world.readers.add(reply),
        }
    }

    /// Appends a command, or sends it on to who leads.
    fn propose(&mut self, now: Instant, data: Bytes) -> Result<(), RequestError> {
        match self.world.leader {
            Some(leader) if leader != self.world.me => {
                if self.world.transport.forward(leader, data) {
                    Ok(())
                } else {
                    Err(RequestError::NotLeader { leader: None })
                }
            }
            Some(_) | None => self.append(now, data),
        }
    }

    /// Appends a command of another member's client; a refusal is told to that member.
    fn propose_for(&mut self, now: Instant, from: MemberId, data: Bytes) {
        let Ok(Waiter { request, .. }) = command::waiter(&data) else {
            return; // The gateway has looked at it.
        };
        let refusal = match self.append(now, data) {
            Ok(()) => return,
            Err(RequestError::TooManyRequests) => Refusal::TooManyRequests,
            Err(RequestError::NoSpace) => Refusal::NoSpace,
            Err(_) => Refusal::NotLeader,
        };
        self.world.transport.refuse(from, request, refusal);
    }

    fn append(&mut self, now: Instant, data: Bytes) -> Result<(), RequestError> {
        if !self.has_space() {
            return Err(RequestError::NoSpace);
        }
        let unapplied = self.raft.commit().0.saturating_sub(self.world.applied.0);
        if unapplied > UNAPPLIED_MAX {
            return Err(RequestError::TooManyRequests);
        }
        self.raft
            .propose(now, Payload::Data(data))
            .map(|_| ())
            .map_err(|error| refused(&error))
    }

    fn propose_change(
        &mut self,
        now: Instant,
        change: ConfChange,
        expected: Option<LogIndex>,
    ) -> Result<oneshot::Receiver<Applied>, RequestError> {
        self.settings.cluster_version.admits(&change)?;
        let proposed = self.raft.propose_conf_change(now, change, expected);
        let id = proposed.map_err(|error| refused(&error))?;
        let (sender, receiver) = oneshot::channel();
        self.world.entries.wait_for_change(id, sender);
        Ok(receiver)
    }

    /// Nobody waits for it, and if it fails it is asked for again.
    fn raise_cluster_version(&mut self, now: Instant, to: ClusterVersion, expected: LogIndex) {
        let planned_for = self.raft.status().membership.index;
        if to <= self.settings.cluster_version || planned_for != expected {
            return;
        }
        let command = Command::SetClusterVersion { version: to.0 };
        let proposed = command::encode(NOBODY, &command).map(|data| {
            let proposed = self.raft.propose(now, Payload::Data(data));
            proposed.map_err(|error| refused(&error))
        });
        match proposed {
            Ok(Ok(_)) => {
                info!(version = %to, "every member supports it: raising the cluster version");
            }
            Ok(Err(error)) => debug!(%error, "raising the cluster version must wait"),
            Err(error) => error!(%error, "a cluster version can't be encoded"),
        }
    }

    fn has_space(&self) -> bool {
        self.space.log && self.space.store
    }

    fn space_changed(&mut self) {
        self.world.pulse.set_full(!self.has_space());
        self.left_at = Instant::default();
    }

    /// A leader without room hands over to the most caught-up voter that has some, and looks for one
    /// again and again while there is none: it may have come to lead like this, too.
    fn leave_if_full(&mut self) {
        let now = self.world.now;
        let leads = self.world.leader == Some(self.world.me);
        let is_due = now.since(self.left_at) >= self.config.election_timeout;
        if self.has_space() || !leads || !is_due {
            return;
        }
        self.left_at = now;
        let full = &self.space.full_peers;
        let to = best_follower(&self.raft.status(), |id| !full.contains(&id));
        match to.map(|to| (to, self.raft.transfer_leader(now, to))) {
            Some((to, Ok(()))) => info!(%to, "handing leadership over: this disk is full"),
            Some((to, Err(error))) => debug!(%to, %error, "leadership isn't handed over"),
            None => debug!("no voter's disk has room"),
        }
    }

    /// One name for all reads that came in this turn: the lease answers it in the same turn, as of
    /// the time sampled after the last of them was taken from its queue, or else a heartbeat round
    /// does. Reads that come later get another name, so that none is served by a time before it.
    fn ask_for_reads(&mut self) {
        if !self.world.readers.wants_round() {
            return;
        }
        let id = self.world.readers.next_round();
        // Refused: no leader yet. They stay and ask again with the next turn, until they give up.
        if self.raft.read_index(self.world.now, id).is_ok() {
            self.world.readers.asked(self.world.now, id);
        }
    }

    /// Cuts the log behind what the store has durable, but for what members that lag may need.
    fn cut_log(&mut self, now: Instant, durable: LogId) {
        // The keeper may know of entries before this task hears that they are applied.
        let durable = durable.index.min(self.world.applied);
        let held = self.raft.held_by_all().unwrap_or(durable);
        let up_to = self.world.catch_up.cut(durable, held);
        if up_to > LogIndex(0) {
            let base = self.raft.compact(now, up_to);
            self.world.wal.cut(base.index);
        }
    }

    fn turn(&mut self) {
        self.world.pulse.set_last_index(self.raft.last_index());
        dispatch(&mut self.raft, &mut self.world);
        // Raft has taken it, or has no use for it.
        self.world.received = None;
        if std::mem::take(&mut self.world.lost_leader) {
            self.world.entries.fail_all(&RequestError::LeaderChanged);
        }
        self.show();
        let ms = u64::try_from(self.world.now.0.as_millis()).unwrap_or(u64::MAX);
        self.last_turn_ms.store(ms, Ordering::Relaxed);
    }
}

impl Driver {
    /// Publishes a picture of Raft: at once when something changed that others wait for, else a
    /// few times in a second, since it is a copy of everything.
    fn show(&mut self) {
        let now = self.world.now;
        let is_due = now.since(self.shown_at) >= SHOW_PERIOD;
        let status = match self.world.changed_status.take() {
            Some(_) | None if is_due => {
                self.world.entries.forget_gone();
                self.raft.status()
            }
            Some(status) => status,
            None => return,
        };
        self.shown_at = now;
        self.status.send_if_modified(|old| {
            let is_new = *old != status;
            *old = status;
            is_new
        });
    }
}

/// Sends what the WAL thread tells to the driver.
pub fn wal_events(inputs: mpsc::UnboundedSender<Input>) -> impl FnMut(WalEvent) + Send + 'static {
    move |event| {
        let input = match event {
            WalEvent::Durable { seq, sync_time, .. } => Input::Persisted { seq, sync_time },
            WalEvent::SpaceLow { error } => Input::SpaceLow(error),
            WalEvent::SpaceRegained => Input::SpaceRegained,
            WalEvent::Failed(error) => Input::WalFailed(error),
        };
        // The driver is gone when the process ends.
        let _ = inputs.send(input);
    }
}
