//! How much of the log stays behind what the store has durable: members that lag a little are
//! given entries, which is cheaper than a snapshot.

use std::collections::VecDeque;

use raftery_raft::{Entry, LogIndex, PersistBatch};

/// Bytes of entries that stay in memory and in the WAL for members that lag.
const CATCH_UP_BYTES: usize = 8 << 20;
/// Entries are counted with this much besides their payload.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// What the log holds, counted batch by batch.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// Last index and bytes of each batch, in order.
    batches: VecDeque<(LogIndex, usize)>,
    bytes: usize,
}

impl CatchUp {
    /// A batch goes to the log. Entries that it overwrites are counted until they are cut, too.
    pub(super) fn written(&mut self, batch: &PersistBatch) {
        if let Some(last) = batch.entries.last() {
            let cost = |entry: &Entry| ENTRY_OVERHEAD_BYTES + entry.payload.len();
            let bytes = batch.entries.iter().map(cost).sum();
            self.batches.push_back((last.id.index, bytes));
            self.bytes += bytes;
        }
    }

    /// Up to where the log may be cut, when all up to `durable` is in the store; 0: not at all.
    pub(super) fn cut(&mut self, durable: LogIndex) -> LogIndex {
        let mut up_to = LogIndex(0);
        while self.bytes > CATCH_UP_BYTES
            && let Some((last, bytes)) = self.batches.front().copied()
            && last <= durable
        {
            self.batches.pop_front();
            self.bytes -= bytes;
            up_to = up_to.max(last);
        }
        up_to
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raftery_raft::{HardState, LogId, Payload, PersistSeq, Term};

    use super::*;

    fn batch(index: u64, bytes: usize) -> PersistBatch {
        PersistBatch {
            seq: PersistSeq(index),
            hard_state: HardState::default(),
            base: None,
            entries: vec![Entry {
                id: LogId {
                    term: Term(1),
                    index: LogIndex(index),
                },
                payload: Payload::Data(Bytes::from(vec![0; bytes])),
            }],
        }
    }

    #[test]
    fn the_newest_entries_and_those_that_are_not_durable_stay() {
        let mut catch_up = CatchUp::default();
        for index in 1..=4 {
            catch_up.written(&batch(index, CATCH_UP_BYTES / 2));
        }
        assert_eq!(catch_up.cut(LogIndex(1)), LogIndex(1), "2 isn't durable");
        assert_eq!(catch_up.cut(LogIndex(4)), LogIndex(3), "4 may be needed");
        assert_eq!(
            catch_up.cut(LogIndex(4)),
            LogIndex(0),
            "nothing more to cut"
        );
    }
}
