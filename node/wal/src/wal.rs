//! The log's files, open for writing.

use std::fmt;
use std::path::{Path, PathBuf};

use raftery_defects::{Defect, is_on};
use raftery_fs::Fs;
use raftery_raft::{Entry, HardState, LogId, LogIndex, PersistBatch, PersistSeq};

use crate::frame::{HEADER_BYTES, Kind, SEQUENCE_SKIP, STATE_FRAME_BYTES};
use crate::kept::Kept;
use crate::prepare::Preparation;
use crate::recover::{Found, Sound, recover, segment_numbers};
use crate::segment::Segment;
use crate::{Recovered, WalError, WalIdentity, WalOptions, create, repair};

mod found;
mod keep;
mod write;

use write::{pad_bytes, page_of};

/// What a torn write keeps or loses as a whole; a seal starts a new one.
const SECTOR_BYTES: u64 = 512;
/// The longest pad: a gap too small for a header takes the next sector as well.
const PAD_BYTES_MAX: u64 = SECTOR_BYTES + HEADER_BYTES as u64;

/// The log's files. Everything is blocking; [`crate::WalWriter`] is the thread for it.
///
/// After an error every call returns [`WalError::Failed`] without touching a file: what a
/// failed write or sync left on disk is unknown, and only recovery may judge it.
///
/// Invariants:
/// - `covered <= durable <= last_sequence < next_sequence`, `last_batch <= last_sequence`
/// - `DATA_START <= page <= flushed <= offset`, `page` begins a page, `page + buffer.len() ==
///   offset`, and an end frame fits behind `offset`
/// - `base.index <= last.index`
/// - only `segment` has unsynced frames
pub struct Wal<F: Fs> {
    fs: F,
    dir: PathBuf,
    options: WalOptions,
    segment: Segment<F>,
    /// Where the next frame goes.
    offset: u64,
    /// What stands from `page` to `offset`: whole pages are written, the last one again and again.
    buffer: Vec<u8>,
    page: u64,
    /// Up to here the file has it.
    flushed: u64,
    /// Whether the file has bytes that no sync has covered.
    is_dirty: bool,
    /// The next segment, kept ready: the reserve for a full disk.
    spare: Spare<F>,
    /// Released segments that wait for their next life, by their old numbers.
    recycled: Vec<u64>,
    kept: Kept,
    /// Segments that nothing above it needs are to be released.
    cut_to: LogIndex,
    base: LogId,
    hard_state: HardState,
    last: LogId,
    repair_until: Option<LogId>,
    /// Number of the next frame of the log, through all lives, and of the last one.
    next_sequence: u64,
    last_sequence: u64,
    /// Last frame of the last batch.
    last_batch: u64,
    /// Highest frame known durable: the watermark of what is written next.
    durable: u64,
    /// Highest watermark written, and the highest written durably.
    vouched: u64,
    covered: u64,
    /// Highest batch of this life written, and the highest durable.
    appended: Option<PersistSeq>,
    acknowledged: Option<PersistSeq>,
    has_failed: bool,
}

/// The next segment.
enum Spare<F: Fs> {
    None,
    Preparing(Preparation<F>),
    Ready(Segment<F>),
}

/// What a call of [`Wal::housekeep`] came to.
#[derive(Debug)]
pub enum Housekeeping {
    /// Nothing is left to do.
    Done,
    /// A step was done, another one waits.
    More,
    /// The disk has no room for the next segment. What is written goes on fitting the segments
    /// that there are; call again after a pause, or after a cut.
    OutOfSpace(WalError),
}

impl<F: Fs> fmt::Debug for Wal<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("segment", &self.segment.path)
            .field("offset", &self.offset)
            .field("base", &self.base)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl<F: Fs> Wal<F> {
    /// Founds a log that begins behind `base` (zero: at the beginning) with these entries (which
    /// may be none), durably. A crash leaves all of it or no log; what an interrupted attempt
    /// left behind is removed.
    ///
    /// # Errors
    /// [`WalError::Exists`] when there is a log; what the file system refuses.
    pub fn create(
        fs: F,
        dir: &Path,
        identity: WalIdentity,
        options: WalOptions,
        base: LogId,
        first: &[Entry],
        hard_state: HardState,
    ) -> Result<Self, WalError> {
        let options = options.validate()?;
        repair::finish(&fs, dir)?;
        if !segment_numbers(&fs, dir)?.is_empty() {
            let dir = dir.to_path_buf();
            return Err(WalError::Exists { dir });
        }
        let making = create::begin(&fs, dir, create::FOUNDING)?;
        let temporary = &making.temporary;
        let mut wal = Self::found(fs, temporary, identity, options, base, hard_state, None)?;
        wal.fill(first)?;
        making.finish(&wal.fs, dir)?;
        wal.moved_to(dir);
        Ok(wal)
    }

    /// Opens and recovers the log in `dir`; `None` when there is none.
    ///
    /// # Errors
    /// [`WalError::Repairable`] when acknowledged data is damaged and the leader can help,
    /// [`WalError::Damaged`] and its kin when it can't: nothing was changed then. What the file
    /// system refuses.
    pub fn open(
        fs: F,
        dir: &Path,
        options: WalOptions,
    ) -> Result<Option<(Self, Recovered)>, WalError> {
        let options = options.validate()?;
        repair::finish(&fs, dir)?;
        match recover(&fs, dir)? {
            None => Ok(None),
            Some(Found::Damaged(damaged)) => {
                Err(WalError::Repairable(Box::new(damaged.into_damage())))
            }
            Some(Found::Sound(sound)) => Self::resume(fs, dir, options, sound).map(Some),
        }
    }

    fn resume(
        fs: F,
        dir: &Path,
        options: WalOptions,
        sound: Sound<F>,
    ) -> Result<(Self, Recovered), WalError> {
        let replay = sound.replay;
        let page = page_of(sound.offset);
        let buffer = sound.segment.read(page..sound.offset)?;
        let last_sequence = replay.sequence.unwrap_or(0);
        let mut wal = Self {
            fs,
            dir: dir.to_path_buf(),
            options,
            segment: sound.segment,
            offset: sound.offset,
            buffer,
            page,
            flushed: sound.offset,
            is_dirty: false,
            spare: sound.spare.map_or(Spare::None, Spare::Ready),
            recycled: sound.recycled,
            kept: replay.kept,
            cut_to: LogIndex(0),
            base: replay.base,
            hard_state: replay.hard_state,
            last: replay.last,
            repair_until: replay.repair_until,
            next_sequence: sound.sequence_max + SEQUENCE_SKIP,
            last_sequence,
            last_batch: replay.last_batch,
            // Recovery has read it from the disk.
            durable: last_sequence,
            vouched: replay.watermark,
            covered: replay.watermark,
            appended: None,
            acknowledged: None,
            has_failed: false,
        };
        // From here on the caller may promise what was recovered, so damage to it must show, and
        // what a crash left behind it must not come back.
        wal.guarded(Self::write_seal)?;
        let recovered = Recovered {
            identity: wal.identity(),
            hard_state: replay.hard_state,
            base: replay.base,
            entries: replay.entries,
            repair_until: replay.repair_until,
            torn_tail: sound.torn_tail,
        };
        Ok((wal, recovered))
    }

    /// Begins the repair of a log that [`Wal::open`] called [`WalError::Repairable`]: its files
    /// are kept in a directory beside it, `<dir>.damaged-<n>`, and a new log takes its place,
    /// durably. It holds what could be read, term and vote, and the entry that has to be reached
    /// again, which [`Recovered::repair_until`] repeats after each start until it is. A crash
    /// leaves the damaged log or the new one.
    ///
    /// # Errors
    /// [`WalError::NotRepairable`], [`WalError::Damaged`] and its kin; what the file system
    /// refuses.
    pub fn begin_repair(
        fs: F,
        dir: &Path,
        options: WalOptions,
    ) -> Result<(Self, Recovered), WalError> {
        let options = options.validate()?;
        repair::finish(&fs, dir)?;
        let Some(Found::Damaged(damaged)) = recover(&fs, dir)? else {
            let dir = dir.to_path_buf();
            return Err(WalError::NotRepairable { dir });
        };
        let (recovered, lock) = damaged.into_recovered();
        repair::clear(&fs, dir)?;
        let making = create::begin(&fs, dir, repair::MAKING)?;
        let mut wal = Self::found(
            fs,
            &making.temporary,
            recovered.identity,
            options,
            recovered.base,
            recovered.hard_state,
            recovered.repair_until,
        )?;
        wal.fill(&recovered.entries)?;
        repair::swap(&wal.fs, dir, making)?;
        drop(lock);
        wal.moved_to(dir);
        Ok((wal, recovered))
    }

    /// Whose log it is.
    pub fn identity(&self) -> WalIdentity {
        self.segment.identity
    }

    /// What a repair still has to reach; a rebase may have done it.
    pub fn repair_until(&self) -> Option<LogId> {
        self.repair_until
    }

    /// Writes a batch. It is durable only when [`Wal::sync`] returns its number. A batch with a
    /// base makes the log empty behind that first.
    ///
    /// # Errors
    /// [`WalError::NotContiguous`], [`WalError::EntryTooLarge`], and what the file system
    /// refuses. The log is of no more use then.
    pub fn append(&mut self, batch: &PersistBatch) -> Result<(), WalError> {
        self.stage(batch)?;
        self.guarded(Self::flush)
    }

    /// Like [`Wal::append`], but the file may get it only at [`Wal::sync`]: a burst is one write.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn stage(&mut self, batch: &PersistBatch) -> Result<(), WalError> {
        self.guarded(|wal| {
            wal.write_batch(batch.hard_state, batch.base, &batch.entries)?;
            wal.appended = Some(batch.seq);
            wal.flush_if_large()
        })
    }

    /// Makes all that was written durable. Returns the highest batch of this life that is;
    /// `None` before the first.
    ///
    /// # Errors
    /// [`WalError::Sync`]: the process must end, the sync is not retried.
    pub fn sync(&mut self) -> Result<Option<PersistSeq>, WalError> {
        self.guarded(|wal| {
            if is_on(Defect::AcknowledgeBeforeSync) {
                return Ok(wal.appended);
            }
            wal.sync_segment()?;
            Ok(wal.acknowledged)
        })
    }

    /// Whether no durable watermark covers the last batch: were it damaged now, it would pass
    /// for a torn tail.
    pub fn needs_seal(&self) -> bool {
        self.covered < self.last_batch
    }

    /// Syncs, then writes and syncs a seal if one is needed.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn seal(&mut self) -> Result<(), WalError> {
        self.guarded(|wal| {
            wal.sync_segment()?;
            if wal.needs_seal() {
                wal.write_seal()?;
            }
            Ok(())
        })
    }

    /// Makes the log empty behind `base`, durably: the state machine holds all up to there, and
    /// the log doesn't reach it. Earlier segments are released.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn rebase(&mut self, base: LogId, hard_state: HardState) -> Result<(), WalError> {
        self.guarded(|wal| wal.write_batch(hard_state, Some(base), &[]))?;
        self.seal()?;
        self.cut(base.index)
    }

    /// Writes pad and seal and syncs them. All before is durable.
    fn write_seal(&mut self) -> Result<(), WalError> {
        let before = self.last_sequence;
        self.make_room(PAD_BYTES_MAX + STATE_FRAME_BYTES)?;
        // A segment that just began has its seal.
        if self.last_sequence == before {
            let pad = pad_bytes(self.offset);
            let state = self.state(0);
            self.write(state.watermark, |frames| {
                if pad > 0 {
                    frames.pad(pad);
                }
                frames.state(Kind::Seal, &state);
            });
        }
        self.sync_segment()
    }
}
