//! What happens to logs and state machines: cuts, snapshots, rot, old copies.

use std::fmt::Write as _;

use raftery_raft::{
    HardState, LogId, LogIndex, MemberId, MessageBody, PeerMessage, Rollback, SnapshotMeta,
    StepError, Term,
};

use super::{Cluster, Machine};
use crate::text;

/// A snapshot on its way.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) from: MemberId,
    pub(crate) term: Term,
    pub(crate) meta: SnapshotMeta,
    machine: Machine,
}

impl Cluster {
    /// The state machine of `id` is durable as it is, and the log is cut behind it.
    pub(crate) fn compact(&mut self, id: MemberId) -> LogId {
        let now = self.now;
        let membership = self.status(id).membership;
        let node = self.node(id);
        node.stored.clone_from(&node.machine);
        node.disk.membership = membership;
        let up_to = node.machine.last().copied().unwrap_or_default().index;
        let base = self.input(id, |raft| raft.compact(now, up_to));
        let node = self.node(id);
        node.disk.base = base;
        node.disk
            .entries
            .retain(|entry| entry.id.index > base.index);
        self.note(id, &format!("cuts its log behind {}", text::log_id(base)));
        base
    }

    /// A snapshot of `from`'s state machine as it is now.
    pub(crate) fn snapshot(&self, from: MemberId) -> Snapshot {
        let machine = self.nodes[&from].machine.clone();
        let status = self.status(from);
        let last = machine.last().copied().unwrap_or_default();
        let membership = status.membership;
        Snapshot {
            from,
            term: status.term,
            meta: SnapshotMeta { last, membership },
            machine,
        }
    }

    /// A snapshot lies ready at `to`.
    pub(crate) fn deliver(&mut self, to: MemberId, snapshot: Snapshot) -> Result<(), StepError> {
        let Snapshot {
            from,
            term,
            meta,
            machine,
        } = snapshot;
        let body = MessageBody::InstallSnapshot { meta: meta.clone() };
        let message = PeerMessage {
            from,
            to,
            term,
            body,
        };
        let _ = writeln!(self.transcript, "{}", text::message(&message));
        self.node(to).received = Some((meta, machine));
        self.step(message)
    }

    /// `from` knows how its stream of a snapshot ended.
    pub(crate) fn snapshot_sent(&mut self, from: MemberId, to: MemberId, last: Option<LogId>) {
        let now = self.now;
        let end = last.map_or_else(
            || "failed".into(),
            |id| format!("arrived, up to {}", text::log_id(id)),
        );
        self.note(from, &format!("snapshot to {} {end}", text::name(to)));
        self.input(from, |raft| raft.on_snapshot_sent(now, to, last));
    }

    /// The whole way of a snapshot.
    pub(crate) fn send_snapshot(&mut self, from: MemberId, to: MemberId) {
        let snapshot = self.snapshot(from);
        let last = snapshot.meta.last;
        self.deliver(to, snapshot).expect("a good snapshot");
        self.snapshot_sent(from, to, Some(last));
        self.run();
    }

    /// From now on `id` takes long to put a snapshot in place.
    pub(crate) fn hold_installs(&mut self, id: MemberId) {
        self.node(id).holds_installs = true;
        self.note(id, "takes its time to install snapshots");
    }

    /// The state machine is swapped, durably; Raft doesn't know yet.
    pub(crate) fn swap(&mut self, id: MemberId) {
        let node = self.node(id);
        let (meta, machine) = node.received.take().expect("a snapshot lies ready");
        assert!(machine.starts_with(&node.machine), "a snapshot takes back");
        node.machine.clone_from(&machine);
        node.stored = machine;
        node.disk.membership = meta.membership;
        node.installs = false;
        self.note(id, &format!("is at {}", text::log_id(meta.last)));
    }

    pub(crate) fn installed(&mut self, id: MemberId) {
        let now = self.now;
        let last = self.node(id).stored.last().copied();
        let last = last.expect("a snapshot holds something");
        self.input(id, |raft| raft.on_installed(now, last));
    }

    /// The disk of `id`, which is down, goes back to its first `count` entries and to `term`, in
    /// which it hasn't voted.
    pub(crate) fn roll_back(&mut self, id: MemberId, count: usize, term: u64) {
        let disk = &mut self.node(id).disk;
        disk.entries.truncate(count);
        disk.hard_state = HardState {
            term: Term(term),
            vote: None,
            commit: LogIndex(1),
        };
        self.note(id, &format!("disk: is as it was with {count} entries"));
    }

    /// The log of `id`, which is down, is unreadable after its first `count` entries.
    pub(crate) fn rot(&mut self, id: MemberId, count: usize) {
        let node = self.node(id);
        node.disk.repair_until = Some(node.durable());
        node.disk.entries.truncate(count);
        let commit = node.disk.hard_state.commit.min(node.durable().index);
        node.disk.hard_state.commit = commit;
        self.note(
            id,
            &format!("disk: the log is rotten after {count} entries"),
        );
    }

    /// `id` is told by a peer that its disk went back.
    pub(crate) fn tell_rolled_back(&mut self, id: MemberId, evidence: Rollback) {
        let now = self.now;
        self.note(id, &format!("is told: {evidence:?}"));
        self.input(id, |raft| raft.on_rolled_back(now, evidence));
    }
}
