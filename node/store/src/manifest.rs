//! The manifest: which files are the log, and what the state was when that was written.
//!
//! The file `manifest` is written under another name, synced, renamed, and the directory
//! synced: it is always whole, and names only what is durable. All integers are little-endian.
//!
//! ```text
//! offset size
//!      0    8  "rafteryM"
//!      8    4  version of the format: 1
//!     12    4  number of sealed segments
//!     16    8  life: the segments are in the directory of this name (16 hex digits)
//!     24    8  revision as of `applied`
//!     32    8  compact revision as of `applied`
//!     40   16  applied: term and index of the Raft entry that the checkpoint is as of
//!     56    8  reaches: frames with a smaller sequence were durable
//!     64    8  number of the first segment that isn't listed here
//!     72    8  sequence of its first frame
//!     80    8  length of the checkpoint in bytes
//!     88    …  segments, 32 bytes each: number, generation, salt, length of the file in bytes
//!            …  checkpoint: what the caller recorded, opaque
//!            4  CRC-32C of all before
//! ```
//!
//! Segments that are not listed follow by number: each header says with which sequence it goes
//! on, so a name or a file that a crash took ends the log there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use crc32c::crc32c;
use raftery_fs::{Fs, FsFile};

use crate::AppliedId;
use crate::error::StoreIoError;
use crate::files::remove_file;
use crate::segment::SegmentId;
use raftery_fs::le::{i64_at, u32_at, u64_at};

pub(crate) const FILE_NAME: &str = "manifest";
const TEMPORARY: &str = "manifest.tmp";
const MAGIC: &[u8; 8] = b"rafteryM";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 88;
const SEGMENT_BYTES: usize = 32;

/// A segment that gets no more frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    /// Bytes up to the end of its last frame.
    pub(crate) bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) life: u64,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
    pub(crate) applied: AppliedId,
    pub(crate) reaches: u64,
    pub(crate) next_number: u64,
    pub(crate) next_sequence: u64,
    /// In the order of the log.
    pub(crate) segments: Vec<Sealed>,
    pub(crate) checkpoint: Bytes,
}

/// The directory of a life's segments.
pub(crate) fn life_dir(root: &Path, life: u64) -> PathBuf {
    root.join(format!("{life:016x}"))
}

/// The life whose directory has this name, if it is one's.
pub(crate) fn life_of(name: &str) -> Option<u64> {
    let life = u64::from_str_radix(name, 16).ok()?;
    (name == format!("{life:016x}")).then_some(life)
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.segments.len() * SEGMENT_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let count = u32::try_from(self.segments.len()).expect("a disk holds fewer files");
        out.extend_from_slice(&count.to_le_bytes());
        for word in [
            self.life,
            self.revision.cast_unsigned(),
            self.compact_revision.cast_unsigned(),
            self.applied.term,
            self.applied.index,
            self.reaches,
            self.next_number,
            self.next_sequence,
            self.checkpoint.len() as u64,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for sealed in &self.segments {
            let Sealed { id, salt, bytes } = sealed;
            for word in [id.number, id.generation, *salt, *bytes] {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
        out.extend_from_slice(&self.checkpoint);
        out.extend_from_slice(&crc32c(&out).to_le_bytes());
        out
    }

    /// Reads what [`Manifest::encode`] wrote; `path` is for errors.
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self, StoreIoError> {
        let damaged = |reason| StoreIoError::damaged(path, 0, reason);
        let sealed = bytes.len().checked_sub(4);
        let Some(body) = sealed
            .filter(|end| *end >= HEADER_BYTES && u32_at(bytes, *end) == crc32c(&bytes[..*end]))
            .map(|end| &bytes[..end])
        else {
            return Err(damaged("the manifest's checksum doesn't hold"));
        };
        if &body[..8] != MAGIC {
            return Err(damaged("not a manifest"));
        }
        let value = u32_at(body, 8);
        if value != VERSION {
            return Err(StoreIoError::Unsupported {
                path: path.to_path_buf(),
                offset: 8,
                what: "manifest format",
                value,
            });
        }
        let table_bytes = u32_at(body, 12) as usize * SEGMENT_BYTES;
        let checkpoint_bytes = u64_at(body, 80);
        if (body.len() - HEADER_BYTES) as u64 != table_bytes as u64 + checkpoint_bytes {
            return Err(damaged("the manifest contradicts itself"));
        }
        let (table, checkpoint) = body[HEADER_BYTES..].split_at(table_bytes);
        Ok(Self {
            life: u64_at(body, 16),
            revision: i64_at(body, 24),
            compact_revision: i64_at(body, 32),
            applied: AppliedId {
                term: u64_at(body, 40),
                index: u64_at(body, 48),
            },
            reaches: u64_at(body, 56),
            next_number: u64_at(body, 64),
            next_sequence: u64_at(body, 72),
            segments: table.chunks_exact(SEGMENT_BYTES).map(sealed_at).collect(),
            checkpoint: Bytes::copy_from_slice(checkpoint),
        })
    }

    /// Reads the manifest of `root`; `None` when there is none.
    pub(crate) fn read<F: Fs>(fs: &F, root: &Path) -> Result<Option<Self>, StoreIoError> {
        let path = root.join(FILE_NAME);
        let file = match fs.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(StoreIoError::io("open", &path, 0))?,
        };
        let size = file.size().map_err(StoreIoError::io("size of", &path, 0))?;
        let mut bytes = vec![0; usize::try_from(size).expect("fits the address space")];
        file.read_at(0, &mut bytes)
            .map_err(StoreIoError::io("read", &path, 0))?;
        Self::decode(&bytes, &path).map(Some)
    }

    /// Writes it beside the present one. A full disk shows here, and does no harm.
    fn prepare<F: Fs>(&self, fs: &F, root: &Path) -> Result<F::File, StoreIoError> {
        let temporary = root.join(TEMPORARY);
        remove_file(fs, &temporary)?;
        let file = fs
            .create(&temporary)
            .map_err(StoreIoError::io("create", &temporary, 0))?;
        file.write_at(0, &self.encode())
            .map_err(StoreIoError::io("write", &temporary, 0))?;
        Ok(file)
    }

    /// Puts what was prepared in the place of the present one, durably.
    fn commit<F: Fs>(fs: &F, root: &Path, prepared: &F::File) -> Result<(), StoreIoError> {
        let temporary = root.join(TEMPORARY);
        prepared
            .sync_data()
            .map_err(StoreIoError::sync(&temporary))?;
        fs.rename(&temporary, &root.join(FILE_NAME))
            .map_err(StoreIoError::io("rename", &temporary, 0))?;
        fs.sync_dir(root).map_err(StoreIoError::sync(root))
    }
}

fn sealed_at(entry: &[u8]) -> Sealed {
    Sealed {
        id: SegmentId {
            number: u64_at(entry, 0),
            generation: u64_at(entry, 8),
        },
        salt: u64_at(entry, 16),
        bytes: u64_at(entry, 24),
    }
}

/// The durable manifest, which several hands change one after the other.
pub(crate) struct ManifestFile<F: Fs> {
    pub(crate) fs: Arc<F>,
    pub(crate) root: PathBuf,
    /// What is on disk; `None` after a failure, when nobody knows.
    current: Mutex<Option<Manifest>>,
}

impl<F: Fs> ManifestFile<F> {
    /// Around what is on disk.
    pub(crate) fn new(fs: Arc<F>, root: PathBuf, current: Manifest) -> Self {
        Self {
            fs,
            root,
            current: Mutex::new(Some(current)),
        }
    }

    /// Writes the first one.
    pub(crate) fn create(fs: &F, root: &Path, manifest: &Manifest) -> Result<(), StoreIoError> {
        let prepared = manifest.prepare(fs, root)?;
        Manifest::commit(fs, root, &prepared)
    }

    /// Replaces the manifest durably by what `change` makes of it. False when `change` finds
    /// that its reason is gone.
    pub(crate) fn edit(
        &self,
        change: impl FnOnce(&mut Manifest) -> bool,
    ) -> Result<bool, StoreIoError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = current.clone().ok_or(StoreIoError::Failed)?;
        if !change(&mut next) {
            return Ok(false);
        }
        let prepared = next.prepare(&*self.fs, &self.root)?;
        *current = None;
        Manifest::commit(&*self.fs, &self.root, &prepared)?;
        *current = Some(next);
        Ok(true)
    }
}
