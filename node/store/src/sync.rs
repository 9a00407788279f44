//! Durability beside the work: what is applied becomes durable some time later, and nobody who
//! applies waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use raftery_fs::Fs;

use crate::AppliedId;
use crate::error::StoreIoError;
use crate::log::Log;
use crate::manifest::{ManifestFile, Sealed};
use crate::segment::Segment;

/// Files to sync and what that makes durable. Owns what it needs: [`SyncPoint::run`] wants no
/// lock on the store.
#[must_use = "nothing is durable before it runs"]
pub struct SyncPoint<F: Fs> {
    fs: Arc<F>,
    dir: PathBuf,
    files: Vec<Arc<Segment<F>>>,
    /// Whether a file is new in the directory.
    has_new_name: bool,
    is_over: Arc<AtomicBool>,
    /// While it is there, the store holds back what it would write.
    pub(crate) syncing: Arc<()>,
    synced: Synced,
}

/// What is durable now, for [`crate::Store::on_synced`].
#[must_use = "the store doesn't know yet"]
#[derive(Debug, Clone, Copy)]
pub struct Synced {
    life: u64,
    /// Entries up to this one are durable.
    pub at: AppliedId,
    /// Frames with a smaller sequence are durable.
    pub(crate) sequence: u64,
    newest_number: u64,
}

impl<F: Fs> SyncPoint<F> {
    pub(crate) fn new(log: &Log<F>) -> Self {
        let newest_number = log.newest_number();
        let segments = log.order.iter().rev();
        let unsynced = segments
            .map(|slot| &log.table.get(*slot).segment)
            .take_while(|segment| segment.id.number >= log.synced_before);
        Self {
            fs: Arc::clone(&log.fs),
            dir: log.dir.clone(),
            files: unsynced.cloned().collect(),
            has_new_name: newest_number > log.named_up_to,
            is_over: Arc::clone(&log.is_over),
            syncing: Arc::clone(&log.syncing),
            synced: Synced {
                life: log.life,
                at: log.flushed_applied,
                sequence: log.flushed_sequence,
                newest_number,
            },
        }
    }

    /// Entries up to this one are durable once it ran.
    #[must_use]
    pub fn at(&self) -> AppliedId {
        self.synced.at
    }

    /// Syncs. If a snapshot was installed meanwhile, then that is durable, and newer.
    ///
    /// # Errors
    /// [`StoreIoError::Sync`]. Never retried: the process must end.
    pub fn run(self) -> Result<Synced, StoreIoError> {
        match self.sync() {
            Err(_) if self.is_over.load(Ordering::Acquire) => Ok(self.synced),
            done => done.map(|()| self.synced),
        }
    }

    fn sync(&self) -> Result<(), StoreIoError> {
        // Oldest first, so that what a crash leaves in between is a prefix, too.
        for segment in self.files.iter().rev() {
            segment.sync()?;
        }
        if self.has_new_name {
            self.fs
                .sync_dir(&self.dir)
                .map_err(StoreIoError::sync(&self.dir))?;
        }
        Ok(())
    }
}

impl<F: Fs> Log<F> {
    pub(crate) fn on_synced(&mut self, synced: Synced) {
        if synced.life != self.life {
            return;
        }
        self.durable = self.durable.max(synced.at);
        self.synced_before = self.synced_before.max(synced.newest_number);
        self.named_up_to = self.named_up_to.max(synced.newest_number);
    }
}

/// A manifest to be written: which segments are sealed, and the caller's checkpoint. As a
/// [`SyncPoint`] it needs no lock on the store.
#[must_use = "nothing is written before it runs"]
pub struct Checkpoint<F: Fs> {
    sync_point: SyncPoint<F>,
    file: Arc<ManifestFile<F>>,
    revision: i64,
    compact_revision: i64,
    next_number: u64,
    next_sequence: u64,
    sealed: Vec<Sealed>,
    meta: Bytes,
}

/// A manifest that is durable, for [`crate::Store::on_checkpointed`].
#[must_use = "the store doesn't know yet"]
#[derive(Debug, Clone, Copy)]
pub struct Checkpointed {
    /// What became durable on the way.
    pub synced: Synced,
    next_number: u64,
}

impl<F: Fs> Checkpoint<F> {
    /// Everything in `log` must be flushed.
    pub(crate) fn new(
        log: &Log<F>,
        file: &Arc<ManifestFile<F>>,
        revision: i64,
        compact_revision: i64,
        meta: Bytes,
    ) -> Self {
        let (newest, sealed) = log.order.split_last().expect("there is a newest segment");
        let newest = &log.table.get(*newest).segment;
        let held = sealed.iter().map(|slot| log.table.get(*slot));
        let unlisted = held.filter(|held| held.segment.id.number >= log.listed_before);
        Self {
            sync_point: SyncPoint::new(log),
            file: Arc::clone(file),
            revision,
            compact_revision,
            next_number: newest.id.number,
            next_sequence: newest.sequence,
            sealed: unlisted.map(|held| held.sealed()).collect(),
            meta,
        }
    }

    /// Syncs what the manifest will name, then writes it.
    ///
    /// # Errors
    /// [`StoreIoError`]; the process must end: nobody knows which manifest is durable.
    pub fn run(self) -> Result<Checkpointed, StoreIoError> {
        // Renaming and syncing the manifest may hold writes up as well.
        let _syncing = Arc::clone(&self.sync_point.syncing);
        let synced = self.sync_point.run()?;
        self.file.edit(|manifest| {
            let is_current = manifest.life == synced.life
                && manifest.applied <= synced.at
                && manifest.next_number <= self.next_number;
            if is_current {
                let listed = manifest.next_number;
                let unlisted = self.sealed.iter();
                let unlisted = unlisted.filter(|sealed| sealed.id.number >= listed);
                manifest.segments.extend(unlisted.copied());
                manifest.revision = self.revision;
                manifest.compact_revision = self.compact_revision;
                manifest.applied = synced.at;
                manifest.reaches = manifest.reaches.max(synced.sequence);
                manifest.next_number = self.next_number;
                manifest.next_sequence = self.next_sequence;
                manifest.checkpoint = self.meta;
            }
            is_current
        })?;
        Ok(Checkpointed {
            synced,
            next_number: self.next_number,
        })
    }
}

impl<F: Fs> Log<F> {
    pub(crate) fn on_checkpointed(&mut self, done: Checkpointed) {
        self.on_synced(done.synced);
        if done.synced.life == self.life {
            self.listed_before = self.listed_before.max(done.next_number);
        }
    }
}
