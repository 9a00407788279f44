//! Receiving a snapshot into a directory beside the live one, and putting it in its place.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use crc32c::crc32c;
use raftery_defects::{Defect, is_on};
use raftery_fs::Fs;

use crate::AppliedId;
use crate::error::{SnapshotError, StoreIoError};
use crate::files;
use crate::manifest::{Manifest, life_dir};
use crate::recovery::{self, Loaded};
use crate::segment::Segment;
use crate::snapshot::{HEADER_BYTES, MAGIC, SnapshotChunk, VERSION, length};
use crate::store::{Opened, Store, StoreOptions};
use raftery_fs::le::{u32_at, u64_at};

/// Takes the chunks of one snapshot, in order. Nothing of the store changes.
pub struct SnapshotReceiver<F: Fs> {
    fs: Arc<F>,
    root: PathBuf,
    life: u64,
    options: StoreOptions,
    /// The snapshot that the first chunk was of.
    id: Option<u64>,
    received: u64,
    state: State<F>,
}

enum State<F: Fs> {
    /// Bytes of header and manifest so far.
    Head(Vec<u8>),
    Files(Files<F>),
}

struct Files<F: Fs> {
    size: u64,
    manifest: Manifest,
    /// The files that are begun; only the last isn't whole.
    begun: Vec<Segment<F>>,
    /// Bytes that the last one has.
    written: u64,
}

/// A snapshot that is whole, verified, and durable beside the live state, with its index built:
/// [`Store::install`] only has to swap.
pub struct ReceivedSnapshot<F: Fs> {
    loaded: Loaded<F>,
}

/// The files of a state that was replaced. Readers that are at it may go on.
#[must_use = "the files stay until the next start"]
pub struct Retired<F: Fs> {
    fs: Arc<F>,
    dir: PathBuf,
}

impl<F: Fs> Store<F> {
    /// Begins to receive a snapshot. What is left of an earlier attempt goes: one at a time.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn receive_snapshot(&self) -> Result<SnapshotReceiver<F>, StoreIoError> {
        let (fs, root) = (&self.log.fs, &self.manifest.root);
        let life = files::sweep_lives(&**fs, root, self.log.life)? + 1;
        let dir = life_dir(root, life);
        fs.create_dir_all(&dir)
            .map_err(StoreIoError::io("create", &dir, 0))?;
        Ok(SnapshotReceiver {
            fs: Arc::clone(fs),
            root: root.clone(),
            life,
            options: self.options,
            id: None,
            received: 0,
            state: State::Head(Vec::new()),
        })
    }

    /// Puts a received state in the place of this one, durably. A crash leaves the old or the
    /// new one, whole. What was applied, rewritten or checkpointed of the old state and isn't
    /// finished comes to nothing.
    ///
    /// # Errors
    /// When the manifest can't be written: the process must end.
    pub fn install(
        &mut self,
        received: ReceivedSnapshot<F>,
    ) -> Result<(Opened, Retired<F>), StoreIoError> {
        let Loaded {
            index,
            blobs,
            log,
            manifest,
            later,
        } = received.loaded;
        let opened = Opened {
            applied: log.applied,
            checkpoint: manifest.checkpoint.clone(),
            later,
        };
        self.manifest.edit(|current| {
            *current = manifest;
            true
        })?;
        self.log.is_over.store(true, Ordering::Release);
        let retired = Retired {
            fs: Arc::clone(&log.fs),
            dir: std::mem::replace(&mut self.log, log).dir,
        };
        self.index = index;
        self.blobs = blobs;
        Ok((opened, retired))
    }
}

impl<F: Fs> Retired<F> {
    /// Removes the files.
    ///
    /// # Errors
    /// What the file system refuses. What is left goes at the next start.
    pub fn remove(self) -> Result<(), StoreIoError> {
        files::remove_life(&*self.fs, &self.dir)
    }
}

impl<F: Fs> SnapshotReceiver<F> {
    /// Bytes of the stream that are here: where a broken stream goes on.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next chunk. After an error the same chunk may be sent again.
    ///
    /// # Errors
    /// [`SnapshotError::Checksum`], [`SnapshotError::OtherSnapshot`], [`SnapshotError::Offset`],
    /// with nothing changed; [`SnapshotError::Malformed`] when the stream is none;
    /// [`SnapshotError::Io`] when it can't be written.
    pub fn write(&mut self, chunk: &SnapshotChunk) -> Result<(), SnapshotError> {
        let offset = chunk.offset;
        if chunk.crc != chunk.checksum() {
            return Err(SnapshotError::Checksum { offset });
        }
        let expected = *self.id.get_or_insert(chunk.snapshot);
        if chunk.snapshot != expected {
            return Err(SnapshotError::OtherSnapshot {
                expected,
                found: chunk.snapshot,
            });
        }
        if offset != self.received {
            return Err(SnapshotError::Offset {
                expected: self.received,
                found: offset,
            });
        }
        let mut rest = &chunk.bytes[..];
        while !rest.is_empty() {
            let taken = match &mut self.state {
                State::Head(head) => {
                    let taken = wanted(head)?.min(rest.len());
                    head.extend_from_slice(&rest[..taken]);
                    if wanted(head)? == 0 {
                        self.state = State::Files(parse(head, expected, self.life)?);
                    }
                    taken
                }
                State::Files(files) => files.write(&*self.fs, &self.root, rest)?,
            };
            self.received += taken as u64;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Verifies all that was received, makes it durable, and builds its index.
    ///
    /// # Errors
    /// [`SnapshotError::Truncated`] when bytes are missing; [`SnapshotError::Damaged`] when a
    /// file isn't sound; [`SnapshotError::Io`].
    pub fn finish(self) -> Result<ReceivedSnapshot<F>, SnapshotError> {
        let truncated = |size| SnapshotError::Truncated {
            received: self.received,
            size,
        };
        let State::Files(files) = self.state else {
            return Err(truncated(None));
        };
        if self.received != files.size {
            return Err(truncated(Some(files.size)));
        }
        let Files {
            begun, manifest, ..
        } = files;
        if !is_on(Defect::SkipSnapshotSync) {
            for segment in &begun {
                segment.sync()?;
            }
        }
        // Each is opened, and locked, once.
        drop(begun);
        let root = &self.root;
        let load = recovery::load(&self.fs, root, manifest, &self.options);
        let loaded = load.map_err(|error| match error {
            StoreIoError::Damaged { .. } | StoreIoError::Unsupported { .. } => {
                SnapshotError::Damaged(error)
            }
            _ => SnapshotError::Io(error),
        })?;
        self.fs.sync_dir(root).map_err(StoreIoError::sync(root))?;
        Ok(ReceivedSnapshot { loaded })
    }
}

impl<F: Fs> ReceivedSnapshot<F> {
    /// The last entry that it holds.
    #[must_use]
    pub fn at(&self) -> AppliedId {
        self.loaded.log.applied
    }

    /// What the sender recorded as its whole state besides the keys.
    #[must_use]
    pub fn meta(&self) -> &Bytes {
        &self.loaded.manifest.checkpoint
    }
}

impl<F: Fs> Files<F> {
    /// Writes what belongs to one file; returns how much that is.
    fn write(
        &mut self,
        fs: &F,
        root: &std::path::Path,
        rest: &[u8],
    ) -> Result<usize, SnapshotError> {
        let whole = |at: usize| self.manifest.segments[at].bytes;
        let is_whole = self
            .begun
            .len()
            .checked_sub(1)
            .is_none_or(|at| self.written == whole(at));
        if is_whole {
            let next = self.manifest.segments.get(self.begun.len());
            let Some(sealed) = next else {
                return Err(SnapshotError::Malformed("it goes on behind its end"));
            };
            let dir = life_dir(root, self.manifest.life);
            let begun = Segment::create_blank(fs, &dir, sealed.id, sealed.salt)?;
            self.begun.push(begun);
            self.written = 0;
        }
        let last = self.begun.len() - 1;
        let left = length(self.manifest.segments[last].bytes - self.written);
        let taken = left.min(rest.len());
        self.begun[last].write(self.written, &rest[..taken])?;
        self.written += taken as u64;
        Ok(taken)
    }
}

/// How many bytes header and manifest still want.
fn wanted(head: &[u8]) -> Result<usize, SnapshotError> {
    if head.len() < HEADER_BYTES {
        return Ok(HEADER_BYTES - head.len());
    }
    if &head[..8] != MAGIC || u32_at(head, 32) != crc32c(&head[..32]) {
        return Err(SnapshotError::Malformed("it doesn't begin like a snapshot"));
    }
    if u32_at(head, 8) != VERSION {
        return Err(SnapshotError::Version(u32_at(head, 8)));
    }
    let manifest_bytes = u32_at(head, 12) as usize;
    Ok(HEADER_BYTES + manifest_bytes - head.len())
}

fn parse<F: Fs>(head: &[u8], id: u64, life: u64) -> Result<Files<F>, SnapshotError> {
    let path = PathBuf::from("snapshot");
    let mut manifest =
        Manifest::decode(&head[HEADER_BYTES..], &path).map_err(SnapshotError::Damaged)?;
    let size = u64_at(head, 24);
    let mut files = manifest.segments.iter().map(|sealed| sealed.bytes);
    let total = files.try_fold(head.len() as u64, u64::checked_add);
    if total != Some(size) || u64_at(head, 16) != id {
        return Err(SnapshotError::Malformed("its header contradicts itself"));
    }
    let numbers = manifest.segments.iter().map(|sealed| sealed.id.number);
    let last = manifest.segments.last();
    if !numbers.is_sorted_by(|a, b| a < b)
        || last.is_some_and(|last| last.id.number >= manifest.next_number)
    {
        return Err(SnapshotError::Malformed("its segments are out of order"));
    }
    manifest.life = life;
    Ok(Files {
        size,
        manifest,
        begun: Vec::new(),
        written: 0,
    })
}
