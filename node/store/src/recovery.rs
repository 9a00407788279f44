//! Recovery: from files to a store, or to a refusal.
//!
//! The manifest's segments are read in order, then those that follow by number. Every record
//! goes into the index; meta bytes and compactions count only in frames behind the manifest's
//! `applied`, since the manifest has what came before. Where a frame is missing there are two
//! stories:
//!
//! - The manifest knows better: the frame is in a sealed segment, or below the sequence that
//!   the log `reaches`. That was durable, so it is damage. Nothing is changed.
//! - It doesn't: the frame belongs to writes that no sync covered, of which the disk kept some
//!   and lost others. Any prefix of frames is a state that was. All behind it goes, durably,
//!   before anything else is written, so that none of it becomes valid again when new frames
//!   are written before it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use raftery_fs::{Fs, FsFile};

use crate::AppliedId;
use crate::blobs::Blobs;
use crate::error::StoreIoError;
use crate::files::sweep_segments;
use crate::frame::{Frame, Frames, Kind};
use crate::history::{Location, Slot};
use crate::index::{Index, Pushed};
use crate::log::{Held, Log, Table};
use crate::manifest::{Manifest, life_dir};
use crate::record::Space;
use crate::segment::{DATA_START, Segment, SegmentId};
use crate::store::StoreOptions;

/// Zeroed at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What the files say.
pub(crate) struct Loaded<F: Fs> {
    pub(crate) index: Index,
    pub(crate) blobs: Blobs,
    pub(crate) log: Log<F>,
    pub(crate) manifest: Manifest,
    /// Meta bytes of entries behind the manifest's `applied`.
    pub(crate) later: Vec<(AppliedId, Bytes)>,
}

/// Reads the log that `manifest` names below `root`, cuts what a crash left half-written and
/// removes what the log has no use for.
pub(crate) fn load<F: Fs>(
    fs: &Arc<F>,
    root: &Path,
    manifest: Manifest,
    options: &StoreOptions,
) -> Result<Loaded<F>, StoreIoError> {
    let dir = life_dir(root, manifest.life);
    let mut reader = Reader {
        index: Index::new(manifest.revision, manifest.compact_revision),
        blobs: Blobs::default(),
        table: Table::new(),
        order: Vec::new(),
        manifest_applied: manifest.applied,
        applied: manifest.applied,
        last_index: 0,
        later: Vec::new(),
        data: Vec::new(),
    };
    for sealed in &manifest.segments {
        let segment = Segment::open(&**fs, &dir, sealed.id)?;
        if segment.salt != sealed.salt {
            let reason = "the salt isn't the one in the manifest";
            return Err(StoreIoError::damaged(&segment.path, 0, reason));
        }
        let sequence = segment.sequence;
        let read = reader.segment(segment, sealed.bytes, sequence)?;
        if read.end != sealed.bytes {
            let reason = "a frame that was durable is damaged";
            return Err(StoreIoError::damaged(&read.path, read.end, reason));
        }
    }
    let tail = reader.tail(&**fs, &dir, manifest.next_number, manifest.next_sequence)?;
    if tail.next_sequence < manifest.reaches {
        let reason = "the log ends before what was durable";
        return Err(StoreIoError::damaged(&dir, 0, reason));
    }
    if let Some(cut) = &tail.cut {
        zero(cut)?;
    }
    let next = SegmentId::first(tail.next_number);
    let keep = reader.files().chain([next]).collect();
    sweep_segments(&**fs, &dir, &keep)?;
    if tail.wants_segment {
        let segment = Segment::create(&**fs, &dir, next, tail.next_sequence)?;
        reader.hold(segment);
    }
    let Reader {
        index,
        blobs,
        table,
        order,
        applied,
        later,
        ..
    } = reader;
    let log = Log {
        fs: Arc::clone(fs),
        dir,
        life: manifest.life,
        is_over: Arc::default(),
        segment_bytes: options.segment_bytes,
        held_bytes_max: options.held_bytes_max,
        table,
        order,
        buffer: Vec::new(),
        frame: None,
        next_sequence: tail.next_sequence,
        applied,
        flushed_applied: applied,
        flushed_sequence: tail.next_sequence,
        durable: applied,
        rewriting: Arc::new(()),
        syncing: Arc::new(()),
        synced_before: tail.next_number,
        named_up_to: tail
            .next_number
            .saturating_sub(u64::from(tail.wants_segment)),
        listed_before: manifest.next_number,
        asked_before: manifest.next_number,
    };
    Ok(Loaded {
        index,
        blobs,
        log,
        manifest,
        later,
    })
}

/// How the segments that no manifest lists end.
struct Tail<F: Fs> {
    /// Bytes to be zeroed: those behind the last frame.
    cut: Option<Cut<F>>,
    /// The segment that is written next.
    next_number: u64,
    next_sequence: u64,
    /// Whether it has to be created.
    wants_segment: bool,
}

struct Cut<F: Fs> {
    segment: Arc<Segment<F>>,
    from: u64,
    to: u64,
}

/// What was read of a segment.
struct Read {
    path: PathBuf,
    slot: Slot,
    /// Where its last valid frame ends.
    end: u64,
    next_sequence: u64,
}

struct Reader<F: Fs> {
    index: Index,
    blobs: Blobs,
    table: Table<F>,
    order: Vec<Slot>,
    manifest_applied: AppliedId,
    applied: AppliedId,
    /// Index of the last entry frame.
    last_index: u64,
    later: Vec<(AppliedId, Bytes)>,
    /// The segment read last.
    data: Vec<u8>,
}

impl<F: Fs> Reader<F> {
    fn hold(&mut self, segment: Segment<F>) -> Slot {
        let slot = self.table.add(Held::new(Arc::new(segment)));
        self.order.push(slot);
        slot
    }

    fn files(&self) -> impl Iterator<Item = SegmentId> {
        let id = |slot: &Slot| self.table.get(*slot).segment.id;
        self.order.iter().map(id)
    }

    /// Reads the frames of a segment up to `bytes` or the first that is missing.
    fn segment(
        &mut self,
        segment: Segment<F>,
        bytes: u64,
        mut sequence: u64,
    ) -> Result<Read, StoreIoError> {
        let slot = self.hold(segment);
        let segment = Arc::clone(&self.table.get(slot).segment);
        let mut data = std::mem::take(&mut self.data);
        data.resize(usize::try_from(bytes).expect("fits the address space"), 0);
        segment.read(0, &mut data)?;
        let frames = Frames {
            path: &segment.path,
            data: &data,
            start: 0,
            salt: segment.salt,
        };
        let mut end = DATA_START;
        while let Some(frame) = frames.at(end, sequence)? {
            self.frame(slot, &frame)
                .map_err(|reason| StoreIoError::damaged(&segment.path, end, reason))?;
            end = frame.next;
            sequence += 1;
        }
        self.table.get_mut(slot).bytes = end;
        self.data = data;
        Ok(Read {
            path: segment.path.clone(),
            slot,
            end,
            next_sequence: sequence,
        })
    }

    /// Takes a frame in, or says what is wrong with it.
    fn frame(&mut self, slot: Slot, frame: &Frame<'_>) -> Result<(), &'static str> {
        let generation = self.table.get(slot).segment.id.generation;
        let is_copy = frame.kind == Kind::Copy;
        if is_copy != (generation > 0) {
            return Err("a frame in a segment of the other kind");
        }
        for (at, record) in frame.records() {
            let (record, bytes) = record.ok_or("a record makes no sense")?;
            let location = Location::new(slot, frame.records_at + at as u64);
            let held = self.table.get_mut(slot);
            held.record_bytes += bytes as u64;
            held.live_bytes += bytes as u64;
            if record.space == Space::Blobs {
                if !self.blobs.push(&record, location) {
                    return Err("a blob isn't newer than those before it");
                }
                continue;
            }
            let Some(Pushed { key, .. }) = self.index.push(&record, location) else {
                return Err("a record isn't newer than those before it");
            };
            self.index.revision = self.index.revision.max(record.revision.main);
            if record.revision.main <= self.index.compact_revision {
                let table = &mut self.table;
                self.index.compact_while_loading(&key, |key, write| {
                    table.get_mut(write.location.slot).release(key, write);
                });
            }
        }
        if is_copy {
            return Ok(());
        }
        if frame.at.index <= self.last_index {
            return Err("an entry isn't newer than the one before it");
        }
        self.last_index = frame.at.index;
        if frame.at.index <= self.manifest_applied.index {
            return Ok(());
        }
        if let Some(revision) = frame.compaction {
            if revision <= self.index.compact_revision || revision > self.index.revision {
                return Err("a compaction that can't have been");
            }
            self.index.compact(revision);
            let table = &mut self.table;
            self.index.sweep(usize::MAX, |key, write| {
                table.get_mut(write.location.slot).release(key, write);
            });
        }
        if let Some(meta) = frame.meta {
            self.later.push((frame.at, Bytes::copy_from_slice(meta)));
        }
        self.applied = frame.at;
        Ok(())
    }

    /// Reads the segments from `number` on that the manifest doesn't list.
    fn tail(
        &mut self,
        fs: &F,
        dir: &Path,
        mut number: u64,
        mut sequence: u64,
    ) -> Result<Tail<F>, StoreIoError> {
        let mut newest: Option<(Read, u64)> = None;
        while let Some(segment) = following(fs, dir, number, sequence)? {
            // What an earlier process failed to sync may be in the cache only.
            segment
                .file
                .reread()
                .map_err(StoreIoError::sync(&segment.path))?;
            let size = segment.size()?;
            let read = self.segment(segment, size, sequence)?;
            number += 1;
            sequence = read.next_sequence;
            newest = Some((read, size));
        }
        let Some((read, size)) = newest else {
            return Ok(Tail {
                cut: None,
                next_number: number,
                next_sequence: sequence,
                wants_segment: true,
            });
        };
        let end = usize::try_from(read.end).expect("fits the address space");
        // The end of the header may be lost, too: it is all zeros.
        let is_torn = self
            .data
            .get(end..)
            .unwrap_or_default()
            .iter()
            .any(|byte| *byte != 0);
        if is_torn {
            let (file, from) = (read.path.display(), read.end);
            tracing::warn!(%file, from, "cut a torn tail: writes that no sync covered");
        }
        Ok(Tail {
            cut: is_torn.then(|| Cut {
                segment: Arc::clone(&self.table.get(read.slot).segment),
                from: read.end,
                to: size,
            }),
            next_number: number - 1,
            next_sequence: sequence,
            wants_segment: false,
        })
    }
}

/// Segment `number`, if it is there and goes on with `sequence`: the file may be left of a crash,
/// with its header or the end of its predecessor lost.
fn following<F: Fs>(
    fs: &F,
    dir: &Path,
    number: u64,
    sequence: u64,
) -> Result<Option<Segment<F>>, StoreIoError> {
    match Segment::open(fs, dir, SegmentId::first(number)) {
        Ok(segment) => Ok((segment.sequence == sequence).then_some(segment)),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}

fn zero<F: Fs>(cut: &Cut<F>) -> Result<(), StoreIoError> {
    let mut at = cut.from;
    while at < cut.to {
        let bytes = (cut.to - at).min(ZEROS.len() as u64);
        cut.segment.write(
            at,
            &ZEROS[..usize::try_from(bytes).expect("at most 64 KiB")],
        )?;
        at += bytes;
    }
    cut.segment.sync()
}
