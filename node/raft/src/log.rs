//! The log, kept whole in memory: what is committed, what is durable, what is handed out.

use std::collections::VecDeque;

use raftery_defects::{Defect, are_assertions_off, is_on};

use crate::{ConfChange, Entry, LogId, LogIndex, Payload, PersistSeq, Term};

/// The log of one member.
///
/// ```text
///   1 ───────── durable ──────── handed ───────── last      to the disk
///   1 ── applied ── given ── commit ───────────── last      to the state machine
/// ```
///
/// Invariants:
/// - entries are contiguous from index 1, terms never fall
/// - `durable <= handed <= last`, and `handed = durable + stamps.len()`
/// - stamps never fall
/// - `applied <= given <= commit <= last`
///
/// `commit` and `durable` are not ordered: entries may be committed by others' disks.
#[derive(Debug)]
pub(crate) struct Log {
    entries: Vec<Entry>,
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
    /// A log recovered from disk, durable as a whole.
    pub(crate) fn new(entries: Vec<Entry>, commit: LogIndex) -> Self {
        let last = LogIndex(entries.len() as u64);
        assert!(
            commit <= last,
            "recovered commit {commit} beyond the log's end {last}"
        );
        for (i, pair) in entries.windows(2).enumerate() {
            assert!(
                pair[1].id.index == pair[0].id.index.next() && pair[0].id.term <= pair[1].id.term,
                "recovered entry {} doesn't follow its predecessor",
                i + 2
            );
        }
        assert!(
            entries.first().is_none_or(|e| e.id.index == LogIndex(1)),
            "recovered log doesn't begin at 1"
        );
        Self {
            entries,
            commit,
            applied: LogIndex(0),
            given: LogIndex(0),
            given_bytes: 0,
            durable: last,
            stamps: VecDeque::new(),
        }
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        LogIndex(self.entries.len() as u64)
    }

    pub(crate) fn last_id(&self) -> LogId {
        self.entries.last().map_or_else(LogId::default, |e| e.id)
    }

    pub(crate) fn commit(&self) -> LogIndex {
        self.commit
    }

    pub(crate) fn applied(&self) -> LogIndex {
        self.applied
    }

    pub(crate) fn durable(&self) -> LogIndex {
        self.durable
    }

    pub(crate) fn handed(&self) -> LogIndex {
        LogIndex(self.durable.0 + self.stamps.len() as u64)
    }

    /// The term of the entry at `index`: 0 at index 0, `None` beyond the end.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        match index.0.checked_sub(1) {
            None => Some(Term(0)),
            Some(i) => self
                .entries
                .get(usize::try_from(i).ok()?)
                .map(|e| e.id.term),
        }
    }

    /// Whether the log holds the entry `id`.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        self.term(id.index) == Some(id.term)
    }

    /// Entries after `after` up to and with `to`.
    pub(crate) fn range(&self, after: LogIndex, to: LogIndex) -> &[Entry] {
        &self.entries[position(after)..position(to)]
    }

    /// A copy of the entries after `after`, as many as fit into `bytes_max`, at least one if
    /// there is one.
    pub(crate) fn copy_after(&self, after: LogIndex, bytes_max: usize) -> Vec<Entry> {
        let rest = self.range(after, self.last_index());
        rest[..fitting(rest, bytes_max)].to_vec()
    }

    /// The last entry at or before `index` whose term is at most `term`; the one before the
    /// first counts. Fast back-up: what another log with an entry of `term` at `index` may share
    /// with this one ends here at the latest.
    pub(crate) fn last_at_most(&self, index: LogIndex, term: Term) -> LogId {
        let head = &self.entries[..position(index.min(self.last_index()))];
        let count = head.partition_point(|e| e.id.term <= term);
        count
            .checked_sub(1)
            .map_or_else(LogId::default, |i| head[i].id)
    }

    /// Index of the first of `entries` that the log holds otherwise or not at all.
    pub(crate) fn first_new(&self, entries: &[Entry]) -> Option<LogIndex> {
        entries
            .iter()
            .find(|e| !self.holds(e.id))
            .map(|e| e.id.index)
    }

    /// Whether an entry beyond the commit index changes the membership.
    pub(crate) fn first_uncommitted_conf_change(&self) -> Option<LogIndex> {
        self.range(self.commit, self.last_index())
            .iter()
            .find(|e| matches!(e.payload, Payload::ConfChange(_)))
            .map(|e| e.id.index)
    }

    /// Appends an own entry; the leader does this.
    pub(crate) fn append(&mut self, term: Term, payload: Payload) -> LogId {
        let id = LogId {
            term,
            index: self.last_index().next(),
        };
        self.entries.push(Entry { id, payload });
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
        self.entries.truncate(position(keep));
        self.durable = self.durable.min(keep);
        self.stamps
            .truncate(position(keep) - position(self.durable));
    }

    /// Entries for the batch `seq`: the next ones that the disk hasn't got, up to `bytes_max`.
    pub(crate) fn hand_out(&mut self, seq: PersistSeq, bytes_max: usize) -> Vec<Entry> {
        let entries = self.copy_after(self.handed(), bytes_max);
        let seq = if is_on(Defect::StampOfOlderBatch) {
            PersistSeq(seq.0 - 1)
        } else {
            seq
        };
        self.stamps.extend(entries.iter().map(|_| seq));
        entries
    }

    /// Everything written by batches up to `seq` is durable.
    pub(crate) fn on_persisted(&mut self, seq: PersistSeq) {
        while self.stamps.front().is_some_and(|stamp| *stamp <= seq) {
            self.stamps.pop_front();
            self.durable = self.durable.next();
        }
    }

    /// Moves the commit index; gives what became committed.
    pub(crate) fn commit_to(&mut self, commit: LogIndex) -> &[Entry] {
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
        let rest = self.range(self.given, to);
        let entries = rest[..fitting(rest, room)].to_vec();
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
        let bytes: usize = self
            .range(self.applied, index)
            .iter()
            .map(Entry::cost)
            .sum();
        self.given_bytes -= bytes;
        self.applied = index;
    }

    /// Looks at the log's end only, so that it can follow every input.
    pub(crate) fn check_invariants(&self) {
        const TAIL: usize = 16;
        let first = self.entries.len().saturating_sub(TAIL);
        for (i, entry) in self.entries.iter().enumerate().skip(first) {
            assert_eq!(position(entry.id.index), i + 1, "gap in the log");
            assert!(
                i == 0 || self.entries[i - 1].id.term <= entry.id.term,
                "a term fell"
            );
            let founds = matches!(entry.payload, Payload::ConfChange(ConfChange::Found { .. }));
            assert!(i == 0 || !founds, "founded twice");
        }
        assert!(self.durable <= self.handed() && self.handed() <= self.last_index());
        assert!(self.stamps.iter().is_sorted(), "stamps fell");
        assert!(self.applied <= self.given && self.given <= self.commit);
        assert!(self.commit <= self.last_index(), "committed beyond the end");
    }
}

/// How many entries lie up to and with `index`.
fn position(index: LogIndex) -> usize {
    usize::try_from(index.0).expect("an index within the log fits the memory")
}

/// How many of `entries` fit into `bytes_max`; at least one if there is one.
fn fitting(entries: &[Entry], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fitting = entries
        .iter()
        .take_while(|entry| {
            bytes += entry.cost();
            bytes <= bytes_max
        })
        .count();
    fitting.max(1).min(entries.len())
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
