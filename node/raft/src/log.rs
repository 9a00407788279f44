//! The log's tail, kept in memory: what is committed, what is durable, what is handed out.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;

use raftery_defects::{Defect, are_assertions_off, is_on};

use crate::{ConfChange, Entry, LogId, LogIndex, Payload, PersistSeq, Term};

/// Entries for which there is always room.
const ROOM_MIN: usize = 1024;

/// The log of one member, behind `base`.
///
/// ```text
///   base ─────── durable ──────── handed ───────── last      to the disk
///   base ── applied ── given ── commit ─────────── last      to the state machine
/// ```
///
/// What stood up to `base` is committed and lives in the state machine only. The term of the base
/// is known, those below it no more.
///
/// A snapshot puts the base ahead of all that the log held. Until the disk has been told, the base
/// counts as an entry that isn't written: `durable` and `handed` then begin one before it, and the
/// first stamp is the base's.
///
/// Invariants:
/// - entries are contiguous from `base.index + 1`, terms never fall
/// - `base.index - 1 <= durable <= handed <= last`, and `handed = durable + stamps.len()`
/// - stamps never fall
/// - `base.index <= applied <= given <= commit <= last`
///
/// `commit` and `durable` are not ordered: entries may be committed by others' disks.
#[derive(Debug)]
pub(crate) struct Log {
    base: LogId,
    entries: VecDeque<Entry>,
    commit: LogIndex,
    applied: LogIndex,
    /// Handed to the state machine.
    given: LogIndex,
    /// Bytes of `applied..given`.
    given_bytes: usize,
    durable: LogIndex,
    /// For each entry after `durable` that was handed to the disk: the batch that last wrote it.
    ///
    /// An acknowledgement makes durable only the prefix with stamps up to its number. Without
    /// them (the ABA case): entry 5 of term 1 goes out in batch 1; a new leader replaces it, the
    /// new entry 5 goes out in batch 2; the acknowledgement of batch 1 arrives and would be
    /// taken for the new entry, which a crash can still lose.
    stamps: VecDeque<PersistSeq>,
}

impl Log {
    /// A log recovered from disk, durable as a whole; applied up to `applied`.
    pub(crate) fn new(
        base: LogId,
        entries: Vec<Entry>,
        commit: LogIndex,
        applied: LogIndex,
    ) -> Self {
        let mut before = base;
        for entry in &entries {
            assert!(
                entry.id.index == before.index.next() && before.term <= entry.id.term,
                "recovered entry {} doesn't follow {before}",
                entry.id
            );
            before = entry.id;
        }
        let last = before.index;
        assert!(
            base.index <= applied && applied <= last,
            "applied {applied} outside the recovered log, {}..={last}",
            base.index
        );
        assert!(
            applied <= commit && commit <= last,
            "recovered commit {commit} outside {applied}..={last}"
        );
        Self {
            base,
            entries: entries.into(),
            commit,
            applied,
            given: applied,
            given_bytes: 0,
            durable: last,
            stamps: VecDeque::new(),
        }
    }

    /// The entry before the first: what the log was cut behind.
    pub(crate) fn base(&self) -> LogId {
        self.base
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        LogIndex(self.base.index.0 + self.entries.len() as u64)
    }

    pub(crate) fn last_id(&self) -> LogId {
        self.entries.back().map_or(self.base, |e| e.id)
    }

    pub(crate) fn commit(&self) -> LogIndex {
        self.commit
    }

    /// The last committed entry.
    pub(crate) fn commit_id(&self) -> LogId {
        let term = self.term(self.commit);
        LogId {
            term: term.expect("the commit index lies in the log"),
            index: self.commit,
        }
    }

    pub(crate) fn applied(&self) -> LogIndex {
        self.applied
    }

    pub(crate) fn durable(&self) -> LogIndex {
        self.durable
    }

    /// Whether what is durable goes as far as `id`, in the order of votes (§3.6.1).
    pub(crate) fn is_durable(&self, id: LogId) -> bool {
        let term = self.term(self.durable);
        term.is_some_and(|term| {
            let index = self.durable;
            LogId { term, index } >= id
        })
    }

    pub(crate) fn handed(&self) -> LogIndex {
        LogIndex(self.durable.0 + self.stamps.len() as u64)
    }

    /// The term of the entry at `index`: `None` below the base and beyond the end.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        match index.0.checked_sub(self.base.index.0)? {
            0 => Some(self.base.term),
            nth => self
                .entries
                .get(usize::try_from(nth - 1).ok()?)
                .map(|e| e.id.term),
        }
    }

    /// Whether the log holds the entry `id`, or begins behind it.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        self.term(id.index) == Some(id.term)
    }

    /// Whether `id` is known to be the log's: it holds it, or was cut somewhere after it, which
    /// makes it a committed one. Only for what a leader says, which has all that is committed.
    pub(crate) fn holds_or_held(&self, id: LogId) -> bool {
        id.index < self.base.index || self.holds(id)
    }

    /// Entries after `after` up to and with `to`; `after` isn't below the base.
    pub(crate) fn range(&self, after: LogIndex, to: LogIndex) -> Iter<'_, Entry> {
        self.entries.range(self.position(after)..self.position(to))
    }

    /// A copy of the entries after `after`, as many as fit into `bytes_max`, at least one if
    /// there is one.
    pub(crate) fn copy_after(&self, after: LogIndex, bytes_max: usize) -> Vec<Entry> {
        fitting(self.range(after, self.last_index()), bytes_max)
    }

    /// The last entry at or before `index` whose term is at most `term`; the base and the one
    /// before the first count; `None` when it lies below the base. Fast back-up: what another log
    /// with an entry of `term` at `index` may share with this one ends here at the latest.
    pub(crate) fn last_at_most(&self, index: LogIndex, term: Term) -> Option<LogId> {
        let count = self
            .entries
            .partition_point(|e| e.id.index <= index && e.id.term <= term);
        let id = count
            .checked_sub(1)
            .map_or(self.base, |i| self.entries[i].id);
        (id.index <= index && id.term <= term).then_some(id)
    }

    /// Index of the first of `entries` that the log holds otherwise or not at all.
    pub(crate) fn first_new(&self, entries: &[Entry]) -> Option<LogIndex> {
        entries
            .iter()
            .find(|e| !self.holds_or_held(e.id))
            .map(|e| e.id.index)
    }

    /// Whether an entry beyond the commit index changes the membership.
    pub(crate) fn first_uncommitted_conf_change(&self) -> Option<LogIndex> {
        self.range(self.commit, self.last_index())
            .find(|e| matches!(e.payload, Payload::ConfChange(_)))
            .map(|e| e.id.index)
    }

    /// Appends an own entry; the leader does this.
    pub(crate) fn append(&mut self, term: Term, payload: Payload) -> LogId {
        let id = LogId {
            term,
            index: self.last_index().next(),
        };
        self.entries.push_back(Entry { id, payload });
        id
    }

    /// Takes over `entries` from a leader: what the log holds already stays, the first that
    /// differs replaces everything from there on. An append that came late, after longer ones,
    /// therefore cuts nothing.
    pub(crate) fn merge(&mut self, entries: Vec<Entry>) {
        let first = if is_on(Defect::CutOnOldAppend) {
            entries.first().map(|entry| entry.id.index)
        } else {
            self.first_new(&entries)
        };
        let Some(first) = first else {
            return;
        };
        assert!(
            first > self.commit || are_assertions_off(),
            "committed entry {first} overwritten"
        );
        self.cut_from(first);
        self.entries
            .extend(entries.into_iter().skip_while(|e| e.id.index < first));
    }

    fn cut_from(&mut self, first: LogIndex) {
        let keep = first.prev();
        self.entries.truncate(self.position(keep));
        self.durable = self.durable.min(keep);
        let stamps = usize::try_from(keep.0 - self.durable.0).expect("fewer than entries");
        self.stamps.truncate(stamps);
    }

    /// Drops the entries up to `up_to`, which are applied; those that aren't durable here stay.
    pub(crate) fn compact(&mut self, up_to: LogIndex) {
        assert!(
            up_to <= self.applied,
            "compacted to {up_to}, but only {} is applied",
            self.applied
        );
        let up_to = up_to.min(self.durable);
        if up_to <= self.base.index {
            return;
        }
        let count = self.position(up_to);
        self.base = self.entries[count - 1].id;
        self.entries.drain(..count);
        // Room for the longest log ever is not kept for ever.
        let room = 4 * self.entries.len().max(ROOM_MIN);
        if self.entries.capacity() > room {
            self.entries.shrink_to(room / 2);
        }
    }

    /// A snapshot at `base` takes the place of all that the log held.
    pub(crate) fn rebase(&mut self, base: LogId) {
        assert!(
            base.index > self.commit,
            "a snapshot at {base} takes back {}",
            self.commit
        );
        *self = Self {
            base,
            entries: VecDeque::new(),
            commit: base.index,
            applied: base.index,
            given: base.index,
            given_bytes: 0,
            durable: if is_on(Defect::ForgetBase) {
                base.index
            } else {
                base.index.prev()
            },
            stamps: VecDeque::new(),
        };
    }

    /// Whether there is something that the disk hasn't got.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.handed() < self.last_index()
    }

    /// For the batch `seq`: the base, if the disk must be told, and the next entries that it
    /// hasn't got, up to `bytes_max`.
    pub(crate) fn hand_out(
        &mut self,
        seq: PersistSeq,
        bytes_max: usize,
    ) -> (Option<LogId>, Vec<Entry>) {
        let base = (self.handed() < self.base.index).then_some(self.base);
        self.stamps.extend(base.map(|_| seq));
        let entries = self.copy_after(self.handed(), bytes_max);
        let seq = if is_on(Defect::StampOfOlderBatch) {
            PersistSeq(seq.0 - 1)
        } else {
            seq
        };
        self.stamps.extend(entries.iter().map(|_| seq));
        (base, entries)
    }

    /// Everything written by batches up to `seq` is durable.
    pub(crate) fn on_persisted(&mut self, seq: PersistSeq) {
        while self.stamps.front().is_some_and(|stamp| *stamp <= seq) {
            self.stamps.pop_front();
            self.durable = self.durable.next();
        }
    }

    /// Moves the commit index; gives what became committed.
    pub(crate) fn commit_to(&mut self, commit: LogIndex) -> Iter<'_, Entry> {
        assert!(
            self.commit <= commit && commit <= self.last_index(),
            "commit {commit} outside {}..={}",
            self.commit,
            self.last_index()
        );
        let from = std::mem::replace(&mut self.commit, commit);
        self.range(from, commit)
    }

    /// Committed entries that the state machine hasn't got, while `bytes_max` isn't reached.
    pub(crate) fn give_out(&mut self, bytes_max: usize) -> Vec<Entry> {
        let room = bytes_max.saturating_sub(self.given_bytes);
        let to = if is_on(Defect::ApplyUncommitted) {
            self.last_index()
        } else {
            self.commit
        };
        if room == 0 || self.given >= to {
            return Vec::new();
        }
        let entries = fitting(self.range(self.given, to), room);
        self.given_bytes += entries.iter().map(Entry::cost).sum::<usize>();
        self.given = LogIndex(self.given.0 + entries.len() as u64);
        entries
    }

    /// The state machine has applied up to `index`.
    pub(crate) fn on_applied(&mut self, index: LogIndex) {
        if index <= self.applied {
            return;
        }
        assert!(
            index <= self.given,
            "applied {index}, but only {} was handed out",
            self.given
        );
        let bytes: usize = self.range(self.applied, index).map(Entry::cost).sum();
        self.given_bytes -= bytes;
        self.applied = index;
    }

    /// Looks at the log's end only, so that it can follow every input.
    pub(crate) fn check_invariants(&self) {
        const TAIL: usize = 16;
        let skipped = self.entries.len().saturating_sub(TAIL);
        let mut before = match skipped.checked_sub(1) {
            Some(i) => self.entries[i].id,
            None => self.base,
        };
        for entry in self.entries.range(skipped..) {
            assert_eq!(entry.id.index, before.index.next(), "gap in the log");
            assert!(before.term <= entry.id.term, "a term fell");
            let founds = matches!(entry.payload, Payload::ConfChange(ConfChange::Found { .. }));
            assert!(!founds || before.index == LogIndex(0), "founded twice");
            before = entry.id;
        }
        assert!(self.base.index.prev() <= self.durable && self.durable <= self.handed());
        assert!(self.handed() <= self.last_index());
        assert!(self.stamps.iter().is_sorted(), "stamps fell");
        assert!(
            self.base.index <= self.applied,
            "dropped what isn't applied"
        );
        assert!(self.applied <= self.given && self.given <= self.commit);
        assert!(self.commit <= self.last_index(), "committed beyond the end");
    }

    /// How many entries lie up to and with `index`.
    fn position(&self, index: LogIndex) -> usize {
        let count = index.0.checked_sub(self.base.index.0);
        count
            .and_then(|count| usize::try_from(count).ok())
            .expect("an index in the log, not below its base")
    }
}

/// A copy of as many of `entries` as fit into `bytes_max`; at least one if there is one.
fn fitting(entries: Iter<'_, Entry>, bytes_max: usize) -> Vec<Entry> {
    let mut bytes = 0;
    let fitting = entries
        .clone()
        .take_while(|entry| {
            bytes += entry.cost();
            bytes <= bytes_max
        })
        .count();
    entries.take(fitting.max(1)).cloned().collect()
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
