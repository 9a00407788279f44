//! The log's files, open for writing.

use std::fmt;
use std::mem;
use std::path::{Path, PathBuf};

use raftery_defects::{Defect, is_on};
use raftery_fs::Fs;
use raftery_raft::{Entry, HardState, LogId, PersistBatch, PersistSeq};

use crate::create;
use crate::frame::{HEADER_BYTES, Kind, STATE_FRAME_BYTES};
use crate::recover::recover;
use crate::segment::{DATA_START, Preparation, Segment, file_name};
use crate::{Recovered, WalError, WalIdentity, WalOptions};

mod write;

use write::pad_bytes;

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
/// - `covered <= durable < next_sequence`, `last_batch < next_sequence`
/// - `DATA_START <= offset`, and an end frame fits behind `offset`
/// - only `segment` has unsynced frames
pub struct Wal<F: Fs> {
    fs: F,
    dir: PathBuf,
    options: WalOptions,
    segment: Segment<F>,
    /// Where the next frame goes.
    offset: u64,
    spare: Spare<F>,
    hard_state: HardState,
    last: LogId,
    /// Number of the next frame of the log, through all lives.
    next_sequence: u64,
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
    buffer: Vec<u8>,
}

/// The next segment.
enum Spare<F: Fs> {
    None,
    Preparing(Preparation<F>),
    Ready(Segment<F>),
}

impl<F: Fs> fmt::Debug for Wal<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("segment", &self.segment.path)
            .field("offset", &self.offset)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl<F: Fs> Wal<F> {
    /// Founds a log with these entries (which may be none), durably. A crash leaves all of it
    /// or no log; what an interrupted attempt left behind is removed.
    ///
    /// # Errors
    /// [`WalError::Exists`] when there is a log; what the file system refuses.
    pub fn create(
        fs: F,
        dir: &Path,
        identity: WalIdentity,
        options: WalOptions,
        first: &[Entry],
        hard_state: HardState,
    ) -> Result<Self, WalError> {
        let options = options.validate()?;
        let making = create::begin(&fs, dir)?;
        let bytes = options.segment_bytes;
        let segment = Preparation::start(&fs, &making.temporary, identity, 1, bytes)?
            .finish(&fs, &making.temporary)?;
        let mut wal = Self {
            fs,
            dir: making.temporary.clone(),
            options,
            segment,
            offset: DATA_START,
            spare: Spare::None,
            hard_state,
            last: LogId::default(),
            next_sequence: 1,
            last_batch: 0,
            durable: 0,
            vouched: 0,
            covered: 0,
            appended: None,
            acknowledged: None,
            has_failed: false,
            buffer: Vec::new(),
        };
        wal.write_batch(hard_state, first)?;
        wal.seal()?;
        making.finish(&wal.fs, dir)?;
        // An oversized first batch may have moved on to a second segment.
        wal.segment.path = dir.join(file_name(wal.segment.number));
        wal.dir = dir.to_path_buf();
        Ok(wal)
    }

    /// Opens and recovers the log in `dir`; `None` when there is none.
    ///
    /// # Errors
    /// [`WalError::Damaged`] and its kin when acknowledged data is damaged: nothing was changed
    /// then. What the file system refuses.
    pub fn open(
        fs: F,
        dir: &Path,
        options: WalOptions,
    ) -> Result<Option<(Self, Recovered)>, WalError> {
        let options = options.validate()?;
        let Some(scan) = recover(&fs, dir)? else {
            return Ok(None);
        };
        let replay = scan.replay;
        let mut wal = Self {
            fs,
            dir: dir.to_path_buf(),
            options,
            segment: scan.segment,
            offset: scan.offset,
            spare: scan.spare.map_or(Spare::None, Spare::Ready),
            hard_state: replay.hard_state,
            last: replay.last,
            next_sequence: replay.next_sequence,
            last_batch: replay.last_batch,
            // Recovery has read it from the disk.
            durable: replay.next_sequence - 1,
            vouched: replay.watermark,
            covered: replay.watermark,
            appended: None,
            acknowledged: None,
            has_failed: false,
            buffer: Vec::new(),
        };
        // From here on the caller may promise what was recovered, so damage to it must show.
        wal.seal()?;
        let recovered = Recovered {
            identity: scan.identity,
            hard_state: replay.hard_state,
            entries: replay.entries,
            torn_tail: scan.torn_tail,
        };
        Ok(Some((wal, recovered)))
    }

    /// Whose log it is.
    pub fn identity(&self) -> WalIdentity {
        self.segment.identity
    }

    /// Writes a batch. It is durable only when [`Wal::sync`] returns its number.
    ///
    /// # Errors
    /// [`WalError::NotContiguous`], [`WalError::EntryTooLarge`], and what the file system
    /// refuses. The log is of no more use then.
    pub fn append(&mut self, batch: &PersistBatch) -> Result<(), WalError> {
        self.guarded(|wal| {
            wal.write_batch(batch.hard_state, &batch.entries)?;
            wal.appended = Some(batch.seq);
            Ok(())
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
                wal.make_room(PAD_BYTES_MAX + STATE_FRAME_BYTES)?;
            }
            // Moving to the next segment may have done it.
            if wal.needs_seal() {
                let pad = pad_bytes(wal.offset);
                let state = wal.state(0);
                wal.write(state.watermark, |frames| {
                    if pad > 0 {
                        frames.pad(pad);
                    }
                    frames.state(Kind::Seal, &state);
                })?;
            }
            wal.sync_segment()
        })
    }

    /// Whether the next segment should be prepared now, ahead of need.
    pub(crate) fn wants_preparation(&self) -> bool {
        !matches!(self.spare, Spare::Ready(_)) && self.offset > self.segment.bytes / 2
    }

    /// Prepares a little of the next segment, or nothing if that isn't wanted.
    pub(crate) fn prepare(&mut self) -> Result<(), WalError> {
        if !self.wants_preparation() {
            return Ok(());
        }
        self.guarded(|wal| {
            let mut preparation = match mem::replace(&mut wal.spare, Spare::None) {
                Spare::Preparing(preparation) => preparation,
                Spare::None | Spare::Ready(_) => wal.start_next(wal.options.segment_bytes)?,
            };
            wal.spare = if preparation.step()? {
                Spare::Ready(preparation.finish(&wal.fs, &wal.dir)?)
            } else {
                Spare::Preparing(preparation)
            };
            Ok(())
        })
    }
}
