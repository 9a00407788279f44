//! What makes durable what is applied, and keeps the store's files in order: a step now and then,
//! and the state machine goes on in between.

use std::fmt;

use raftery_fs::MemFs;
use raftery_store::{Checkpoint, Rewrite, RewriteNeeds, StoreIoError, SyncPoint};

use crate::machine::Machine;

/// What is under way.
#[derive(Default)]
pub(crate) enum Keeper {
    #[default]
    Idle,
    Sync(SyncPoint<MemFs>),
    Checkpoint(Checkpoint<MemFs>),
    Rewrite(Rewrite<MemFs>),
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Sync(_) => "Sync",
            Self::Checkpoint(_) => "Checkpoint",
            Self::Rewrite(_) => "Rewrite",
        })
    }
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    Nothing,
    Begun,
    /// The state machine may have more that is durable.
    Synced,
    Checkpointed,
    Rewritten,
}

impl Keeper {
    /// Whether what is applied is on its way to the disk.
    pub(crate) fn is_syncing(&self) -> bool {
        matches!(self, Self::Sync(_))
    }

    /// Does the next step.
    pub(crate) fn step(&mut self, machine: &mut Machine) -> Result<Kept, StoreIoError> {
        let (next, kept) = match std::mem::take(self) {
            Self::Idle => {
                if machine.durable() < machine.applied() {
                    machine.store.flush()?;
                    (Self::Sync(machine.store.sync_point()), Kept::Begun)
                } else {
                    (Self::Idle, Kept::Nothing)
                }
            }
            Self::Sync(sync_point) => {
                machine.store.on_synced(sync_point.run()?);
                let next = if machine.store.wants_checkpoint() {
                    let meta = machine.meta();
                    Self::Checkpoint(machine.store.checkpoint(meta)?)
                } else {
                    rewrite(machine)
                };
                (next, Kept::Synced)
            }
            Self::Checkpoint(checkpoint) => {
                machine.store.on_checkpointed(checkpoint.run()?);
                (rewrite(machine), Kept::Checkpointed)
            }
            Self::Rewrite(mut rewrite) => match rewrite.step()? {
                None => (Self::Idle, Kept::Rewritten),
                Some(needs) => {
                    match needs {
                        RewriteNeeds::Judge => machine.store.judge(&mut rewrite),
                        RewriteNeeds::Switch => machine.store.switch(&mut rewrite)?,
                    }
                    (Self::Rewrite(rewrite), Kept::Begun)
                }
            },
        };
        *self = next;
        Ok(kept)
    }
}

fn rewrite(machine: &mut Machine) -> Keeper {
    while machine.store.sweep() {}
    machine
        .store
        .next_rewrite()
        .map_or(Keeper::Idle, Keeper::Rewrite)
}
