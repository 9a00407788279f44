//! The replicated state: keys in the store, everything else beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use raftery_fs::RealFs;
use raftery_ledger::{BlockError, Rows, Stretch};
use raftery_raft::{Entry, LogId, LogIndex, Payload, SnapshotMeta, Term};
use raftery_store::{
    AppliedId, Blob, Checkpoint, KeptBlob, Opened, ReceivedSnapshot, Retired, Snapshot, Store,
    StoreIoError, StoreOptions,
};

use crate::command::{self, Command, CommandError, Outcome};
use crate::meta::{Change, Meta};

/// Why the state can't be read or go on; the process must end.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The files of the store.
    #[error("store: {0}")]
    Store(#[from] StoreIoError),
    /// An entry, or what was recorded of one, can't be understood.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A block of the ledger that should be on the disk isn't.
    #[error("the store lacks block {0} of the ledger")]
    NoBlock(u64),
    /// A block of the ledger says something else.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The node goes down.
    #[error("server stopped")]
    Stopped,
}

impl StateError {
    /// Whether the disk was full. What failed had not happened then, and may be tried again.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Store(error) => error.is_out_of_space(),
            Self::Command(_) | Self::NoBlock(_) | Self::Block(_) | Self::Stopped => false,
        }
    }
}

/// Everything that entries change. Of the ledger, the store keeps all but the newest batches.
#[derive(Debug)]
pub struct State {
    /// Keys and values.
    pub store: Store<RealFs>,
    /// The rest.
    pub meta: Meta,
}

/// Where the store lies.
#[must_use]
pub fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

impl State {
    /// Opens the state under `data_dir`, durable as found, or makes an empty one.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(data_dir: &Path) -> Result<Self, StateError> {
        let dir = store_dir(data_dir);
        let options = StoreOptions::default();
        if let Some((store, opened)) = Store::open(RealFs, &dir, options)? {
            let meta = meta_of(&opened)?;
            let mut state = Self { store, meta };
            state.drop_blocks();
            return Ok(state);
        }
        let meta = Meta::default();
        let store = Store::create(RealFs, &dir, options, meta.encode()?)?;
        Ok(Self { store, meta })
    }

    /// Whether there is a state under `data_dir`.
    #[must_use]
    pub fn exists(data_dir: &Path) -> bool {
        store_dir(data_dir).join("manifest").exists()
    }

    /// The last entry that was applied.
    #[must_use]
    pub fn applied(&self) -> LogId {
        log_id(self.store.applied())
    }

    /// Applies the next entry. It is on its way to the disk with the next flush.
    ///
    /// # Errors
    /// See [`StateError`]. When the disk is full, nothing has changed.
    pub fn apply(&mut self, entry: &Entry) -> Result<Outcome, StateError> {
        let at = applied_id(entry.id);
        let change = match &entry.payload {
            Payload::Blank => {
                self.store.note(at, None, None)?;
                return Ok(Outcome::Done);
            }
            Payload::Data(data) => match command::decode(data)? {
                Command::Write(op) => return Ok(Outcome::Write(self.store.apply(at, &op)?)),
                command => Change::Command(command),
            },
            Payload::ConfChange(change) => Change::Membership(change.clone()),
        };
        // First what the disk may have no room for: the caller tries again, from the beginning.
        let block = match &change {
            Change::Command(Command::Ledger(_)) => self.meta.ledger.full_block(),
            Change::Command(_) | Change::Membership(_) => None,
        };
        let blob = block.as_ref().map(|(number, bytes)| Blob {
            number: *number,
            bytes,
        });
        self.store
            .note(at, Change::encode(entry).as_deref(), blob)?;
        let outcome = self.meta.apply(entry.id, change)?;
        self.drop_blocks();
        Ok(outcome)
    }

    /// Where these rows of the ledger are, to be read without the state.
    pub fn locate(&self, rows: Rows) -> LocatedRows {
        let blobs = rows
            .blocks()
            .filter_map(|number| Some((number, self.store.blob(number)?)));
        LocatedRows {
            blobs: blobs.collect(),
            rows,
        }
    }

    fn drop_blocks(&mut self) {
        self.store
            .drop_blobs_before(self.meta.ledger.oldest_block());
    }

    /// A manifest as of now, to be written beside the work.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn checkpoint(&mut self) -> Result<Checkpoint<RealFs>, StateError> {
        let meta = self.meta.encode()?;
        Ok(self.store.checkpoint(meta)?)
    }

    /// The whole state as of now, to be streamed.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn snapshot(&mut self) -> Result<(SnapshotMeta, Snapshot<RealFs>), StateError> {
        let meta = self.meta.encode()?;
        let snapshot = self.store.snapshot(meta)?;
        let meta = SnapshotMeta {
            last: log_id(snapshot.at()),
            membership: self.meta.membership.clone(),
        };
        Ok((meta, snapshot))
    }

    /// Puts a received state in the place of this one, durably.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn install(
        &mut self,
        received: ReceivedSnapshot<RealFs>,
    ) -> Result<Retired<RealFs>, StateError> {
        // Read first: a state that can't be understood takes no other's place.
        let meta = Meta::decode(received.meta())?;
        let (_, retired) = self.store.install(received)?;
        self.meta = meta;
        self.drop_blocks();
        Ok(retired)
    }
}

/// Rows of the ledger, and where those on the disk are.
#[must_use = "they must be read"]
#[derive(Debug)]
pub struct LocatedRows {
    rows: Rows,
    blobs: BTreeMap<u64, KeptBlob<RealFs>>,
}

impl LocatedRows {
    /// Reads and decodes them on a thread for such work. Reads from a slow disk must hold up neither
    /// who applies, by the state's lock, nor the runtime.
    ///
    /// # Errors
    /// [`StateError::Store`] when the disk refuses; [`StateError::NoBlock`]; [`StateError::Block`].
    pub async fn read(self) -> Result<Stretch, StateError> {
        let read = tokio::task::spawn_blocking(move || {
            let Self { rows, blobs } = self;
            let block = |number| {
                let blob = blobs.get(&number);
                let bytes = blob.ok_or(StateError::NoBlock(number))?.read()?;
                Ok::<_, StateError>(bytes)
            };
            Ok(rows.load(block)?.decode()?)
        });
        read.await.unwrap_or(Err(StateError::Stopped))
    }
}

/// The rest of the state as it was found beside the keys.
fn meta_of(opened: &Opened) -> Result<Meta, CommandError> {
    let mut meta = Meta::decode(&opened.checkpoint)?;
    for (at, recorded) in &opened.later {
        let recorded: &Bytes = recorded;
        meta.apply(log_id(*at), Change::decode(recorded)?)?;
    }
    Ok(meta)
}

/// The store's name for an entry.
#[must_use]
pub fn applied_id(id: LogId) -> AppliedId {
    AppliedId {
        term: id.term.0,
        index: id.index.0,
    }
}

/// Raft's name for an entry.
#[must_use]
pub fn log_id(id: AppliedId) -> LogId {
    LogId {
        term: Term(id.term),
        index: LogIndex(id.index),
    }
}

#[cfg(test)]
#[path = "state_test.rs"]
mod state_test;
