//! What a disk must have, as far as it has acknowledged, and what it may have.

use std::collections::VecDeque;

use raftery_raft::{HardState, LogId, LogIndex, PersistBatch, PersistSeq};

/// Hard state and log after some batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Contents {
    pub(crate) hard_state: HardState,
    /// From index 1 on.
    pub(crate) log: Vec<LogId>,
}

impl Contents {
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let place = usize::try_from(id.index.0).expect("a short log");
        match place.checked_sub(1) {
            None => id == LogId::default(),
            Some(place) => self.log.get(place) == Some(&id),
        }
    }

    fn write(&mut self, batch: &Batch) {
        self.hard_state = batch.hard_state;
        if let Some(first) = batch.entries.first() {
            let keep = usize::try_from(first.index.prev().0).expect("a short log");
            self.log.truncate(keep);
            self.log.extend_from_slice(&batch.entries);
        }
    }
}

#[derive(Debug)]
struct Batch {
    seq: PersistSeq,
    hard_state: HardState,
    entries: Vec<LogId>,
}

/// Kept beside a disk: what is acknowledged, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    pub(crate) durable: Contents,
    on_the_way: VecDeque<Batch>,
}

impl Shadow {
    pub(crate) fn queue(&mut self, batch: &PersistBatch) {
        self.on_the_way.push_back(Batch {
            seq: batch.seq,
            hard_state: batch.hard_state,
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
    /// next batches, whole and in order.
    pub(crate) fn recover(&mut self, found: Contents) -> Result<(), String> {
        let acknowledged = self.durable.log.last().copied().unwrap_or_default();
        let hard_state = self.durable.hard_state;
        while self.durable != found {
            let Some(batch) = self.on_the_way.pop_front() else {
                let (last, found_state) = (found.log.last().copied(), found.hard_state);
                self.durable = found;
                return Err(format!(
                    "the disk acknowledged {acknowledged} with {hard_state:?}, found are {} with \
                     {found_state:?}",
                    last.unwrap_or_default()
                ));
            };
            self.durable.write(&batch);
        }
        self.on_the_way.clear();
        Ok(())
    }

    pub(crate) fn last(&self) -> LogIndex {
        self.durable.log.last().map_or(LogIndex(0), |id| id.index)
    }
}
