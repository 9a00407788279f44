//! The apply task: the only writer of the replicated state.

use std::sync::{Arc, RwLock};

use raftery_raft::{Entry, LogIndex};
use tokio::sync::{mpsc, oneshot, watch};

use crate::command::{CommandError, Outcome};
use crate::driver::Input;
use crate::error::RequestError;
use crate::members::Members;
use crate::pulse::Pulse;
use crate::state::{Settings, State};

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

/// The apply task.
#[derive(Debug)]
pub struct Apply {
    /// Written by this task only.
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
    /// When an entry can't be understood; the process must end.
    pub async fn run(
        self,
        mut committed: mpsc::UnboundedReceiver<Vec<Committed>>,
    ) -> Result<(), CommandError> {
        let mut told = Told::default();
        while let Some(batch) = committed.recv().await {
            let mut batch = batch.into_iter().peekable();
            while batch.peek().is_some() {
                let chunk = batch.by_ref().take(ENTRIES_PER_LOCK);
                let (applied, answers) = self.apply_chunk(chunk, &mut told)?;
                // The driver first: whoever is answered now may read at once. It may be gone
                // (a leader that removed itself, say); what it left is applied all the same.
                let _ = self.driver.send(Input::Applied(applied));
                self.applied.send_replace(applied);
                for (reply, answer) in answers {
                    // A waiter that gave up isn't there any more.
                    let _ = reply.send(Ok(answer));
                }
            }
        }
        Ok(())
    }

    fn apply_chunk(
        &self,
        chunk: impl Iterator<Item = Committed>,
        told: &mut Told,
    ) -> Result<(LogIndex, Answers), CommandError> {
        let mut state = self.state.write().expect("no holder of the lock panics");
        let mut answers = Vec::new();
        for Committed { entry, reply } in chunk {
            let outcome = state.apply(&entry)?;
            if let Some(reply) = reply {
                answers.push((reply, (entry.id.index, outcome)));
            }
        }
        self.pulse
            .set_applied(state.settings.is_open, state.store.revision());
        // A driver that is gone needs to know no more.
        if state.members != told.members {
            told.members.clone_from(&state.members);
            let _ = self
                .driver
                .send(Input::MembersChanged(state.members.clone()));
        }
        if state.settings != told.settings {
            told.settings = state.settings;
            let _ = self.driver.send(Input::SettingsChanged(state.settings));
        }
        Ok((state.applied, answers))
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
