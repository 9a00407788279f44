//! contract; being written
use std::time::Duration;
use raftery_raft::{PersistBatch, PersistSeq};
use crate::{Fs, Wal, WalError};
/// What the writer thread tells.
#[derive(Debug)]
pub enum WalEvent {
    /// Everything up to `seq` is durable.
    Durable {
        /// Highest batch.
        seq: PersistSeq,
        /// How long the sync took.
        sync_time: Duration,
        /// Batches that it covered.
        batches: usize,
    },
    /// The log is of no more use; the process must end. The last event.
    Failed(WalError),
}
/// The thread that owns the files: takes what has queued, writes, syncs once, acknowledges the highest sequence.
#[derive(Debug)]
pub struct WalWriter;
#[expect(unused_variables, clippy::unimplemented)]
impl WalWriter {
    /// Starts the thread. `on_event` runs on it and must not block.
    pub fn spawn<F>(wal: Wal<F>, on_event: impl FnMut(WalEvent) + Send + 'static) -> Self where F: Fs + Send + 'static, F::File: Send { unimplemented!() }
    /// Queues a batch; never blocks (what Raft has in flight bounds the queue). After `Failed` it is dropped.
    pub fn append(&self, batch: PersistBatch) { unimplemented!() }
    /// Writes what has queued, seals and ends the thread.
    pub fn shutdown(self) { unimplemented!() }
}
