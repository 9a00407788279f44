use raftery_behaviour::{Rules, Window};
use raftery_ledger::{LedgerBatch, LedgerRow};
use raftery_raft::MemberId;

use super::*;
use crate::command::Waiter;

/// A state and its directory.
struct Kept {
    dir: tempfile::TempDir,
    state: State,
}

impl Kept {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        Self { dir, state }
    }

    /// Applies a batch for each of these windows; the entry of window `n` has index `n + 1`.
    fn judge(&mut self, windows: std::ops::Range<u64>) {
        for window in windows {
            let batch = LedgerBatch {
                rules: Rules::HIGHEST,
                term: 1,
                window: Window(window),
                at_unix_ms: 1_000 * window,
                window_ms: 1_000,
                scoring: None,
                verdicts: Vec::new(),
                intervals: Vec::new(),
            };
            let waiter = Waiter {
                origin: MemberId(1),
                request: 0,
            };
            let data = command::encode(waiter, &Command::Ledger(batch)).unwrap();
            let entry = Entry {
                id: LogId {
                    term: Term(1),
                    index: LogIndex(window + 1),
                },
                payload: Payload::Data(data),
            };
            self.state.apply(&entry).unwrap();
        }
    }

    async fn rows(&self) -> Vec<LedgerRow> {
        let rows = self.state.meta.ledger.rows(0, usize::MAX);
        self.state.locate(rows).read().await.unwrap().rows
    }

    async fn assert_has(&self, windows: u64) {
        let rows = self.rows().await;
        assert_eq!(rows.len() as u64, windows);
        for (row, window) in rows.iter().zip(0..) {
            assert_eq!(row.batch.window, Window(window));
        }
        for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
            assert_eq!(next.chain, row.chain.after(next.index, &next.batch));
        }
    }

    /// Ends it, with all that was applied durable, and opens it again.
    fn restart(self) -> Self {
        let Self { dir, mut state } = self;
        state.store.flush().unwrap();
        state.store.sync_point().run().map(drop).unwrap();
        drop(state);
        let state = State::open(dir.path()).unwrap();
        Self { dir, state }
    }

    fn checkpoint(&mut self) {
        let done = self.state.checkpoint().unwrap().run().unwrap();
        self.state.store.on_checkpointed(done);
    }
}

#[tokio::test]
async fn batches_that_left_memory_are_read_from_the_disk_after_restarts_and_checkpoints() {
    let mut kept = Kept::new();
    kept.judge(0..600);
    kept.assert_has(600).await;
    let mut kept = kept.restart();
    kept.assert_has(600).await;
    kept.checkpoint();
    kept.judge(600..1_000);
    let kept = kept.restart();
    kept.assert_has(1_000).await;
}

#[tokio::test]
async fn a_snapshot_brings_the_batches_on_disk_along() {
    let mut leader = Kept::new();
    leader.judge(0..600);
    let mut member = Kept::new();
    member.judge(0..300);
    let (_, snapshot) = leader.state.snapshot().unwrap();
    leader.judge(600..900);
    let mut receiver = member.state.store.receive_snapshot().unwrap();
    loop {
        let chunk = snapshot.read_chunk(receiver.received(), 1 << 20).unwrap();
        if chunk.bytes.is_empty() {
            break;
        }
        receiver.write(&chunk).unwrap();
    }
    let received = receiver.finish().unwrap();
    member.state.install(received).unwrap().remove().unwrap();
    member.assert_has(600).await;
    member.judge(600..900);
    assert_eq!(member.rows().await, leader.rows().await);
    member.restart().assert_has(900).await;
}

#[tokio::test]
async fn a_block_that_is_gone_is_told_by_its_number() {
    let mut kept = Kept::new();
    kept.judge(0..600);
    kept.state.store.drop_blobs_before(1);
    let rows = kept.state.meta.ledger.rows(0, 10);
    let error = kept.state.locate(rows).read().await.unwrap_err();
    assert_eq!(error.to_string(), "the store lacks block 0 of the ledger");
}
