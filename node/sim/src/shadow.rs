//! What a disk must have, as far as it has acknowledged, and what it may have.

use std::collections::VecDeque;

use raftery_raft::{HardState, LogId, LogIndex, PersistBatch, PersistSeq};

/// Hard state and log after some batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Contents {
    pub(crate) hard_state: HardState,
    /// What the log begins behind.
    pub(crate) base: LogId,
    pub(crate) log: Vec<LogId>,
}

impl Contents {
    pub(crate) fn id_at(&self, index: LogIndex) -> Option<LogId> {
        let place = usize::try_from(index.0.checked_sub(self.base.index.0)?).ok()?;
        match place.checked_sub(1) {
            None => Some(self.base),
            Some(place) => self.log.get(place).copied(),
        }
    }

    pub(crate) fn holds(&self, id: LogId) -> bool {
        self.id_at(id.index) == Some(id)
    }

    pub(crate) fn last(&self) -> LogId {
        self.log.last().copied().unwrap_or(self.base)
    }

    fn write(&mut self, batch: &Batch) {
        self.hard_state = batch.hard_state;
        if let Some(base) = batch.base {
            self.base = base;
            self.log.clear();
        }
        if let Some(first) = batch.entries.first() {
            let keep = first.index.0.saturating_sub(self.base.index.0 + 1);
            self.log
                .truncate(usize::try_from(keep).expect("a short log"));
            self.log.extend_from_slice(&batch.entries);
        }
    }

    /// Whether `found` is this, cut at most behind `cut_to`.
    fn is_as(&self, found: &Self, cut_to: LogIndex) -> bool {
        let (from, to) = (found.base.index, self.last().index);
        let is_cut_rightly = self.base.index <= from && from <= cut_to.max(self.base.index);
        self.hard_state == found.hard_state
            && is_cut_rightly
            && self.last() == found.last()
            && (from.0..=to.0).all(|at| self.id_at(LogIndex(at)) == found.id_at(LogIndex(at)))
    }
}

/// Raft's begin with 1.
pub(crate) const REBASE: PersistSeq = PersistSeq(0);

#[derive(Debug)]
struct Batch {
    seq: PersistSeq,
    hard_state: HardState,
    base: Option<LogId>,
    entries: Vec<LogId>,
}

/// Kept beside a disk: what is acknowledged, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    pub(crate) durable: Contents,
    on_the_way: VecDeque<Batch>,
    /// Up to here the log may have been cut.
    pub(crate) cut_to: LogIndex,
    /// Up to here the state machine called itself durable.
    pub(crate) applied: LogId,
}

impl Shadow {
    pub(crate) fn queue(&mut self, batch: &PersistBatch) {
        self.on_the_way.push_back(Batch {
            seq: batch.seq,
            hard_state: batch.hard_state,
            base: batch.base,
            entries: batch.entries.iter().map(|entry| entry.id).collect(),
        });
    }

    /// The disk says that everything up to `seq` is durable.
    pub(crate) fn acknowledge(&mut self, seq: PersistSeq) {
        while let Some(batch) = self.on_the_way.front()
            && batch.seq <= seq
        {
            self.durable.write(batch);
            self.on_the_way.pop_front();
        }
    }

    /// A crash and a recovery of `found`: whether that is what was acknowledged, or that and the
    /// next batches, whole and in order. What is known of the part that was cut stays known: the
    /// next cut may uncover some of it again, when the log was shorter as the segment behind began.
    pub(crate) fn recover(&mut self, found: Contents) -> Result<(), String> {
        let (acknowledged, hard_state) = (self.durable.last(), self.durable.hard_state);
        while !self.durable.is_as(&found, self.cut_to) {
            let Some(batch) = self.on_the_way.pop_front() else {
                let (base, last, state) = (found.base, found.last(), found.hard_state);
                self.durable = found;
                return Err(format!(
                    "the disk acknowledged {acknowledged} with {hard_state:?}, found are \
                     {base}..{last} with {state:?}"
                ));
            };
            self.durable.write(&batch);
        }
        self.on_the_way.clear();
        Ok(())
    }

    /// A repair of what was rotten kept `found`, and wants to reach `until`: whether it forgets
    /// nothing that was promised.
    pub(crate) fn repair(&mut self, found: Contents, until: Option<LogId>) -> Result<(), String> {
        let before = std::mem::replace(&mut self.durable, found);
        let found = &self.durable;
        self.on_the_way.clear();
        let (had, has) = (before.hard_state, found.hard_state);
        let knows_vote = has.term > had.term
            || (has.term == had.term && (had.vote.is_none() || has.vote == had.vote));
        if !knows_vote {
            return Err(format!("the repair forgot {had:?}: {has:?}"));
        }
        let reaches = found.last().max(until.unwrap_or_default());
        if reaches < before.last() {
            let last = before.last();
            return Err(format!(
                "the repair wants to reach {reaches}, promised was {last}"
            ));
        }
        Ok(())
    }

    /// At a start: the state machine holds more than the log, which is to begin behind it. Done
    /// once `REBASE` is acknowledged.
    pub(crate) fn rebase(&mut self, base: LogId, hard_state: HardState) {
        self.on_the_way.push_back(Batch {
            seq: REBASE,
            hard_state,
            base: Some(base),
            entries: Vec::new(),
        });
    }

    pub(crate) fn last(&self) -> LogIndex {
        self.durable.last().index
    }
}
