//! The store: the one entrance for writes, and how it becomes durable.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use raftery_fs::Fs;

use crate::AppliedId;
use crate::blobs::{self, Blob, Blobs, KeptBlob};
use crate::error::{ReadError, StoreError, StoreIoError};
use crate::files;
use crate::index::Index;
use crate::log::Log;
use crate::manifest::{Manifest, ManifestFile};
use crate::op::WriteOp;
use crate::recovery::{self, Loaded};
use crate::result::WriteResult;
use crate::sync::{Checkpoint, Checkpointed, SyncPoint, Synced};
use crate::write::Write;

/// Changes and writes that are visited under one exclusive borrow: less than a millisecond, unless one
/// key has many more.
const SWEEP_MAX: usize = 1024;

/// What may differ from member to member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// A segment that has this many bytes, its header of 4 KiB included, is followed by the next
    /// one, after a sync that is under way. Each holds one entry at least.
    pub segment_bytes: u64,
    /// A segment is rewritten when less than this share of it is alive, in percent.
    pub live_percent_min: u64,
    /// So many bytes wait in memory while a [`SyncPoint`] is under way; then they are written all the
    /// same.
    pub held_bytes_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            live_percent_min: 50,
            held_bytes_max: 32 << 20,
        }
    }
}

/// What was found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The last entry that the state holds.
    pub applied: AppliedId,
    /// What the caller recorded with the last durable [`Checkpoint`].
    pub checkpoint: Bytes,
    /// What [`Store::note`] recorded since, in order.
    pub later: Vec<(AppliedId, Bytes)>,
}

/// All keys with their history down to the compact revision.
///
/// Keys, what is known about their newest write, and where each older one lies are in memory; the
/// rest is in the revision log.
pub struct Store<F: Fs> {
    pub(crate) options: StoreOptions,
    pub(crate) index: Index,
    pub(crate) blobs: Blobs,
    pub(crate) log: Log<F>,
    pub(crate) manifest: Arc<ManifestFile<F>>,
}

impl<F: Fs> fmt::Debug for Store<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("revision", &self.revision())
            .field("compact_revision", &self.compact_revision())
            .field("applied", &self.applied())
            .finish_non_exhaustive()
    }
}

impl<F: Fs> Store<F> {
    /// Makes an empty store, at revision 1, in `dir`, and opens it. `checkpoint` is recorded as
    /// the caller's state before the first entry.
    ///
    /// # Errors
    /// [`StoreIoError::Exists`] when there is one; what the file system refuses.
    pub fn create(
        fs: F,
        dir: &Path,
        options: StoreOptions,
        checkpoint: Bytes,
    ) -> Result<Self, StoreIoError> {
        if is_there(&fs, dir)? {
            return Err(StoreIoError::Exists {
                dir: dir.to_path_buf(),
            });
        }
        files::create(&fs, dir, checkpoint)?;
        let opened = Self::open(fs, dir, options)?;
        let (store, _) = opened.expect("the manifest was just written");
        Ok(store)
    }

    /// Opens the store in `dir`; `None` when there is none. What it says is durable.
    ///
    /// # Errors
    /// [`StoreIoError::Damaged`] when something durable is gone, with nothing changed;
    /// [`StoreIoError::Unsupported`] for a newer version's files; what the file system refuses.
    pub fn open(
        fs: F,
        dir: &Path,
        options: StoreOptions,
    ) -> Result<Option<(Self, Opened)>, StoreIoError> {
        if !is_there(&fs, dir)? {
            return Ok(None);
        }
        let fs = Arc::new(fs);
        // A process that died between rename and sync may have left a manifest that only seems
        // to be there.
        fs.sync_dir(dir).map_err(StoreIoError::sync(dir))?;
        let Some(manifest) = Manifest::read(&*fs, dir)? else {
            return Ok(None);
        };
        let loaded = recovery::load(&fs, dir, manifest, &options)?;
        let Loaded {
            index,
            blobs,
            log,
            manifest,
            later,
        } = loaded;
        files::sweep_lives(&*fs, dir, manifest.life)?;
        let opened = Opened {
            applied: log.applied,
            checkpoint: manifest.checkpoint.clone(),
            later,
        };
        let manifest = Arc::new(ManifestFile::new(fs, dir.to_path_buf(), manifest));
        let store = Self {
            options,
            index,
            blobs,
            log,
            manifest,
        };
        Ok(Some((store, opened)))
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.index.revision
    }

    /// The oldest revision that can be read; −1 before the first compaction.
    #[must_use]
    pub fn compact_revision(&self) -> i64 {
        self.index.compact_revision
    }

    /// What the kept writes weigh, in logical bytes: the same on every member, whatever the
    /// memory or disk behind it looks like.
    #[must_use]
    pub fn logical_bytes(&self) -> u64 {
        self.index.logical_bytes
    }

    /// What the segments weigh on disk, in bytes, dead records included.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let held = self.log.order.iter().map(|slot| self.log.table.get(*slot));
        held.map(|held| held.bytes).sum()
    }

    /// The last entry that was applied.
    #[must_use]
    pub fn applied(&self) -> AppliedId {
        self.log.applied
    }

    /// The last entry that no crash takes back: the Raft log isn't needed up to here.
    #[must_use]
    pub fn durable(&self) -> AppliedId {
        self.log.durable
    }

    /// Applies one committed operation: entry `at`, newer than all before. What etcd counts as
    /// one request is one revision: a transaction bumps it once, one that changes nothing not
    /// at all. A refusal, the same on every member, changes nothing but that the entry is
    /// applied.
    ///
    /// # Errors
    /// When a value that the operation needs can't be read, or a full buffer or segment not
    /// written: then the entry is not applied, and nothing has changed.
    pub fn apply(
        &mut self,
        at: AppliedId,
        op: &WriteOp,
    ) -> Result<Result<WriteResult, StoreError>, StoreIoError> {
        self.log.begin()?;
        if let WriteOp::Compact { revision } = op {
            return Ok(self.compact(at, *revision));
        }
        let mut write = Write::new(self);
        let result = match op {
            WriteOp::Put(op) => write.put(op).map(WriteResult::Put),
            WriteOp::DeleteRange(op) => write.delete_range(op).map(WriteResult::DeleteRange),
            WriteOp::Txn(op) => write.txn(op).map(WriteResult::Txn),
            WriteOp::Compact { .. } => unreachable!("handled above"),
        };
        let result = match result {
            Ok(result) => {
                write.commit();
                Ok(result)
            }
            Err(ReadError::Refused(refusal)) => {
                write.roll_back();
                self.log.clear_frame();
                Err(refusal)
            }
            Err(ReadError::Io(error)) => {
                write.roll_back();
                self.log.cancel_frame();
                return Err(error);
            }
        };
        self.log.finish(at, None, None);
        Ok(result)
    }

    /// Records that entry `at`, newer than all before, was applied, though it is none of the
    /// store's. `meta`: what it changed elsewhere; [`Store::open`] gives it back. `blob`: what it
    /// moved from the caller's memory to the disk, where it stays until it is dropped, whatever
    /// becomes of the segment.
    ///
    /// # Errors
    /// When a full buffer or segment can't be written: then nothing is recorded.
    ///
    /// # Panics
    /// When the blob isn't newer than those before it.
    pub fn note(
        &mut self,
        at: AppliedId,
        meta: Option<&[u8]>,
        blob: Option<Blob<'_>>,
    ) -> Result<(), StoreIoError> {
        self.log.begin()?;
        if let Some(Blob { number, bytes }) = blob {
            let key = blobs::key_of(number);
            let record = blobs::record(&key, bytes);
            let location = self.log.push(&record);
            let is_newer = self.blobs.push(&record, location);
            assert!(is_newer, "blob {number} isn't newer than those before it");
        }
        self.log.finish(at, None, meta);
        Ok(())
    }

    /// Where a blob is, to be read without the store; `None` when it was dropped, or never kept.
    #[must_use]
    pub fn blob(&self, number: u64) -> Option<KeptBlob<F>> {
        let kept = self.blobs.get(number)?;
        let key = blobs::key_of(number);
        Some(KeptBlob::new(key, *kept, self.log.place(&key, kept)))
    }

    /// Lets the blobs with smaller numbers go. Because of an entry that was applied: after a crash,
    /// what is applied again must come to the same.
    pub fn drop_blobs_before(&mut self, number: u64) {
        while let Some((number, kept)) = self.blobs.pop_before(number) {
            let held = self.log.table.get_mut(kept.location.slot);
            held.release(&blobs::key_of(number), &kept);
        }
    }

    /// Frees a bounded part of what compactions made unreadable; whether there is more. It is
    /// counted off when the compaction is applied: when, or whether, this is called doesn't show
    /// in any answer.
    pub fn sweep(&mut self) -> bool {
        let table = &mut self.log.table;
        self.index.sweep(SWEEP_MAX, |key, write| {
            table.get_mut(write.location.slot).release(key, write);
        })
    }

    /// Hands what was applied to the file system, in one write. While a [`SyncPoint`] is under way
    /// it stays in memory, up to [`StoreOptions::held_bytes_max`]: whoever applies must not wait for
    /// a slow disk. Gives whether all is handed over; nothing is durable yet.
    ///
    /// # Errors
    /// What the file system says. May be called again, for example when there is space.
    pub fn flush(&mut self) -> Result<bool, StoreIoError> {
        if self.log.holds() {
            return Ok(false);
        }
        self.log.flush()?;
        Ok(true)
    }

    /// What to sync so that all that is flushed becomes durable.
    pub fn sync_point(&self) -> SyncPoint<F> {
        SyncPoint::new(&self.log)
    }

    /// Takes note of what a [`SyncPoint`] made durable.
    pub fn on_synced(&mut self, synced: Synced) {
        self.log.on_synced(synced);
    }

    /// Whether segments were sealed since the last [`Store::checkpoint`]: it is time for one.
    #[must_use]
    pub fn wants_checkpoint(&self) -> bool {
        self.log.newest_number() > self.log.asked_before
    }

    /// Begins a manifest as of the entry applied last. `meta` is the caller's whole state as of
    /// it, in place of all that [`Store::note`] recorded up to here.
    ///
    /// # Errors
    /// When the buffer can't be written.
    pub fn checkpoint(&mut self, meta: Bytes) -> Result<Checkpoint<F>, StoreIoError> {
        self.log.flush()?;
        self.log.asked_before = self.log.newest_number();
        Ok(Checkpoint::new(
            &self.log,
            &self.manifest,
            self.index.revision,
            self.index.compact_revision,
            meta,
        ))
    }

    /// Takes note of a manifest that is durable.
    pub fn on_checkpointed(&mut self, done: Checkpointed) {
        self.log.on_checkpointed(done);
    }

    fn compact(&mut self, at: AppliedId, revision: i64) -> Result<WriteResult, StoreError> {
        let refusal = if revision <= self.index.compact_revision {
            Some(StoreError::Compacted {
                requested: revision,
                compact_revision: self.index.compact_revision,
            })
        } else if revision > self.index.revision {
            Some(StoreError::FutureRevision {
                requested: revision,
                current_revision: self.index.revision,
            })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.log.finish(at, None, None);
            return Err(refusal);
        }
        self.index.compact(revision);
        self.log.finish(at, Some(revision), None);
        Ok(WriteResult::Compact {
            revision: self.index.revision,
        })
    }

    /// Asserts the invariants of index and log. Walks the whole store: for tests and
    /// simulation.
    ///
    /// # Panics
    /// When one doesn't hold.
    pub fn check_invariants(&self) {
        self.index.check_invariants();
        self.log.check_invariants(&self.index, &self.blobs);
    }
}

fn is_there<F: Fs>(fs: &F, dir: &Path) -> Result<bool, StoreIoError> {
    match fs.list(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        names => {
            let names = names.map_err(StoreIoError::io("list", dir, 0))?;
            Ok(names.iter().any(|name| name == crate::manifest::FILE_NAME))
        }
    }
}
