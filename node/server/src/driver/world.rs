//! What carries out Raft's effects: hands them on, and never waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use raftery_behaviour::Event;
use raftery_raft::{
    Entry, Host, Instant, LogIndex, MemberId, PeerMessage, PersistBatch, ReadGrant, RoleKind,
    SnapshotMeta, Status, Term,
};
use raftery_wal::WalWriter;
use tokio::sync::mpsc;
use tracing::info;

use super::catch_up::CatchUp;
use super::conduct::Conduct;
use super::waiters::{EntryWaiters, Readers};
use crate::apply::ToApply;
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::state::applied_id;
use crate::transport::{Received, SnapshotSender, Transport};

/// What carries out Raft's effects.
#[derive(Debug)]
pub(super) struct World {
    pub(super) me: MemberId,
    pub(super) now: Instant,
    pub(super) wal: WalWriter,
    pub(super) transport: Transport,
    pub(super) apply: mpsc::UnboundedSender<ToApply>,
    pub(super) entries: EntryWaiters,
    pub(super) readers: Readers,
    pub(super) conduct: Conduct,
    pub(super) metrics: Arc<Metrics>,
    pub(super) leader: Option<MemberId>,
    pub(super) applied: LogIndex,
    /// In this turn. Who waits is told at its end: what was committed in it comes first, the
    /// removal of the leader itself among it.
    pub(super) lost_leader: bool,
    pub(super) is_removed: bool,
    /// To be shown at the end of this turn.
    pub(super) changed_status: Option<Status>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) term: Term,
    pub(super) catch_up: CatchUp,
    /// A peer's snapshot, for as long as Raft looks at it.
    pub(super) received: Option<Box<Received>>,
    /// Peers that a snapshot is on its way to.
    pub(super) sending: BTreeSet<MemberId>,
    pub(super) snapshots: SnapshotSender,
}

impl Host for World {
    fn persist(&mut self, batch: PersistBatch) {
        self.catch_up.written(&batch);
        self.conduct.on_write(self.now, &batch);
        self.wal.append(batch);
    }

    fn send(&mut self, message: PeerMessage) {
        let notice = self.conduct.on_send(self.now, &message);
        self.transport.send(message, notice);
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        let committed = entries
            .into_iter()
            .map(|e| self.entries.pair(self.me, e))
            .collect();
        // The apply task ends only when the process does.
        let _ = self.apply.send(ToApply::Entries(committed));
    }

    fn install(&mut self, meta: SnapshotMeta) {
        let received = self.received.take();
        let received = received.expect("Raft installs only what it was just told of");
        debug_assert_eq!(received.state.at(), applied_id(meta.last));
        let _ = self.apply.send(ToApply::Install(received));
    }

    fn send_snapshot(&mut self, to: MemberId) {
        if self.sending.insert(to) {
            self.conduct.on_event(to, Event::NeedsSnapshot);
            self.snapshots.send(to, self.term, self.transport.urls(to));
        }
    }

    fn serve_read(&mut self, grant: ReadGrant) {
        // How long the lease holds (`valid_until`) isn't looked at again. The lease held at a time
        // that was sampled after each of these requests had been taken from its queue
        // (`Driver::ask_for_reads`): until then nobody else led, and all that had been acknowledged
        // to anyone is at or before the index. A state that has applied as much may answer, however
        // late that is, and whoever leads by then: it holds every write that ended before the
        // request began, and only committed ones.
        self.readers.confirmed(grant.id, grant.index);
        self.readers.applied(self.applied);
    }

    fn status_changed(&mut self, status: Status) {
        // The same leader in another term may have lost entries, too.
        let is_other_term = status.term != self.term && self.leader.is_some();
        self.term = status.term;
        if status.leader != self.leader || is_other_term {
            info!(role = ?status.role, term = %status.term, leader = ?status.leader, "leader changed");
            self.lost_leader |= self.leader.is_some();
            if status.leader.is_some() {
                self.metrics.count_leader_change();
            }
            self.leader = status.leader;
        }
        self.is_removed |=
            status.membership.removed.contains(&self.me) && status.role != RoleKind::Leader;
        self.conduct.status_changed(self.now, &status);
        self.transport.set_removed(&status.membership.removed);
        self.pulse.set_raft(&status);
        self.changed_status = Some(status);
    }
}
