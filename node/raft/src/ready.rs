//! What Raft wants done, and the loop that does it.

use crate::{
    Entry, HardState, Instant, LogId, LogIndex, MemberId, PeerMessage, PersistSeq, Raft, ReadId,
    SnapshotMeta, Status,
};

/// Written in `seq` order as one checksummed unit: recovery sees all of it or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersistBatch {
    /// Acknowledge with [`Raft::on_persisted`]; an acknowledgement covers all lower ones.
    pub seq: PersistSeq,
    /// Term, vote and commit as of this batch.
    pub hard_state: HardState,
    /// A snapshot was installed: everything that the log held is dropped, and the log is empty
    /// behind this entry.
    pub base: Option<LogId>,
    /// Entries, contiguous, behind `base` if there is one. The first may overwrite what an earlier batch wrote at its index
    /// and after: everything from there on is replaced.
    pub entries: Vec<Entry>,
}

/// A linearizable read that may be served once applied reaches `index`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadGrant {
    /// The caller's name for it.
    pub id: ReadId,
    /// What applied must reach.
    pub index: LogIndex,
    /// Granted on the lease, which holds until then; `None` when a heartbeat round or another
    /// member confirmed the read. The lease held at the latest `now`. If that was sampled after
    /// every request that this read stands for had arrived, they may be served however late it is:
    /// what was acknowledged before they began is at or before the index. Only who adds requests to
    /// a read that was asked for already compares [`Raft::lease_until`] with the time once more, and
    /// asks again under another name when the lease is over.
    pub valid_until: Option<Instant>,
}

/// Effects to carry out. An empty one is never handed out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ready {
    /// To send, in order per receiver; loss and delay are allowed. Promises are among them
    /// only once durable.
    pub messages: Vec<PeerMessage>,
    /// To write and sync; `None` when nothing changed.
    pub persist: Option<PersistBatch>,
    /// Committed entries to apply, once each, in order.
    pub committed: Vec<Entry>,
    /// The snapshot that [`Raft::step`] was told of last, to put in the live state machine's place.
    /// Answer with [`Raft::on_installed`]; until then nothing is handed out to be applied.
    pub install: Option<SnapshotMeta>,
    /// Members that need entries which the log holds no more. Answer each with
    /// [`Raft::on_snapshot_sent`].
    pub snapshots: Vec<MemberId>,
    /// Reads to serve.
    pub reads: Vec<ReadGrant>,
    /// Set when role, term, leader or membership changed.
    pub status: Option<Status>,
}

/// The world that carries out effects: the server, or the simulator.
pub trait Host {
    /// Queues a batch for the disk. Its `seq` is acknowledged later.
    fn persist(&mut self, batch: PersistBatch);
    /// Queues a message; may drop it.
    fn send(&mut self, message: PeerMessage);
    /// Hands committed entries to the state machine.
    fn apply(&mut self, entries: Vec<Entry>);
    /// Puts the snapshot, which lies durable beside the live state machine, in its place. What
    /// was handed out to be applied before is older than it. Then [`Raft::on_installed`] is due.
    fn install(&mut self, meta: SnapshotMeta);
    /// Begins to send `to` a snapshot of the state machine, in the term of the last status. When
    /// that is done or has failed, [`Raft::on_snapshot_sent`] is due; if one is under way to that
    /// member already, its end will do.
    fn send_snapshot(&mut self, to: MemberId);
    /// A read may be served once applied reaches its index.
    fn serve_read(&mut self, grant: ReadGrant);
    /// Role, term, leader or membership changed.
    fn status_changed(&mut self, status: Status);
}

/// Turns everything that Raft wants into effects. Call it after each burst of inputs.
pub fn dispatch<H: Host>(raft: &mut Raft, host: &mut H) {
    while let Some(ready) = raft.take_ready() {
        // The disk first: a leader's own sync then runs beside replication.
        if let Some(batch) = ready.persist {
            host.persist(batch);
        }
        for message in ready.messages {
            host.send(message);
        }
        // Status before entries: whoever applies them sees the role they were committed in.
        if let Some(status) = ready.status {
            host.status_changed(status);
        }
        if !ready.committed.is_empty() {
            host.apply(ready.committed);
        }
        if let Some(meta) = ready.install {
            host.install(meta);
        }
        for to in ready.snapshots {
            host.send_snapshot(to);
        }
        for grant in ready.reads {
            host.serve_read(grant);
        }
    }
}
