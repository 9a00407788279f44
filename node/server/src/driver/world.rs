//! What carries out Raft's effects: hands them on, and never waits.

use std::sync::Arc;

use raftery_raft::{
    Entry, Host, Instant, LogIndex, MemberId, PeerMessage, PersistBatch, ReadId, RoleKind, Status,
};
use raftery_wal::WalWriter;
use tokio::sync::mpsc;
use tracing::info;

use super::judging::Judging;
use super::waiters::{EntryWaiters, Readers};
use crate::apply::Committed;
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::transport::Transport;

/// What carries out Raft's effects.
#[derive(Debug)]
pub(super) struct World {
    pub(super) me: MemberId,
    pub(super) now: Instant,
    pub(super) wal: WalWriter,
    pub(super) transport: Transport,
    pub(super) apply: mpsc::UnboundedSender<Vec<Committed>>,
    pub(super) entries: EntryWaiters,
    pub(super) readers: Readers,
    pub(super) judging: Judging,
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
}

impl Host for World {
    fn persist(&mut self, batch: PersistBatch) {
        self.wal.append(batch);
    }

    fn send(&mut self, message: PeerMessage) {
        let notice = self.judging.on_send(self.now, &message);
        self.transport.send(message, notice);
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        let committed = entries
            .into_iter()
            .map(|e| self.entries.pair(self.me, e))
            .collect();
        // The apply task ends only when the process does.
        let _ = self.apply.send(committed);
    }

    fn serve_read(&mut self, id: ReadId, index: LogIndex) {
        self.readers.confirmed(id, index);
        self.readers.applied(self.applied);
    }

    fn status_changed(&mut self, status: Status) {
        if status.leader != self.leader {
            info!(role = ?status.role, term = %status.term, leader = ?status.leader, "leader changed");
            self.lost_leader |= self.leader.is_some();
            if status.leader.is_some() {
                self.metrics.count_leader_change();
            }
            self.leader = status.leader;
        }
        self.is_removed |=
            status.membership.removed.contains(&self.me) && status.role != RoleKind::Leader;
        self.judging.status_changed(self.now, &status);
        self.transport.set_removed(&status.membership.removed);
        self.pulse.set_raft(&status);
        self.changed_status = Some(status);
    }
}
