//! The log while it is written: the table of segments, the buffer in front of the newest one,
//! and reads of single records.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use raftery_fs::Fs;

use crate::AppliedId;
use crate::blobs::{self, Blobs};
use crate::error::StoreIoError;
use crate::frame::{FrameAt, FrameWriter, Kind};
use crate::history::{Attributes, Kept, Location, Slot};
use crate::index::Index;
use crate::manifest::Sealed;
use crate::record::{Record, record_bytes};
use crate::segment::{DATA_START, Segment, SegmentId};

/// A chunk of entries larger than this is written before its end.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// A segment and what is in it.
pub(crate) struct Held<F: Fs> {
    pub(crate) segment: Arc<Segment<F>>,
    /// Bytes up to the end of its last frame; of the newest one: up to what is flushed.
    pub(crate) bytes: u64,
    /// Bytes of all its records.
    pub(crate) record_bytes: u64,
    /// Bytes of records that the index names, and of blobs.
    pub(crate) live_bytes: u64,
    /// Bytes of tombstones that the index doesn't name: they may bury something older.
    pub(crate) buried_bytes: u64,
}

impl<F: Fs> Held<F> {
    pub(crate) fn new(segment: Arc<Segment<F>>) -> Self {
        Self {
            segment,
            bytes: DATA_START,
            record_bytes: 0,
            live_bytes: 0,
            buried_bytes: 0,
        }
    }

    pub(crate) fn sealed(&self) -> Sealed {
        Sealed {
            id: self.segment.id,
            salt: self.segment.salt,
            bytes: self.bytes,
        }
    }

    /// A record that was named is no longer named.
    pub(crate) fn release(&mut self, key: &[u8], write: &Kept) {
        let bytes = write.record_bytes(key);
        self.live_bytes -= bytes;
        if write.is_tombstone() {
            self.buried_bytes += bytes;
        }
    }
}

/// What the record of a kept write says.
pub(crate) struct Stored {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) attributes: Attributes,
}

impl Stored {
    /// Reads a record, and makes sure that it is what was written.
    fn decode<F: Fs>(
        bytes: Vec<u8>,
        segment: &Segment<F>,
        key: &[u8],
        write: &Kept,
    ) -> Result<Self, StoreIoError> {
        let record = Record::decode(&bytes).map(|(record, _)| record);
        let record = record
            .filter(|record| record.key == key && Kept::new(record, write.location) == *write);
        let Some(record) = record else {
            return Err(StoreIoError::damaged(
                &segment.path,
                write.location.offset(),
                "a record's checksum doesn't hold",
            ));
        };
        let attributes = Attributes::new(&record);
        let bytes = Bytes::from(bytes);
        let value_at = Record::value_at(key.len());
        let value_bytes = write.value_bytes() as usize;
        Ok(Self {
            key: bytes.slice(Record::key_at()..value_at),
            value: bytes.slice(value_at..value_at + value_bytes),
            attributes,
        })
    }
}

fn read_record<F: Fs>(
    segment: &Segment<F>,
    key: &[u8],
    write: &Kept,
) -> Result<Vec<u8>, StoreIoError> {
    let mut bytes = vec![0; record_bytes(key.len(), write.value_bytes() as usize)];
    segment.read(write.location.offset(), &mut bytes)?;
    Ok(bytes)
}

/// Where a record is. Its file stays while this is there, whatever becomes of the segment.
pub(crate) struct Place<F: Fs> {
    segment: Arc<Segment<F>>,
    /// The record, if it wasn't in its file yet.
    in_buffer: Option<Vec<u8>>,
}

impl<F: Fs> Place<F> {
    /// As [`Log::read`].
    pub(crate) fn read(&self, key: &[u8], write: &Kept) -> Result<Stored, StoreIoError> {
        let bytes = match &self.in_buffer {
            Some(bytes) => bytes.clone(),
            None => read_record(&self.segment, key, write)?,
        };
        Stored::decode(bytes, &self.segment, key, write)
    }
}

/// Segments by slot.
pub(crate) struct Table<F: Fs> {
    slots: Vec<Option<Held<F>>>,
}

impl<F: Fs> Table<F> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new() }
    }

    pub(crate) fn add(&mut self, held: Held<F>) -> Slot {
        self.slots.push(Some(held));
        let slot = u32::try_from(self.slots.len()).expect("fewer segments than 4 G in a life");
        Slot(NonZeroU32::new(slot).expect("one was just added"))
    }

    pub(crate) fn get(&self, slot: Slot) -> &Held<F> {
        let held = &self.slots[slot.0.get() as usize - 1];
        held.as_ref().expect("a slot outlives all that names it")
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Held<F> {
        let held = &mut self.slots[slot.0.get() as usize - 1];
        held.as_mut().expect("a slot outlives all that names it")
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        self.slots[slot.0.get() as usize - 1] = None;
    }
}

/// Invariants:
/// - `order` rises by segment number; its last is the one that is written
/// - what the index names is in a segment of the table, or in the buffer; so are the blobs
/// - `durable <= flushed_applied <= applied`
pub(crate) struct Log<F: Fs> {
    pub(crate) fs: Arc<F>,
    /// Where the segments are.
    pub(crate) dir: PathBuf,
    pub(crate) life: u64,
    /// Set when another state is installed in place of this one: what goes on beside the work
    /// then finds its files gone, and that is no failure.
    pub(crate) is_over: Arc<AtomicBool>,
    pub(crate) segment_bytes: u64,
    pub(crate) held_bytes_max: usize,
    pub(crate) table: Table<F>,
    /// The segments that are the log, oldest first.
    pub(crate) order: Vec<Slot>,
    /// Frames behind what the newest segment holds.
    pub(crate) buffer: Vec<u8>,
    /// The frame at the end of the buffer that isn't finished.
    pub(crate) frame: Option<FrameWriter>,
    /// Number of the next frame.
    pub(crate) next_sequence: u64,
    pub(crate) applied: AppliedId,
    pub(crate) flushed_applied: AppliedId,
    /// Number of the first frame that isn't flushed.
    pub(crate) flushed_sequence: u64,
    pub(crate) durable: AppliedId,
    /// A rewrite holds a clone: there is one at a time, or two would write one file.
    pub(crate) rewriting: Arc<()>,
    /// A sync point holds a clone until it has run.
    pub(crate) syncing: Arc<()>,
    /// Segments with a smaller number are synced.
    pub(crate) synced_before: u64,
    /// Segments up to this number have a durable name.
    pub(crate) named_up_to: u64,
    /// Segments with a smaller number are listed in the durable manifest.
    pub(crate) listed_before: u64,
    /// As `listed_before`, in a checkpoint that may still be on its way.
    pub(crate) asked_before: u64,
}

impl<F: Fs> Log<F> {
    pub(crate) fn newest(&self) -> Slot {
        *self.order.last().expect("there is always a newest segment")
    }

    pub(crate) fn newest_number(&self) -> u64 {
        self.table.get(self.newest()).segment.id.number
    }

    /// Whether what is applied should wait in the buffer, because a sync is under way: a file system
    /// may hold a write to a file for as long as its sync takes.
    pub(crate) fn holds(&self) -> bool {
        self.buffer.len() < self.held_bytes_max && Arc::strong_count(&self.syncing) > 1
    }

    /// Begins the frame of an entry, in a new segment if this one is full.
    pub(crate) fn begin(&mut self) -> Result<(), StoreIoError> {
        if !self.holds() {
            let written = self.table.get(self.newest()).bytes + self.buffer.len() as u64;
            if written >= self.segment_bytes && written > DATA_START {
                self.roll()?;
            } else if self.buffer.len() >= BUFFER_BYTES_MAX {
                self.flush()?;
            }
        }
        self.frame = Some(FrameWriter::begin(&mut self.buffer));
        Ok(())
    }

    /// Appends a record to the frame that was begun.
    pub(crate) fn push(&mut self, record: &Record<'_>) -> Location {
        let slot = self.newest();
        let frame = self.frame.as_mut().expect("a frame was begun");
        let at = frame.record(&mut self.buffer, record) as u64;
        let bytes = self.buffer.len() as u64 - at;
        let held = self.table.get_mut(slot);
        held.record_bytes += bytes;
        held.live_bytes += bytes;
        Location::new(slot, held.bytes + at)
    }

    /// Forgets a record of the frame that was begun; [`Log::clear_frame`] or
    /// [`Log::cancel_frame`] follow.
    pub(crate) fn take_back(&mut self, key: &[u8], write: &Kept) {
        let bytes = write.record_bytes(key);
        let held = self.table.get_mut(write.location.slot);
        held.record_bytes -= bytes;
        held.live_bytes -= bytes;
    }

    /// Leaves the frame without records.
    pub(crate) fn clear_frame(&mut self) {
        if let Some(frame) = &mut self.frame {
            frame.clear(&mut self.buffer);
        }
    }

    /// Leaves no frame.
    pub(crate) fn cancel_frame(&mut self) {
        if let Some(frame) = self.frame.take() {
            self.buffer.truncate(frame.start());
        }
    }

    /// Finishes the frame that was begun.
    pub(crate) fn finish(&mut self, at: AppliedId, compaction: Option<i64>, meta: Option<&[u8]>) {
        assert!(
            at.index > self.applied.index,
            "entry {at} is applied after {}",
            self.applied
        );
        let frame = self.frame.take().expect("a frame was begun");
        let held = self.table.get(self.newest());
        let frame_at = FrameAt {
            kind: Kind::Entry,
            salt: held.segment.salt,
            offset: held.bytes + frame.start() as u64,
            sequence: self.next_sequence,
            at,
        };
        frame.finish(&mut self.buffer, &frame_at, compaction, meta);
        self.next_sequence += 1;
        self.applied = at;
    }

    /// Writes the buffer. After an error it may be called again: the same bytes go to the same
    /// place.
    pub(crate) fn flush(&mut self) -> Result<(), StoreIoError> {
        if !self.buffer.is_empty() {
            let slot = self.newest();
            let held = self.table.get_mut(slot);
            held.segment.write(held.bytes, &self.buffer)?;
            held.bytes += self.buffer.len() as u64;
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER_BYTES_MAX);
        }
        self.flushed_applied = self.applied;
        self.flushed_sequence = self.next_sequence;
        Ok(())
    }

    fn roll(&mut self) -> Result<(), StoreIoError> {
        self.flush()?;
        let id = SegmentId::first(self.newest_number() + 1);
        let segment = Segment::create(&*self.fs, &self.dir, id, self.next_sequence)?;
        let slot = self.table.add(Held::new(Arc::new(segment)));
        self.order.push(slot);
        Ok(())
    }

    /// Reads the record of a kept write, and makes sure that it is what was written.
    pub(crate) fn read(&self, key: &[u8], write: &Kept) -> Result<Stored, StoreIoError> {
        let segment = &self.table.get(write.location.slot).segment;
        let bytes = match self.in_buffer(key, write) {
            Some(bytes) => bytes.to_vec(),
            None => read_record(segment, key, write)?,
        };
        Stored::decode(bytes, segment, key, write)
    }

    /// Where the record of a kept write is, for who reads it later.
    pub(crate) fn place(&self, key: &[u8], write: &Kept) -> Place<F> {
        Place {
            segment: Arc::clone(&self.table.get(write.location.slot).segment),
            in_buffer: self.in_buffer(key, write).map(<[u8]>::to_vec),
        }
    }

    /// The record of a kept write, if it isn't in its file yet.
    fn in_buffer(&self, key: &[u8], write: &Kept) -> Option<&[u8]> {
        let held = self.table.get(write.location.slot);
        let at = write.location.offset().checked_sub(held.bytes);
        let at = at.filter(|_| write.location.slot == self.newest())?;
        let at = usize::try_from(at).expect("inside the buffer");
        let bytes = record_bytes(key.len(), write.value_bytes() as usize);
        Some(&self.buffer[at..at + bytes])
    }

    /// Asserts the invariants listed at the type, and that live bytes are counted right.
    pub(crate) fn check_invariants(&self, index: &Index, blobs: &Blobs) {
        assert!(self.durable <= self.flushed_applied && self.flushed_applied <= self.applied);
        let numbers = |slot: &Slot| self.table.get(*slot).segment.id.number;
        assert!(self.order.iter().map(numbers).is_sorted_by(|a, b| a < b));
        let mut live: BTreeMap<Slot, u64> = BTreeMap::new();
        for (key, history) in index.iter() {
            for write in history.writes() {
                *live.entry(write.location.slot).or_default() += write.record_bytes(key);
            }
        }
        for (number, kept) in blobs.iter() {
            let bytes = kept.record_bytes(&blobs::key_of(number));
            *live.entry(kept.location.slot).or_default() += bytes;
        }
        for slot in &self.order {
            let held = self.table.get(*slot);
            let live = live.remove(slot).unwrap_or(0);
            assert_eq!(held.live_bytes, live, "{:?}", held.segment.id);
            assert!(held.live_bytes + held.buried_bytes <= held.record_bytes);
        }
    }
}
