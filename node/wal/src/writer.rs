//! The thread that owns the files.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raftery_fs::Fs;
use raftery_raft::{LogIndex, PersistBatch, PersistSeq};

use crate::{Housekeeping, Wal, WalError};

/// Quiet after a sync before the last batch is sealed. Half of the 10 ms that are promised; the
/// seal's own sync needs the rest.
const SEAL_AFTER: Duration = Duration::from_millis(5);

/// Bytes of entries that one sync covers at most, so that the first of a burst isn't held up by
/// all of it.
const SYNC_BYTES_MAX: usize = 8 << 20;

/// Pause before another attempt to get room for the next segment. A cut is tried at once.
const SPACE_RETRY_AFTER: Duration = Duration::from_secs(1);

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
    /// The disk has no room for the segment after the next. What is left of this one, and the
    /// reserve behind it if that isn't in use yet, still take batches; when they are full,
    /// the log fails. Told once, until space is regained.
    SpaceLow {
        /// What was refused.
        error: WalError,
    },
    /// There is room again, and a segment in reserve.
    SpaceRegained,
    /// The log is of no more use and the process must end. The last event.
    Failed(WalError),
}

/// A thread that takes what has queued, writes it, syncs once and acknowledges the highest
/// sequence; that seals after 5 ms of quiet, and releases and prepares segments meanwhile, in
/// steps of about a sync.
#[derive(Debug)]
pub struct WalWriter {
    /// `None` once it is shut down.
    queue: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Command {
    Append(PersistBatch),
    Cut(LogIndex),
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
        let (queue, commands) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("wal".to_owned())
            .spawn(move || run(wal, &commands, on_event))
            .expect("the system refuses a thread: nothing can run");
        Self {
            queue: Some(queue),
            thread: Some(thread),
        }
    }

    /// Queues a batch. Never blocks: the queue is bounded by what Raft lets be in flight. After
    /// [`WalEvent::Failed`] the batch is dropped; it is never acknowledged.
    pub fn append(&self, batch: PersistBatch) {
        self.send(Command::Append(batch));
    }

    /// Queues a cut: once the batches before it are durable, segments that hold nothing above
    /// `up_to` are released, without delaying a sync. `up_to` must be committed, and durable in
    /// the state machine. Not acknowledged: a crash may undo it.
    pub fn cut(&self, up_to: LogIndex) {
        self.send(Command::Cut(up_to));
    }

    fn send(&self, command: Command) {
        if let Some(queue) = &self.queue {
            // An error means that the thread has failed or panicked, and has said so.
            let _ = queue.send(command);
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

fn run<F: Fs>(wal: Wal<F>, queue: &Receiver<Command>, on_event: impl FnMut(WalEvent)) {
    let mut writer = Writer {
        wal,
        queue,
        listener: Listener(on_event),
        seal_at: None,
        retry_at: None,
    };
    if let Err(error) = writer.write_until_closed() {
        tracing::error!(%error, "the write-ahead log failed");
        writer.listener.tell(WalEvent::Failed(error));
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

impl<E: FnMut(WalEvent)> Listener<E> {
    fn tell(&mut self, event: WalEvent) {
        (self.0)(event);
    }
}

struct Writer<'a, F: Fs, E: FnMut(WalEvent)> {
    wal: Wal<F>,
    queue: &'a Receiver<Command>,
    listener: Listener<E>,
    /// When the last batch is to be sealed.
    seal_at: Option<Instant>,
    /// When to try again to get space; `None` while there is enough.
    retry_at: Option<Instant>,
}

impl<F: Fs, E: FnMut(WalEvent)> Writer<'_, F, E> {
    fn write_until_closed(&mut self) -> Result<(), WalError> {
        loop {
            match self.next() {
                Ok(first) => self.burst(first)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.wal.seal(),
            }
            if is_due(self.seal_at) {
                self.wal.seal()?;
                self.seal_at = None;
            }
            // After every burst as well as in quiet times: a busy node needs it sooner.
            self.housekeep()?;
        }
    }

    /// The next command, or `Timeout` when there is something else to do.
    fn next(&self) -> Result<Command, RecvTimeoutError> {
        let housekeep_at = if self.wal.wants_housekeeping() {
            Some(self.retry_at.unwrap_or_else(Instant::now))
        } else {
            None
        };
        match self.seal_at.into_iter().chain(housekeep_at).min() {
            Some(at) => {
                let wait_max = at.saturating_duration_since(Instant::now());
                self.queue.recv_timeout(wait_max)
            }
            None => self
                .queue
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Writes `first` and what has queued behind it, and syncs once.
    fn burst(&mut self, first: Command) -> Result<(), WalError> {
        let (mut batches, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Append(batch) => {
                    self.wal.stage(&batch)?;
                    batches += 1;
                    bytes += bytes_of(&batch);
                }
                Command::Cut(up_to) => {
                    self.wal.plan_cut(up_to);
                    // It may bring space.
                    self.retry_at = self.retry_at.map(|_| Instant::now());
                }
            }
            next = if bytes < SYNC_BYTES_MAX {
                self.queue.try_recv().ok()
            } else {
                None
            };
        }
        let begun = Instant::now();
        let durable = self.wal.sync()?;
        let sync_time = begun.elapsed();
        if let (1.., Some(seq)) = (batches, durable) {
            self.listener.tell(WalEvent::Durable {
                seq,
                sync_time,
                batches,
            });
        }
        if batches > 0 {
            self.seal_at = self.wal.needs_seal().then(|| Instant::now() + SEAL_AFTER);
        }
        Ok(())
    }

    fn housekeep(&mut self) -> Result<(), WalError> {
        if self.retry_at.is_some() && !is_due(self.retry_at) {
            return Ok(());
        }
        match self.wal.housekeep()? {
            Housekeeping::More => {}
            Housekeeping::Done => {
                if self.retry_at.take().is_some() {
                    tracing::info!("the disk has room for the write-ahead log again");
                    self.listener.tell(WalEvent::SpaceRegained);
                }
            }
            Housekeeping::OutOfSpace(error) => {
                let was_low = self.retry_at.is_some();
                self.retry_at = Some(Instant::now() + SPACE_RETRY_AFTER);
                if !was_low {
                    tracing::warn!(%error, "no room for the next segment of the write-ahead log");
                    self.listener.tell(WalEvent::SpaceLow { error });
                }
            }
        }
        Ok(())
    }
}

fn is_due(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at <= Instant::now())
}

fn bytes_of(batch: &PersistBatch) -> usize {
    batch.entries.iter().map(|entry| entry.payload.len()).sum()
}
