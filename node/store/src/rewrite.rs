//! Rewriting segments that are mostly dead, in small steps beside the work.
//!
//! ```text
//! step() reads a window of records    no lock
//!   └─ judge(): which does the index name?       read lock
//! step() writes those to a new segment  no lock           … until all are read
//!   └─ switch(): flush, what must be durable?    write lock
//! step() syncs, swaps the manifest      no lock
//!   └─ switch(): point the index there           write lock, … a bounded number at a time
//! step() unlinks the old segments       no lock
//! ```
//!
//! A crash at any point leaves the old segments or the new one, whole: the manifest names either.
//! What is left of the others goes at the next start.
//!
//! A record is dead when a compaction took it out of the index, or when its blob was dropped. Before
//! the manifest drops it, the entry that did that is made durable: no crash may bring back a state
//! before it with records missing. A tombstone that the index doesn't name any more stays while
//! an older segment may hold a put that it buries, else the put would come back to life at the
//! next start. Only a rewrite that begins with the oldest segment drops it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use raftery_fs::Fs;

use crate::AppliedId;
use crate::error::StoreIoError;
use crate::files::remove_file;
use crate::frame::{FrameAt, FrameWriter, Frames, Kind};
use crate::history::{Location, Revision, Slot};
use crate::key::Key;
use crate::manifest::{ManifestFile, Sealed};
use crate::record::Space;
use crate::segment::{DATA_START, Segment, SegmentId};
use crate::sync::{SyncPoint, Synced};

mod store;

/// Bytes read at a time, unless one frame is larger.
const WINDOW_BYTES: u64 = 256 << 10;
/// What a [`Rewrite`] needs before its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewriteNeeds {
    /// [`crate::Store::judge`], with a shared reference.
    Judge,
    /// [`crate::Store::switch`], with an exclusive one.
    Switch,
}

/// A rewrite in progress. Owns what it needs: its steps want no lock on the store.
///
/// ```text
/// while let Some(needs) = rewrite.step()? {
///     match needs {
///         RewriteNeeds::Judge => store.read().judge(&mut rewrite),
///         RewriteNeeds::Switch => store.write().switch(&mut rewrite)?,
///     }
/// }
/// ```
pub struct Rewrite<F: Fs> {
    fs: Arc<F>,
    dir: PathBuf,
    life: u64,
    is_over: Arc<AtomicBool>,
    manifest: Arc<ManifestFile<F>>,
    _only_one: Arc<()>,
    inputs: Vec<Input<F>>,
    /// Whether nothing is older than the first input.
    is_oldest: bool,
    stage: Stage<F>,
    output: Output<F>,
}

pub(crate) struct Input<F: Fs> {
    slot: Slot,
    segment: Arc<Segment<F>>,
    sealed: Sealed,
}

enum Stage<F: Fs> {
    Read(Place),
    /// Records that were read; the index says which are needed.
    Judge(Window, Place),
    /// All is copied; nobody said yet what must be durable first.
    Copied,
    Swap(SyncPoint<F>),
    /// The manifest is swapped; so many locations are.
    Move(Synced, usize),
    Remove,
    Done,
}

/// The next frame to be read.
#[derive(Clone, Copy)]
struct Place {
    input: usize,
    offset: u64,
    sequence: u64,
}

/// Records of some frames.
struct Window {
    slot: Slot,
    data: Vec<u8>,
    /// Where in the file the data begins.
    start: u64,
    records: Vec<Candidate>,
}

struct Candidate {
    /// In the file.
    offset: u64,
    bytes: usize,
    verdict: Verdict,
}

enum Verdict {
    Unknown,
    Dead,
    /// The index doesn't name it, but it may bury something older.
    Buries,
    Live {
        space: Space,
        key: Key,
        revision: Revision,
        is_tombstone: bool,
    },
}

/// The new segment; none is made if nothing is needed any more.
struct Output<F: Fs> {
    id: SegmentId,
    segment: Option<Arc<Segment<F>>>,
    bytes: u64,
    next_sequence: u64,
    record_bytes: u64,
    buried_bytes: u64,
    moves: Vec<Move>,
    /// Its slot, once the index knows it.
    slot: Option<Slot>,
}

struct Move {
    space: Space,
    key: Key,
    revision: Revision,
    from: Location,
    /// Offset in the new segment.
    to: u64,
    is_tombstone: bool,
}

impl<F: Fs> Rewrite<F> {
    /// Does what can be done without the store, and says what is needed of it then; `None` when
    /// the rewrite is over.
    ///
    /// # Errors
    /// [`StoreIoError::Damaged`] when an old segment can't be read; failed writes, and failed
    /// syncs, after which the process must end.
    pub fn step(&mut self) -> Result<Option<RewriteNeeds>, StoreIoError> {
        match self.advance() {
            // A snapshot was installed meanwhile: all this is of a life that is over.
            Err(_) if self.is_over.load(Ordering::Acquire) => Ok(None),
            needs => needs,
        }
    }

    /// Whether its next step syncs. What is applied waits in memory until then
    /// ([`crate::Store::flush`]), so that step shouldn't wait.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        matches!(self.stage, Stage::Swap(_))
    }

    fn advance(&mut self) -> Result<Option<RewriteNeeds>, StoreIoError> {
        loop {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Read(place) => self.read(place)?,
                Stage::Judge(window, next) => {
                    let is_judged =
                        |record: &Candidate| !matches!(record.verdict, Verdict::Unknown);
                    if !window.records.iter().all(is_judged) {
                        self.stage = Stage::Judge(window, next);
                        return Ok(Some(RewriteNeeds::Judge));
                    }
                    self.write(&window)?;
                    Stage::Read(next)
                }
                Stage::Swap(sync_point) => self.swap(sync_point)?,
                Stage::Remove => {
                    for input in &self.inputs {
                        remove_file(&*self.fs, &input.segment.path)?;
                    }
                    Stage::Done
                }
                Stage::Done => return Ok(None),
                needs @ (Stage::Copied | Stage::Move(..)) => {
                    self.stage = needs;
                    return Ok(Some(RewriteNeeds::Switch));
                }
            };
        }
    }

    /// Reads whole frames, as many as fit a window.
    fn read(&self, mut place: Place) -> Result<Stage<F>, StoreIoError> {
        let Some(input) = self.inputs.get(place.input) else {
            return Ok(Stage::Copied);
        };
        let Sealed { salt, bytes, .. } = input.sealed;
        if place.offset == bytes {
            return Ok(Stage::Read(self.beginning(place.input + 1)));
        }
        let segment = &input.segment;
        let mut window = Window {
            slot: input.slot,
            data: vec![0; window_bytes(WINDOW_BYTES.min(bytes - place.offset))],
            start: place.offset,
            records: Vec::new(),
        };
        segment.read(place.offset, &mut window.data)?;
        let first = frames(segment, &window, salt).frame_bytes(place.offset, place.sequence);
        let damaged = |offset| {
            StoreIoError::damaged(&segment.path, offset, "a frame's checksum doesn't hold")
        };
        let first = first.filter(|first| *first <= bytes - place.offset);
        let first = window_bytes(first.ok_or_else(|| damaged(place.offset))?);
        if first > window.data.len() {
            window.data.resize(first, 0);
            segment.read(place.offset, &mut window.data)?;
        }
        let mut records = Vec::new();
        let frames = frames(segment, &window, salt);
        while let Some(frame) = frames.at(place.offset, place.sequence)? {
            for (at, record) in frame.records() {
                let (_, bytes) = record.ok_or_else(|| damaged(place.offset))?;
                records.push(Candidate {
                    offset: frame.records_at + at as u64,
                    bytes,
                    verdict: Verdict::Unknown,
                });
            }
            place.offset = frame.next;
            place.sequence += 1;
        }
        if place.offset == window.start {
            return Err(damaged(place.offset));
        }
        window.records = records;
        Ok(Stage::Judge(window, place))
    }

    fn beginning(&self, input: usize) -> Place {
        let segment = self.inputs.get(input).map(|input| &input.segment);
        Place {
            input,
            offset: DATA_START,
            sequence: segment.map_or(0, |segment| segment.sequence),
        }
    }

    /// Copies what is needed of a window, as one frame.
    fn write(&mut self, window: &Window) -> Result<(), StoreIoError> {
        let output = &mut self.output;
        let mut buffer = Vec::new();
        let mut frame = FrameWriter::begin(&mut buffer);
        for record in &window.records {
            if matches!(record.verdict, Verdict::Dead | Verdict::Unknown) {
                continue;
            }
            let at = window_bytes(record.offset - window.start);
            let encoded = &window.data[at..at + record.bytes];
            let to = output.bytes + frame.encoded(&mut buffer, encoded) as u64;
            output.record_bytes += record.bytes as u64;
            if let Verdict::Live {
                space,
                key,
                revision,
                is_tombstone,
            } = &record.verdict
            {
                output.moves.push(Move {
                    space: *space,
                    key: key.clone(),
                    revision: *revision,
                    is_tombstone: *is_tombstone,
                    from: Location::new(window.slot, record.offset),
                    to,
                });
            } else {
                output.buried_bytes += record.bytes as u64;
            }
        }
        if frame.is_empty() {
            return Ok(());
        }
        let segment = match &output.segment {
            Some(segment) => Arc::clone(segment),
            None => {
                let sequence = output.next_sequence;
                let made = Segment::create(&*self.fs, &self.dir, output.id, sequence)?;
                Arc::clone(output.segment.insert(Arc::new(made)))
            }
        };
        let frame_at = FrameAt {
            kind: Kind::Copy,
            salt: segment.salt,
            offset: output.bytes,
            sequence: output.next_sequence,
            at: AppliedId::default(),
        };
        frame.finish(&mut buffer, &frame_at, None, None);
        segment.write(output.bytes, &buffer)?;
        output.bytes += buffer.len() as u64;
        output.next_sequence += 1;
        Ok(())
    }

    /// Makes the new segment, and what its omissions rest on, durable; then the manifest.
    fn swap(&self, sync_point: SyncPoint<F>) -> Result<Stage<F>, StoreIoError> {
        if let Some(segment) = &self.output.segment {
            segment.sync()?;
        }
        // What follows may hold writes up as well.
        let _syncing = Arc::clone(&sync_point.syncing);
        let synced = sync_point.run()?;
        self.fs
            .sync_dir(&self.dir)
            .map_err(StoreIoError::sync(&self.dir))?;
        let is_swapped = self.manifest.edit(|manifest| {
            let old: Vec<Sealed> = self.inputs.iter().map(|input| input.sealed).collect();
            let place = manifest
                .segments
                .windows(old.len())
                .position(|run| run == old);
            let Some(first) = place.filter(|_| manifest.life == self.life) else {
                return false;
            };
            let new = self.output.sealed();
            manifest.segments.splice(first..first + old.len(), new);
            manifest.reaches = manifest.reaches.max(synced.sequence);
            true
        })?;
        Ok(if is_swapped {
            Stage::Move(synced, 0)
        } else {
            Stage::Done
        })
    }
}

impl<F: Fs> Output<F> {
    fn sealed(&self) -> Option<Sealed> {
        let segment = self.segment.as_ref()?;
        Some(Sealed {
            id: self.id,
            salt: segment.salt,
            bytes: self.bytes,
        })
    }
}

fn frames<'a, F: Fs>(segment: &'a Segment<F>, window: &'a Window, salt: u64) -> Frames<'a> {
    Frames {
        path: &segment.path,
        data: &window.data,
        start: window.start,
        salt,
    }
}

fn window_bytes(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a frame fits the address space")
}
