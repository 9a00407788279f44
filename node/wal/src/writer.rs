//! The thread that owns the files.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raftery_fs::Fs;
use raftery_raft::{PersistBatch, PersistSeq};

use crate::{Wal, WalError};

/// Quiet after a sync before the last batch is sealed. Half of the 10 ms that are promised; the
/// seal's own sync needs the rest.
const SEAL_AFTER: Duration = Duration::from_millis(5);

/// Bytes of entries that one sync covers at most, so that the first of a burst isn't held up by
/// all of it.
const SYNC_BYTES_MAX: usize = 8 << 20;

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
    /// The log is of no more use and the process must end. The last event.
    Failed(WalError),
}

/// A thread that takes what has queued, writes it, syncs once and acknowledges the highest
/// sequence; that seals after 5 ms of quiet, and prepares the next segment meanwhile.
#[derive(Debug)]
pub struct WalWriter {
    /// `None` once it is shut down.
    queue: Option<Sender<PersistBatch>>,
    thread: Option<JoinHandle<()>>,
}

impl WalWriter {
    /// Starts the thread. `on_event` runs on it, so it must not block, and must not drop the
    /// writer.
    ///
    /// # Panics
    /// If the system refuses a thread.
    pub fn spawn<F>(wal: Wal<F>, on_event: impl FnMut(WalEvent) + Send + 'static) -> Self
    where
        F: Fs + Send + 'static,
        F::File: Send,
    {
        let (queue, batches) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("wal".to_owned())
            .spawn(move || run(wal, &batches, on_event))
            .expect("the system refuses a thread: nothing can run");
        Self {
            queue: Some(queue),
            thread: Some(thread),
        }
    }

    /// Queues a batch. Never blocks: the queue is bounded by what Raft lets be in flight. After
    /// [`WalEvent::Failed`] the batch is dropped; it is never acknowledged.
    pub fn append(&self, batch: PersistBatch) {
        if let Some(queue) = &self.queue {
            // An error means that the thread has failed or panicked, and has said so.
            let _ = queue.send(batch);
        }
    }

    /// Writes and seals what has queued, and ends the thread. Dropping does the same.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for WalWriter {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and told as `Failed`.
            let _ = thread.join();
        }
    }
}

fn run<F: Fs>(mut wal: Wal<F>, queue: &Receiver<PersistBatch>, on_event: impl FnMut(WalEvent)) {
    let mut listener = Listener(on_event);
    if let Err(error) = write_until_closed(&mut wal, queue, &mut listener.0) {
        tracing::error!(%error, "the write-ahead log failed");
        (listener.0)(WalEvent::Failed(error));
    }
}

/// Hears of a panic too: a node whose log is gone must not look alive.
struct Listener<E: FnMut(WalEvent)>(E);

impl<E: FnMut(WalEvent)> Drop for Listener<E> {
    fn drop(&mut self) {
        if thread::panicking() {
            (self.0)(WalEvent::Failed(WalError::Failed));
        }
    }
}

fn write_until_closed<F: Fs>(
    wal: &mut Wal<F>,
    queue: &Receiver<PersistBatch>,
    on_event: &mut impl FnMut(WalEvent),
) -> Result<(), WalError> {
    let mut seal_at = None;
    loop {
        match next(queue, wait_max(seal_at, wal.wants_preparation())) {
            Ok(first) => {
                write_burst(wal, queue, &first, on_event)?;
                seal_at = wal.needs_seal().then(|| Instant::now() + SEAL_AFTER);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return wal.seal(),
        }
        if seal_at.is_some_and(|at| at <= Instant::now()) {
            wal.seal()?;
            seal_at = None;
        }
        // After every burst as well as in quiet times: a busy node needs it sooner.
        wal.prepare()?;
    }
}

/// How long nothing else is to be done; `None`: for ever.
fn wait_max(seal_at: Option<Instant>, wants_preparation: bool) -> Option<Duration> {
    if wants_preparation {
        return Some(Duration::ZERO);
    }
    seal_at.map(|at| at.saturating_duration_since(Instant::now()))
}

fn next(
    queue: &Receiver<PersistBatch>,
    wait_max: Option<Duration>,
) -> Result<PersistBatch, RecvTimeoutError> {
    match wait_max {
        Some(wait_max) => queue.recv_timeout(wait_max),
        None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

/// Writes `first` and what has queued behind it, and syncs once.
fn write_burst<F: Fs>(
    wal: &mut Wal<F>,
    queue: &Receiver<PersistBatch>,
    first: &PersistBatch,
    on_event: &mut impl FnMut(WalEvent),
) -> Result<(), WalError> {
    wal.append(first)?;
    let mut batches = 1;
    let mut bytes = bytes_of(first);
    while bytes < SYNC_BYTES_MAX {
        let Ok(batch) = queue.try_recv() else { break };
        wal.append(&batch)?;
        batches += 1;
        bytes += bytes_of(&batch);
    }
    let begun = Instant::now();
    let durable = wal.sync()?;
    let sync_time = begun.elapsed();
    if let Some(seq) = durable {
        on_event(WalEvent::Durable {
            seq,
            sync_time,
            batches,
        });
    }
    Ok(())
}

fn bytes_of(batch: &PersistBatch) -> usize {
    batch.entries.iter().map(|entry| entry.payload.len()).sum()
}
