//! How much of the log stays behind what the store has durable: members that lag a little are
//! given entries, which is cheaper than a snapshot.

use std::collections::VecDeque;

use raftery_raft::{Entry, LogIndex, PersistBatch};

/// Bytes of entries that stay in memory and in the WAL though nobody is known to lack them: a
/// follower may come to lead, and doesn't know what others have.
const SPARE_BYTES: usize = 4 << 20;
/// And at most this many for members that lack them: those that were away for a moment, or whose
/// disk was. Who lacks more gets a snapshot.
const LAGGING_BYTES_MAX: usize = 32 << 20;
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

    /// Up to where the log may be cut, when all up to `durable` is in the store, and every member
    /// is known to have all up to `matched`; 0: not at all.
    pub(super) fn cut(&mut self, durable: LogIndex, matched: LogIndex) -> LogIndex {
        let mut up_to = LogIndex(0);
        while self.bytes > SPARE_BYTES
            && let Some((last, bytes)) = self.batches.front().copied()
            && last <= durable
            && (last <= matched || self.bytes > LAGGING_BYTES_MAX)
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

    fn quarters(bytes: usize) -> CatchUp {
        let mut catch_up = CatchUp::default();
        for index in 1..=8 {
            catch_up.written(&batch(index, bytes / 4));
        }
        catch_up
    }

    #[test]
    fn the_newest_entries_and_those_that_are_not_durable_stay() {
        let mut catch_up = quarters(SPARE_BYTES);
        let all = LogIndex(8);
        assert_eq!(catch_up.cut(LogIndex(1), all), LogIndex(1));
        assert_eq!(catch_up.cut(all, all), LogIndex(5), "6 may be needed");
        assert_eq!(catch_up.cut(all, all), LogIndex(0), "nothing more to cut");
    }

    #[test]
    fn what_a_member_lacks_stays_up_to_a_bound() {
        let (all, matched) = (LogIndex(8), LogIndex(2));
        let mut catch_up = quarters(SPARE_BYTES);
        assert_eq!(catch_up.cut(all, matched), matched);
        let mut catch_up = quarters(LAGGING_BYTES_MAX);
        assert_eq!(catch_up.cut(all, matched), LogIndex(5));
    }
}
