//! A member: Raft, its disk, its state machine.

use std::collections::BTreeMap;

use raftery_raft::{
    Entry, Host, Instant, LogId, LogIndex, MemberId, PeerMessage, PersistBatch, Raft, ReadGrant,
    RoleKind, SnapshotMeta, Status, Term,
};

use crate::disk::Disk;
use crate::machine::{Machine, WriteId};

/// A member, dead or alive.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) disk: Disk,
    /// Counts starts.
    pub(crate) life: u64,
    /// `None` while it is down.
    pub(crate) running: Option<Running>,
    /// It was removed and knows it: it never starts again.
    pub(crate) is_gone: bool,
}

/// What a crash takes.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    /// The log as it was handed to the disk.
    pub(crate) log: Vec<Entry>,
    /// Writes that wait for their entry to be applied here.
    pub(crate) waiters: BTreeMap<LogIndex, (Term, WriteId)>,
    pub(crate) tick_at: Option<Instant>,
}

impl Running {
    pub(crate) fn new(raft: Raft, log: Vec<Entry>) -> Self {
        Self {
            raft,
            machine: Machine::default(),
            log,
            waiters: BTreeMap::new(),
            tick_at: None,
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
    pub(crate) fn status(&self) -> Option<Status> {
        self.running.as_ref().map(|running| running.raft.status())
    }

    pub(crate) fn leads(&self) -> bool {
        self.status()
            .is_some_and(|status| status.role == RoleKind::Leader)
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
