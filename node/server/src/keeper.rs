//! The keeper: a thread that makes durable what was applied, and keeps the store's files in order.
//! Nobody waits for it.
//!
//! ```text
//! 4 times a second: sync ─> tell the driver, which cuts the Raft log behind it
//!                   then, for as long at most, and again after the next sync:
//!                   a segment was sealed: checkpoint (manifest)
//!                   something was compacted: free it, step by step
//!                   a segment is mostly dead: rewrite it, step by step
//! ```

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raftery_fs::RealFs;
use raftery_store::{Rewrite, RewriteNeeds};
use tokio::sync::mpsc::UnboundedSender;
use tracing::debug;

use crate::driver::Input;
use crate::state::{State, StateError, log_id};

/// What was applied is durable in the store after this time, or a little later. Until then it is
/// in the Raft log: longer means more to replay at a start, and more memory.
const PERIOD: Duration = Duration::from_millis(250);
const LOCK: &str = "no holder of the lock panics";

/// The thread; dropping it lets it end and waits for that.
#[derive(Debug)]
pub struct Keeper {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts it. What goes wrong is told to the driver, and ends the process.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn spawn(
        state: Arc<RwLock<State>>,
        driver: UnboundedSender<Input>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || {
                let mut wait = PERIOD;
                let mut rewrite = None;
                while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    wait = PERIOD;
                    match keep(&state, &driver, &mut rewrite) {
                        Ok(true) => {}
                        Ok(false) => wait = Duration::ZERO,
                        // What was begun comes to nothing, and is begun anew when there is room.
                        Err(error) if error.is_out_of_space() => {
                            debug!(%error, "keeping the store in order waits for room on the disk");
                            rewrite = None;
                        }
                        Err(error) => {
                            // A driver that is gone has told its end already.
                            let _ = driver.send(Input::StateFailed(error));
                            return;
                        }
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

/// Gives whether all is in order.
fn keep(
    state: &RwLock<State>,
    driver: &UnboundedSender<Input>,
    rewrite: &mut Option<Rewrite<RealFs>>,
) -> Result<bool, StateError> {
    let sync_point = {
        let mut state = state.write().expect(LOCK);
        // What waited for the sync before. Without room for it, what is written already is synced
        // all the same: the Raft log can be cut behind it, which makes room.
        match state.store.flush() {
            Err(error) if error.is_out_of_space() => {
                debug!(%error, "what is applied waits for room on the disk");
            }
            flushed => drop(flushed?),
        }
        (state.store.durable() < state.store.applied()).then(|| state.store.sync_point())
    };
    if let Some(sync_point) = sync_point {
        let synced = sync_point.run()?;
        let mut state = state.write().expect(LOCK);
        state.store.on_synced(synced);
        let durable = log_id(state.store.durable());
        let _ = driver.send(Input::StateDurable(durable));
    }
    let wants_checkpoint = state.read().expect(LOCK).store.wants_checkpoint();
    if wants_checkpoint {
        let checkpoint = state.write().expect(LOCK).checkpoint()?;
        let done = checkpoint.run()?;
        state.write().expect(LOCK).store.on_checkpointed(done);
    }
    tidy(state, rewrite)
}

/// Frees what a compaction left, and rewrites segments, in steps, until it is time to sync again. Gives
/// whether nothing is left to do.
fn tidy(state: &RwLock<State>, rewrite: &mut Option<Rewrite<RealFs>>) -> Result<bool, StateError> {
    let until = Instant::now() + PERIOD;
    // What is applied waits in memory from when a rewrite is about to sync until it has.
    let is_syncing =
        |rewrite: &Option<Rewrite<_>>| rewrite.as_ref().is_some_and(Rewrite::is_syncing);
    while Instant::now() < until || is_syncing(rewrite) {
        let Some(running) = rewrite else {
            let mut state = state.write().expect(LOCK);
            let since = Instant::now();
            if !state.store.sweep() {
                *rewrite = state.store.next_rewrite();
                if rewrite.is_none() {
                    return Ok(true);
                }
            }
            let held = since.elapsed();
            drop(state);
            give_way(held);
            continue;
        };
        let held = match running.step()? {
            None => {
                *rewrite = None;
                continue;
            }
            Some(RewriteNeeds::Judge) => {
                let state = state.read().expect(LOCK);
                let since = Instant::now();
                state.store.judge(running);
                since.elapsed()
            }
            Some(RewriteNeeds::Switch) => {
                let mut state = state.write().expect(LOCK);
                let since = Instant::now();
                state.store.switch(running)?;
                since.elapsed()
            }
        };
        if !running.is_syncing() {
            give_way(held);
        }
    }
    Ok(false)
}

/// Leaves the lock to others for twice as long as it was held. It isn't fair: without the pause it is
/// taken again before anyone who waits for it wakes up, and for seconds nothing is applied.
fn give_way(held: Duration) {
    thread::sleep(held * 2);
}
