//! Whether this member's own disk still keeps up. A leader's needn't: its followers' syncs commit
//! what it sends. But a disk that hangs holds up everything else in the process before long, and
//! etcd's leader stays with it for ever (etcd #13527).

use std::collections::VecDeque;
use std::time::Duration;

use raftery_raft::{Instant, LogIndex, PersistBatch, PersistSeq};

/// A write that takes so long is a reason to stop leading, even if the election timeout is shorter.
const STUCK_MIN: Duration = Duration::from_millis(500);
/// How often that doubles at most.
const DOUBLINGS_MAX: u32 = 6;
/// After so long without resigning it falls back.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// What was handed to this member's disk and isn't durable yet.
#[derive(Debug, Default)]
pub(super) struct OwnDisk {
    /// In order. Batches without entries aren't counted: nobody else could have them.
    under_way: VecDeque<UnderWay>,
    doublings: u32,
    resigned_at: Option<Instant>,
}

#[derive(Debug)]
struct UnderWay {
    seq: PersistSeq,
    last: LogIndex,
    since: Instant,
}

impl OwnDisk {
    /// A batch goes to the disk.
    pub(super) fn on_write(&mut self, now: Instant, batch: &PersistBatch) {
        if let Some(last) = batch.entries.last() {
            self.under_way.push_back(UnderWay {
                seq: batch.seq,
                last: last.id.index,
                since: now,
            });
        }
    }

    /// All up to this batch is durable.
    pub(super) fn on_durable(&mut self, seq: PersistSeq) {
        while self.under_way.front().is_some_and(|write| write.seq <= seq) {
            self.under_way.pop_front();
        }
    }

    /// How long the oldest write has been under way.
    #[must_use]
    pub(super) fn oldest(&self, now: Instant) -> Duration {
        let oldest = self.under_way.front();
        oldest.map_or(Duration::ZERO, |write| now.since(write.since))
    }

    /// Whether a leader had better resign: its disk has kept a write for long, and all of that write
    /// is committed, so a majority without it has been faster. If every disk hangs, nothing is
    /// committed, and another leader would be no better.
    #[must_use]
    pub(super) fn is_outrun(
        &self,
        now: Instant,
        commit: LogIndex,
        election_timeout: Duration,
    ) -> bool {
        let bound = election_timeout.max(STUCK_MIN) * (1 << self.doublings);
        let oldest = self.under_way.front();
        oldest.is_some_and(|write| write.last <= commit && now.since(write.since) > bound)
    }

    /// It has: next time it takes longer.
    pub(super) fn on_resigned(&mut self, now: Instant) {
        let is_again = self
            .resigned_at
            .is_some_and(|at| now.since(at) < FORGOTTEN_AFTER);
        self.doublings = if is_again {
            DOUBLINGS_MAX.min(self.doublings + 1)
        } else {
            1
        };
        self.resigned_at = Some(now);
    }

    /// What a resignation changed is forgotten after a while.
    pub(super) fn forget(&mut self, now: Instant) {
        if self
            .resigned_at
            .is_some_and(|at| now.since(at) >= FORGOTTEN_AFTER)
        {
            self.resigned_at = None;
            self.doublings = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raftery_raft::{Entry, HardState, LogId, Payload, Term};

    use super::*;

    const ELECTION: Duration = Duration::from_millis(150);

    fn at(millis: u64) -> Instant {
        Instant(Duration::from_millis(millis))
    }

    fn batch(seq: u64, last: Option<u64>) -> PersistBatch {
        let entry = |index| Entry {
            id: LogId {
                term: Term(1),
                index: LogIndex(index),
            },
            payload: Payload::Data(Bytes::new()),
        };
        PersistBatch {
            seq: PersistSeq(seq),
            hard_state: HardState::default(),
            base: None,
            entries: last.map(entry).into_iter().collect(),
        }
    }

    #[test]
    fn a_write_that_others_have_finished_long_ago_is_a_reason_to_resign() {
        let mut disk = OwnDisk::default();
        disk.on_write(at(0), &batch(1, None));
        disk.on_write(at(100), &batch(2, Some(7)));
        let commit = LogIndex(7);
        assert!(!disk.is_outrun(at(600), commit, ELECTION));
        assert!(disk.is_outrun(at(601), commit, ELECTION));
        assert!(
            !disk.is_outrun(at(9_000), LogIndex(6), ELECTION),
            "nobody else has it: all disks hang"
        );
        assert!(!disk.is_outrun(at(601), commit, Duration::from_secs(1)));
        disk.on_durable(PersistSeq(2));
        assert!(!disk.is_outrun(at(9_000), commit, ELECTION));
    }

    #[test]
    fn each_resignation_doubles_the_patience_for_ten_minutes() {
        let mut disk = OwnDisk::default();
        disk.on_resigned(at(0));
        disk.on_write(at(0), &batch(1, Some(7)));
        assert!(!disk.is_outrun(at(1_000), LogIndex(7), ELECTION));
        assert!(disk.is_outrun(at(1_001), LogIndex(7), ELECTION));
        disk.on_resigned(at(1_000));
        assert!(!disk.is_outrun(at(2_000), LogIndex(7), ELECTION));
        assert!(disk.is_outrun(at(2_001), LogIndex(7), ELECTION));
        for again in 2..20 {
            disk.on_resigned(at(again * 1_000));
        }
        assert!(!disk.is_outrun(at(32_000), LogIndex(7), ELECTION));
        assert!(disk.is_outrun(at(32_001), LogIndex(7), ELECTION));
        disk.forget(at(618_999));
        assert!(!disk.is_outrun(at(32_000), LogIndex(7), ELECTION));
        disk.forget(at(619_000));
        assert!(disk.is_outrun(at(501), LogIndex(7), ELECTION));
    }
}
