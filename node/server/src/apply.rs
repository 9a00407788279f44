//! The apply task: the only writer of the replicated state.

use std::collections::VecDeque;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use raftery_raft::{Entry, LogIndex};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::command::Outcome;
use crate::driver::Input;
use crate::error::RequestError;
use crate::members::Members;
use crate::meta::{Meta, Settings};
use crate::pulse::Pulse;
use crate::state::{State, StateError};
use crate::transport::Received;

/// Entries applied under one write lock; readers get their turn in between.
const ENTRIES_PER_LOCK: usize = 256;
/// Pause before the disk is asked for room again.
const SPACE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a waiter is told: where its entry stands and what applying it gave.
pub type Applied = Result<(LogIndex, Outcome), RequestError>;
/// How a waiter is told.
pub type Reply = oneshot::Sender<Applied>;

/// A committed entry with its waiter, if its client is here.
#[derive(Debug)]
pub struct Committed {
    /// The entry.
    pub entry: Entry,
    /// Who waits for it.
    pub reply: Option<Reply>,
}

/// What the apply task is given, in order.
#[derive(Debug)]
pub enum ToApply {
    /// Committed entries.
    Entries(Vec<Committed>),
    /// A received state in the place of the present one.
    Install(Box<Received>),
}

/// The apply task.
#[derive(Debug)]
pub struct Apply {
    /// Written by this task, and by the keeper where it tells the store what is durable.
    pub state: Arc<RwLock<State>>,
    /// Told how far it is.
    pub driver: mpsc::UnboundedSender<Input>,
    /// What requests look at.
    pub pulse: Arc<Pulse>,
    /// Told how far it is, for who only watches.
    pub applied: watch::Sender<LogIndex>,
}

impl Apply {
    /// Applies what is committed until the driver is gone, and what it left. Where the disk has no
    /// room, what is applied stays in memory as long as the store keeps it there, and then waits:
    /// nothing is skipped, and nothing is refused that is in the log.
    ///
    /// # Errors
    /// When an entry can't be understood, or the store can't be written; the process must end.
    pub async fn run(
        self,
        mut committed: mpsc::UnboundedReceiver<ToApply>,
    ) -> Result<(), StateError> {
        let mut told = Told::default();
        self.show(&self.state(), &mut told);
        loop {
            let next = if told.is_full {
                tokio::time::timeout(SPACE_RETRY_AFTER, committed.recv()).await
            } else {
                Ok(committed.recv().await)
            };
            match next {
                Ok(Some(ToApply::Entries(batch))) => self.entries(batch, &mut told).await?,
                Ok(Some(ToApply::Install(received))) => self.install(*received, &mut told)?,
                Ok(None) => return Ok(()),
                // Nothing came: is there room for what waits?
                Err(_) => drop(self.apply_chunk(&mut VecDeque::new(), &mut told)?),
            }
        }
    }

    async fn entries(&self, batch: Vec<Committed>, told: &mut Told) -> Result<(), StateError> {
        let mut waiting = VecDeque::from(batch);
        while !waiting.is_empty() {
            let before = waiting.len();
            let (applied, answers) = self.apply_chunk(&mut waiting, told)?;
            if waiting.len() == before {
                if self.driver.is_closed() {
                    // It is in the log, and applied after the next start.
                    return Ok(());
                }
                tokio::time::sleep(SPACE_RETRY_AFTER).await;
                continue;
            }
            // The driver first: whoever is answered now may read at once. It may be gone
            // (a leader that removed itself, say); what it left is applied all the same.
            let _ = self.driver.send(Input::Applied(applied));
            self.applied.send_replace(applied);
            for (reply, answer) in answers {
                // A waiter that gave up isn't there any more.
                let _ = reply.send(Ok(answer));
            }
        }
        Ok(())
    }

    /// Applies some of what waits, none when there is no room, and flushes.
    fn apply_chunk(
        &self,
        waiting: &mut VecDeque<Committed>,
        told: &mut Told,
    ) -> Result<(LogIndex, Answers), StateError> {
        let mut state = self.state.write().expect("no holder of the lock panics");
        let mut answers = Vec::new();
        let mut done = Ok(());
        for _ in 0..ENTRIES_PER_LOCK {
            let Some(Committed { entry, .. }) = waiting.front() else {
                break;
            };
            let outcome = match state.apply(entry) {
                Ok(outcome) => outcome,
                Err(error) => {
                    done = Err(error);
                    break;
                }
            };
            let index = entry.id.index;
            if let Some(reply) = waiting.pop_front().and_then(|next| next.reply) {
                answers.push((reply, (index, outcome)));
            }
        }
        let done = done.and_then(|()| Ok(state.store.flush()?));
        self.show_space(done, told)?;
        self.show(&state, told);
        Ok((state.applied().index, answers))
    }

    /// Tells the driver when the disk gets full, and when there is room again.
    /// `done`: whether all is handed to it.
    fn show_space(
        &self,
        done: Result<bool, StateError>,
        told: &mut Told,
    ) -> Result<(), StateError> {
        let is_full = match done {
            Ok(true) => false,
            // What waits for a sync tells nothing of room.
            Ok(false) => return Ok(()),
            Err(error) if error.is_out_of_space() => {
                if !told.is_full {
                    warn!(%error, "no room on the disk for what is applied");
                }
                true
            }
            Err(error) => return Err(error),
        };
        if is_full != told.is_full {
            told.is_full = is_full;
            // A driver that is gone needs to know no more.
            let _ = self.driver.send(Input::StoreSpace { has_room: !is_full });
        }
        Ok(())
    }

    fn install(&self, received: Received, told: &mut Told) -> Result<(), StateError> {
        let mut state = self.state.write().expect("no holder of the lock panics");
        let retired = state.install(received.state)?;
        let last = state.applied();
        info!(%last, revision = state.store.revision(), "took over the leader's snapshot");
        self.show(&state, told);
        drop(state);
        let _ = self.driver.send(Input::Installed(last));
        self.applied.send_replace(last.index);
        // Readers may be at the files; what can't be removed now goes at the next start.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = retired.remove() {
                warn!(%error, "files of the state before the snapshot stay until the next start");
            }
        });
        Ok(())
    }

    /// Tells everyone what changed.
    fn show(&self, state: &State, told: &mut Told) {
        let Meta {
            members,
            settings,
            ledger,
            ..
        } = &state.meta;
        self.pulse.set_applied(
            settings.is_open,
            state.store.revision(),
            state.store.logical_bytes(),
        );
        if settings.cluster_version > self.pulse.cluster_version() {
            info!(version = %settings.cluster_version, "the cluster version was raised");
            self.pulse.set_cluster_version(settings.cluster_version);
        }
        // A driver that is gone needs to know no more.
        if *members != told.members {
            told.members.clone_from(members);
            let _ = self.driver.send(Input::MembersChanged(members.clone()));
        }
        if *settings != told.settings {
            told.settings = *settings;
            let _ = self.driver.send(Input::SettingsChanged(*settings));
        }
        if ledger.last_index() != told.scored {
            told.scored = ledger.last_index();
            let _ = self
                .driver
                .send(Input::ScoresChanged(ledger.scores().collect()));
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no holder of the lock panics")
    }
}

/// What the driver was told last.
#[derive(Default)]
struct Told {
    members: Members,
    settings: Settings,
    /// Raft index of the batch whose scores were told.
    scored: u64,
    /// The disk has no room.
    is_full: bool,
}

/// Waiters with what they are told, to be sent once the state is unlocked.
type Answers = Vec<(Reply, (LogIndex, Outcome))>;
