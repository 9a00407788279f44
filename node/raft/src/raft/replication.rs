//! The leader's appends and what is answered to them and to heartbeats.

use std::time::Duration;

use raftery_defects::{Defect, is_on};

use super::{Outbox, Raft};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::log::Log;
use crate::role::Role;
use crate::tracker::{Progress, ProgressState};
use crate::{Entry, Instant, LogId, LogIndex, MemberId, MessageBody, Term};

impl Raft {
    /// Sends everyone what it lacks and may be sent now; nothing unless leading.
    pub(super) fn replicate(&mut self) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let mut sender = Sender {
            log: &self.log,
            term: self.term,
            now: self.now,
            outbox: &mut self.outbox,
        };
        let is_alive = |progress: &Progress| {
            progress
                .last_heard
                .is_some_and(|at| self.now.since(at) < self.config.election_timeout)
        };
        let base = self.log.base().index;
        for (to, progress) in &mut leader.progress {
            if progress.next <= base && progress.may_send() {
                // The next entry is gone. A dead member would only waste a snapshot.
                if is_alive(progress) {
                    progress.needs_snapshot(base);
                    self.snapshots.push(*to);
                }
                continue;
            }
            while sender.send_next(*to, progress) {}
        }
    }

    /// To a member about to be forgotten: that its removal is committed.
    pub(super) fn say_farewell(&mut self, to: MemberId) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(mut progress) = leader.progress.remove(&to) else {
            return;
        };
        if matches!(progress.state, ProgressState::Replicate { .. }) {
            let mut sender = Sender {
                log: &self.log,
                term: self.term,
                now: self.now,
                outbox: &mut self.outbox,
            };
            sender.append(to, &mut progress, Vec::new());
        }
    }

    pub(super) fn on_append_accepted(&mut self, from: MemberId, matched: LogIndex) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.progress.get_mut(&from) else {
            return;
        };
        if progress.on_accepted(matched, self.log.base().index) {
            // What this commits is found in `settle`.
            self.maybe_hand_over();
        }
    }

    pub(super) fn on_append_rejected(&mut self, from: MemberId, rejected: LogIndex, hint: LogId) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.progress.get_mut(&from) else {
            return;
        };
        // Fast back-up: the follower shares nothing with this log after its hint, and nothing
        // of a later term than the hint's before that. Where that is below the base, only a
        // snapshot helps.
        let below = self.log.base().index.prev();
        let may_match = self
            .log
            .last_at_most(hint.index, hint.term)
            .map_or(hint.index.min(below), |id| id.index);
        progress.on_rejected(rejected, may_match);
    }

    pub(super) fn on_heartbeat_response(&mut self, from: MemberId, number: u64, promise: Duration) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.progress.get_mut(&from) else {
            return;
        };
        progress.heartbeat_answered = progress.heartbeat_answered.max(number);
        // No promise is longer than the wait after a start, which stands for forgotten ones.
        let promise = promise.min(self.config.promise_max);
        leader.lease.promised(from, number, promise);
        let has_waited = progress
            .appended_at
            .is_some_and(|at| self.now.since(at) >= self.timers.heartbeat_interval);
        if has_waited {
            match &mut progress.state {
                // The probe or its answer may be lost.
                ProgressState::Probe { waiting } => *waiting = false,
                // The last appends may be lost, and nothing follows to show it: an empty one
                // does, because it is refused then.
                ProgressState::Replicate { .. } if progress.matched < self.log.last_index() => {
                    let mut sender = Sender {
                        log: &self.log,
                        term: self.term,
                        now: self.now,
                        outbox: &mut self.outbox,
                    };
                    sender.append(from, progress, Vec::new());
                }
                ProgressState::Replicate { .. } | ProgressState::Snapshot { .. } => {}
            }
        }
        self.confirm_reads();
    }
}

/// What sending an append takes, apart from the receiver.
struct Sender<'a> {
    log: &'a Log,
    term: Term,
    now: Instant,
    outbox: &'a mut Outbox,
}

impl Sender<'_> {
    /// Sends the next append if there is one to send; gives whether there may be another.
    fn send_next(&mut self, to: MemberId, progress: &mut Progress) -> bool {
        // Figure 3.7 needs an entry that arrives and the one behind it that doesn't.
        let bytes_max = if is_on(Defect::CommitEarlierTerm) {
            1
        } else {
            MESSAGE_BYTES_MAX
        };
        match &mut progress.state {
            ProgressState::Probe { waiting } => {
                if !*waiting {
                    *waiting = true;
                    let entries = self.log.copy_after(progress.next.prev(), bytes_max);
                    self.append(to, progress, entries);
                }
                false
            }
            ProgressState::Replicate { inflight } => {
                let has_entries = progress.next <= self.log.last_index();
                if has_entries && !inflight.is_full() {
                    let entries = self.log.copy_after(progress.next.prev(), bytes_max);
                    let last = LogIndex(progress.next.prev().0 + entries.len() as u64);
                    inflight.add(last, entries.iter().map(Entry::cost).sum());
                    self.append(to, progress, entries);
                    progress.next = last.next();
                    return true;
                }
                if self.log.commit().min(progress.next.prev()) > progress.commit_sent {
                    self.append(to, progress, Vec::new());
                }
                false
            }
            ProgressState::Snapshot { .. } => false,
        }
    }

    /// Nothing when the entry before was dropped a moment ago: a snapshot is due then.
    fn append(&mut self, to: MemberId, progress: &mut Progress, entries: Vec<Entry>) {
        let prev = progress.next.prev();
        let Some(term) = self.log.term(prev) else {
            return;
        };
        let commit = self.log.commit();
        progress.commit_sent = commit.min(LogIndex(prev.0 + entries.len() as u64));
        progress.appended_at = Some(self.now);
        let body = MessageBody::Append {
            prev: LogId { term, index: prev },
            entries,
            commit,
        };
        self.outbox.send(to, self.term, body);
    }
}
