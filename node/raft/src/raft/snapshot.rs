//! Snapshots (§5.1): the log is cut behind what the state machine has durable, and who needs an
//! entry that is gone gets the state machine's state instead.
//!
//! ```text
//!   leader                               follower
//!   Ready.snapshots ─► host streams ───► host verifies, syncs beside the live state
//!   on_snapshot_sent ◄─┘                 step(InstallSnapshot) ─► Ready.install
//!                                        host swaps the state ──► on_installed
//!                                        PersistBatch { base } ─► on_persisted
//!   AppendAccepted ◄──────────────────── what the snapshot holds is accepted
//! ```
//!
//! A crash of the follower before the swap leaves state and log as they were. After it, and
//! before the batch with the base is durable, the state machine is ahead of the log; recovery then
//! begins the log behind what is applied (see [`crate::Recovered`]), which is where the batch
//! would have put it. An answer leaves only after the batch.
//!
//! While the state is being swapped, the log stays as it was and takes no appends: they would
//! speak of a log that is about to go. Nothing is handed out to be applied, and the member doesn't
//! campaign: the snapshot's last entry is committed and not in its log, so it can't win.

use super::Raft;
use crate::limits::APPLY_BYTES_IN_FLIGHT_MAX;
use crate::log::Log;
use crate::role::Role;
use crate::{Entry, Instant, LogId, LogIndex, MemberId, SnapshotMeta};

/// A snapshot that the state machine is about to take.
///
/// Invariants: it is ahead of what is committed, and the log doesn't hold its last entry.
#[derive(Debug)]
pub(super) struct Installing {
    meta: SnapshotMeta,
    /// Whether the host knows.
    is_handed: bool,
}

impl Installing {
    pub(super) fn check_invariants(&self, log: &Log) {
        let last = self.meta.last;
        assert!(last.index > log.commit(), "installs what is committed");
        assert!(!log.holds(last), "installs what the log holds");
    }
}

impl Raft {
    /// Drops entries up to `up_to`, which the state machine has durable, from memory; those that
    /// aren't durable in the log yet stay. Gives what the log begins behind now: on disk it may be
    /// cut up to there.
    ///
    /// # Panics
    /// When `up_to` isn't applied.
    pub fn compact(&mut self, now: Instant, up_to: LogIndex) -> LogId {
        self.advance(now);
        self.log.compact(up_to);
        self.log.base()
    }

    /// The stream of a snapshot to `to` has ended: with a snapshot up to `last`, verified there,
    /// or without success. Replication goes on behind it; what it lacks then shows in the
    /// answers.
    pub fn on_snapshot_sent(&mut self, now: Instant, to: MemberId, last: Option<LogId>) {
        self.advance(now);
        let last_index = self.log.last_index();
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&to)
        {
            // It may be the snapshot of an earlier leadership.
            let last = last.map(|last| last.index.min(last_index));
            progress.on_snapshot_sent(self.now, last);
        }
    }

    /// The state machine is at the snapshot that [`crate::Ready::install`] named, durably.
    ///
    /// # Panics
    /// When no snapshot up to `last` was handed out.
    pub fn on_installed(&mut self, now: Instant, last: LogId) {
        self.advance(now);
        let installing = self.install.take();
        let meta = installing
            .filter(|installing| installing.is_handed)
            .map(|installing| installing.meta)
            .filter(|meta| meta.last == last)
            .unwrap_or_else(|| panic!("no snapshot up to {last} was to be installed"));
        self.log.rebase(meta.last);
        self.membership = meta.membership;
        if let Role::Follower(follower) = &mut self.role {
            // Every leader since has it: it is committed.
            follower.accepted = last.index;
            follower.owes_answer = true;
        }
    }

    /// A snapshot lies ready; it is taken if [`crate::Ready::install`] says so in what follows, and
    /// of no use otherwise: one is being installed already, or the log has as much. If the log is ahead of it, the leader learns so; if the log just
    /// doesn't know yet that this much is committed, it does now.
    pub(super) fn on_install_snapshot(&mut self, from: MemberId, meta: SnapshotMeta) {
        self.hear_leader(from);
        if self.install.is_some() {
            return;
        }
        let last = meta.last;
        if last.index > self.log.commit() && !self.log.holds(last) {
            self.install = Some(Installing {
                meta,
                is_handed: false,
            });
            return;
        }
        self.commit_to(last.index);
        let commit = self.log.commit();
        if let Role::Follower(follower) = &mut self.role {
            // Every leader has what is committed.
            follower.accepted = follower.accepted.max(commit);
            follower.owes_answer = true;
        }
    }

    /// The snapshot to install, once.
    pub(super) fn next_to_install(&mut self) -> Option<SnapshotMeta> {
        let installing = self.install.as_mut()?;
        let is_handed = std::mem::replace(&mut installing.is_handed, true);
        (!is_handed).then(|| installing.meta.clone())
    }

    /// Committed entries to apply; none while a snapshot is about to take their place.
    pub(super) fn next_to_apply(&mut self) -> Vec<Entry> {
        if self.install.is_some() {
            return Vec::new();
        }
        self.log.give_out(APPLY_BYTES_IN_FLIGHT_MAX)
    }
}
