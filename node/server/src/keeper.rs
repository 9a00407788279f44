//! The keeper: a thread that makes durable what was applied, and keeps the store's files in order.
//! Nobody waits for it.
//!
//! ```text
//! 4 times a second: sync ─> tell the driver, which cuts the Raft log behind it
//!                   a segment was sealed: checkpoint (manifest)
//!                   something was compacted: free it, step by step
//!                   a segment is mostly dead: rewrite it, step by step
//! ```

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raftery_store::RewriteNeeds;
use tokio::sync::mpsc::UnboundedSender;
use tracing::debug;

use crate::driver::Input;
use crate::state::{State, StateError, log_id};

/// What was applied is durable in the store after this time, or a little later. Until then it is
/// in the Raft log: longer means more to replay at a start, and more memory.
const PERIOD: Duration = Duration::from_millis(250);

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
                while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    match keep(&state, &driver) {
                        Ok(()) => {}
                        // What was begun comes to nothing, and is begun anew when there is room.
                        Err(error) if error.is_out_of_space() => {
                            debug!(%error, "keeping the store in order waits for room on the disk");
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

fn keep(state: &RwLock<State>, driver: &UnboundedSender<Input>) -> Result<(), StateError> {
    const LOCK: &str = "no holder of the lock panics";
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
    // What a compaction left: in steps, so that whoever applies gets his turn.
    while in_turn(|| state.write().expect(LOCK).store.sweep()) {}
    let rewrite = state.write().expect(LOCK).store.next_rewrite();
    if let Some(mut rewrite) = rewrite {
        while let Some(needs) = rewrite.step()? {
            in_turn(|| match needs {
                RewriteNeeds::Judge => {
                    state.read().expect(LOCK).store.judge(&mut rewrite);
                    Ok(())
                }
                RewriteNeeds::Switch => state.write().expect(LOCK).store.switch(&mut rewrite),
            })?;
        }
    }
    Ok(())
}

/// Does one of many steps that hold the lock, and then leaves it to others for as long as the step
/// took, twice over. The lock isn't fair: without the pause it is taken again before anyone who waits
/// for it wakes up, and for seconds nothing is applied.
fn in_turn<T>(step: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = step();
    thread::sleep(began.elapsed() * 2);
    done
}
