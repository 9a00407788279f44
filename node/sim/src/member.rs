//! A member: Raft, its disk, its clock, its state machine.

use std::collections::{BTreeMap, HashMap};

use raftery_raft::{
    Entry, Host, Instant, LogId, LogIndex, MemberId, PeerMessage, PersistBatch, Raft, ReadGrant,
    ReadId, RoleKind, SnapshotMeta, Status, Term,
};

use crate::clients::{Key, Write};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::machine::Machine;
use crate::queue::Event;

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
    /// The log as it was handed to the disk.
    pub(crate) log: Vec<Entry>,
    /// The last status that was handed out: role, term, leader and membership are up to date.
    pub(crate) shown: Option<Status>,
    /// Writes that wait for their entry to be applied here.
    pub(crate) waiters: BTreeMap<LogIndex, (Term, Write)>,
    /// Reads that were asked for here.
    pub(crate) asked: HashMap<ReadId, Key>,
    /// Reads that wait for the state machine to reach an index.
    pub(crate) reads: Vec<(LogIndex, ReadId)>,
    /// Committed entries that the state machine hasn't got to.
    pub(crate) to_apply: Vec<Entry>,
    pub(crate) tick_at: Option<Instant>,
    /// While it is suspended: what has queued meanwhile.
    pub(crate) held: Option<Vec<Event>>,
}

impl Running {
    pub(crate) fn new(raft: Raft, log: Vec<Entry>) -> Self {
        Self {
            raft,
            machine: Machine::new(),
            log,
            shown: None,
            waiters: BTreeMap::new(),
            asked: HashMap::new(),
            reads: Vec::new(),
            to_apply: Vec::new(),
            tick_at: None,
            held: None,
        }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.held.is_some()
    }

    /// The entry at `index` of the log as it was handed to the disk.
    pub(crate) fn id_at(&self, index: LogIndex) -> Option<LogId> {
        let place = usize::try_from(index.0).expect("a short log");
        match place.checked_sub(1) {
            None => Some(LogId::default()),
            Some(place) => self.log.get(place).map(|entry| entry.id),
        }
    }

    /// A batch replaces everything from its first entry on. Gives the entry before it.
    pub(crate) fn write(&mut self, entries: &[Entry]) -> LogId {
        let Some(first) = entries.first() else {
            return LogId::default();
        };
        let keep = usize::try_from(first.id.index.prev().0).expect("a short log");
        self.log.truncate(keep);
        let before = self
            .log
            .last()
            .map_or_else(LogId::default, |entry| entry.id);
        self.log.extend_from_slice(entries);
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
        unreachable!("nobody cuts its log, and {meta:?} is to be installed");
    }

    fn send_snapshot(&mut self, to: MemberId) {
        unreachable!("nobody cuts its log, and {to} is to get a snapshot");
    }

    fn serve_read(&mut self, grant: ReadGrant) {
        self.0.push(Effect::ServeRead(grant));
    }

    fn status_changed(&mut self, status: Status) {
        self.0.push(Effect::Status(status));
    }
}
