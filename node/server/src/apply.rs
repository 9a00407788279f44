//! The apply task: the only writer of the replicated state.

use std::sync::{Arc, RwLock, RwLockReadGuard};

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
    /// Applies what is committed until the driver is gone, and what it left.
    ///
    /// # Errors
    /// When an entry can't be understood, or the store can't be written; the process must end.
    pub async fn run(
        self,
        mut committed: mpsc::UnboundedReceiver<ToApply>,
    ) -> Result<(), StateError> {
        let mut told = Told::default();
        self.show(&self.state(), &mut told);
        while let Some(next) = committed.recv().await {
            match next {
                ToApply::Entries(batch) => self.entries(batch, &mut told)?,
                ToApply::Install(received) => self.install(*received, &mut told)?,
            }
        }
        Ok(())
    }

    fn entries(&self, batch: Vec<Committed>, told: &mut Told) -> Result<(), StateError> {
        let mut batch = batch.into_iter().peekable();
        while batch.peek().is_some() {
            let chunk = batch.by_ref().take(ENTRIES_PER_LOCK);
            let (applied, answers) = self.apply_chunk(chunk, told)?;
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

    fn apply_chunk(
        &self,
        chunk: impl Iterator<Item = Committed>,
        told: &mut Told,
    ) -> Result<(LogIndex, Answers), StateError> {
        let mut state = self.state.write().expect("no holder of the lock panics");
        let mut answers = Vec::new();
        for Committed { entry, reply } in chunk {
            let outcome = state.apply(&entry)?;
            if let Some(reply) = reply {
                answers.push((reply, (entry.id.index, outcome)));
            }
        }
        state.store.flush()?;
        self.show(&state, told);
        Ok((state.applied().index, answers))
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
            members, settings, ..
        } = &state.meta;
        self.pulse.set_applied(
            settings.is_open,
            state.store.revision(),
            state.store.logical_bytes(),
        );
        // A driver that is gone needs to know no more.
        if *members != told.members {
            told.members.clone_from(members);
            let _ = self.driver.send(Input::MembersChanged(members.clone()));
        }
        if *settings != told.settings {
            told.settings = *settings;
            let _ = self.driver.send(Input::SettingsChanged(*settings));
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
}

/// Waiters with what they are told, to be sent once the state is unlocked.
type Answers = Vec<(Reply, (LogIndex, Outcome))>;
