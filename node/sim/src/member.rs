//! A member: Raft, its disk, its clock, its state machine.

use std::collections::{BTreeMap, HashMap};

use raftery_raft::{
    Entry, Host, Instant, LogId, LogIndex, MemberId, PeerMessage, PersistBatch, Raft, ReadGrant,
    ReadId, RoleKind, SnapshotMeta, Status, Term,
};

use crate::clients::{Key, Write};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::keeper::Keeper;
use crate::machine::Machine;
use crate::queue::Event;
use crate::streams::{Received, Receiving, Sending};

/// A member, dead or alive.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) disk: Disk,
    /// Of its machine, since that booted.
    pub(crate) clock: Clock,
    /// Counts starts.
    pub(crate) life: u64,
    /// `None` while it is down.
    pub(crate) running: Option<Running>,
    /// It was removed and knows it: it never starts again.
    pub(crate) is_gone: bool,
    /// Its log is damaged and was refused: it never starts again, and has to be replaced.
    pub(crate) is_broken: bool,
}

/// What a crash takes.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    /// What the log begins behind, and the log as it was handed to the disk.
    pub(crate) base: LogId,
    pub(crate) log: Vec<Entry>,
    /// The last status that was handed out: role, term, leader and membership are up to date.
    pub(crate) shown: Option<Status>,
    /// Writes that wait for their entry to be applied here.
    pub(crate) waiters: BTreeMap<LogIndex, (Term, Write)>,
    /// Reads that were asked for here.
    pub(crate) asked: HashMap<ReadId, Key>,
    /// Reads that wait for the state machine to reach an index.
    pub(crate) reads: Vec<ReadGrant>,
    /// Committed entries that the state machine hasn't got to.
    pub(crate) to_apply: Vec<Entry>,
    /// Makes durable what is applied.
    pub(crate) keeper: Keeper,
    /// Snapshots on their way to others.
    pub(crate) sending: BTreeMap<MemberId, Sending>,
    /// A snapshot on its way here.
    pub(crate) receiving: Option<Receiving>,
    /// A received snapshot, whole: until Raft has looked at it, or until it is installed.
    pub(crate) received: Option<Received>,
    /// Whether Raft wants it.
    pub(crate) installs: bool,
    pub(crate) tick_at: Option<Instant>,
    /// While it is suspended: what has queued meanwhile.
    pub(crate) held: Option<Vec<Event>>,
    /// When it goes on, it gets to the reads before it looks at anything else.
    pub(crate) wakes_to_reads: bool,
}

impl Running {
    pub(crate) fn new(raft: Raft, machine: Machine, base: LogId, log: Vec<Entry>) -> Self {
        Self {
            raft,
            machine,
            base,
            log,
            shown: None,
            waiters: BTreeMap::new(),
            asked: HashMap::new(),
            reads: Vec::new(),
            to_apply: Vec::new(),
            keeper: Keeper::default(),
            sending: BTreeMap::new(),
            receiving: None,
            received: None,
            installs: false,
            tick_at: None,
            held: None,
            wakes_to_reads: false,
        }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.held.is_some()
    }

    /// The entry at `index` of the log as it was handed to the disk.
    pub(crate) fn id_at(&self, index: LogIndex) -> Option<LogId> {
        let place = usize::try_from(index.0.checked_sub(self.base.index.0)?).ok()?;
        match place.checked_sub(1) {
            None => Some(self.base),
            Some(place) => self.log.get(place).map(|entry| entry.id),
        }
    }

    /// A batch replaces everything from its first entry on. Gives the entry before it.
    pub(crate) fn write(&mut self, batch: &PersistBatch) -> LogId {
        if let Some(base) = batch.base {
            self.base = base;
            self.log.clear();
        }
        let Some(first) = batch.entries.first() else {
            return LogId::default();
        };
        let keep = first.id.index.0.saturating_sub(self.base.index.0 + 1);
        self.log
            .truncate(usize::try_from(keep).expect("a short log"));
        let before = self.log.last().map_or(self.base, |entry| entry.id);
        self.log.extend_from_slice(&batch.entries);
        before
    }
}

impl Member {
    /// What it last said of itself.
    pub(crate) fn shown(&self) -> Option<&Status> {
        self.running.as_ref()?.shown.as_ref()
    }

    pub(crate) fn leads(&self) -> bool {
        self.shown()
            .is_some_and(|status| status.role == RoleKind::Leader)
    }

    /// Whether it will never run again.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_gone || self.is_broken
    }
}

/// What Raft wants done, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    Persist(PersistBatch),
    Send(PeerMessage),
    Apply(Vec<Entry>),
    Install(SnapshotMeta),
    SendSnapshot(MemberId),
    ServeRead(ReadGrant),
    Status(Status),
}

/// Collects effects from the loop that the server runs, too.
#[derive(Debug, Default)]
pub(crate) struct Effects(pub(crate) Vec<Effect>);

impl Host for Effects {
    fn persist(&mut self, batch: PersistBatch) {
        self.0.push(Effect::Persist(batch));
    }

    fn send(&mut self, message: PeerMessage) {
        self.0.push(Effect::Send(message));
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        self.0.push(Effect::Apply(entries));
    }

    fn install(&mut self, meta: SnapshotMeta) {
        self.0.push(Effect::Install(meta));
    }

    fn send_snapshot(&mut self, to: MemberId) {
        self.0.push(Effect::SendSnapshot(to));
    }

    fn serve_read(&mut self, grant: ReadGrant) {
        self.0.push(Effect::ServeRead(grant));
    }

    fn status_changed(&mut self, status: Status) {
        self.0.push(Effect::Status(status));
    }
}
