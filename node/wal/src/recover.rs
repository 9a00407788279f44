//! Recovery: from files to a log, to damage that can be repaired, or to a refusal.
//!
//! The log is read frame by frame, from the lowest segment that is there, until a frame is
//! missing. Then there are two stories:
//!
//! - A valid header further on has a watermark at or above the missing frame: it was durable,
//!   so this is damage. The node may have promised what was in it. The highest valid header says
//!   where the log ended and what was voted; with that the node can have the rest from its
//!   leader ([`crate::repair`]). The same holds when a segment in the middle can't be read at
//!   all. Where nothing valid comes behind what can't be read, the end of the log is unknown,
//!   and the log is refused.
//! - There is none: the frame belongs to writes that no sync covered, of which the disk kept
//!   some and lost others. Nobody was promised anything. The log goes on there, with sequences
//!   that what is left behind doesn't have ([`crate::frame`]).
//!
//! Looking changes nothing on disk.

use std::io;
use std::path::Path;

use memmap2::MmapMut;
use raftery_defects::{Defect, is_on};
use raftery_fs::{Fs, FsFile};

use crate::frame::{Frames, State, Tail};
use crate::replay::{Bad, Replay, Stop};
use crate::segment::{DATA_START, Segment, file_name, number_of, recycled_number_of};
use crate::{TornTail, WalError, WalIdentity};

/// What recovery found.
pub(crate) enum Found<F: Fs> {
    /// A log to go on with.
    Sound(Sound<F>),
    /// A log that has to be repaired.
    Damaged(Damaged<F>),
}

/// A log to go on with.
pub(crate) struct Sound<F: Fs> {
    pub(crate) replay: Replay,
    /// The segment where the log ends.
    pub(crate) segment: Segment<F>,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// Highest sequence that was seen, cut frames included.
    pub(crate) sequence_max: u64,
    /// The segment behind it, if one was prepared; empty.
    pub(crate) spare: Option<Segment<F>>,
    /// Released segments that wait for their next life.
    pub(crate) recycled: Vec<u64>,
    pub(crate) torn_tail: Option<TornTail>,
}

/// A log whose middle can't be read.
pub(crate) struct Damaged<F: Fs> {
    pub(crate) identity: WalIdentity,
    /// What is wrong where.
    pub(crate) cause: WalError,
    /// What comes before that.
    pub(crate) prefix: Replay,
    /// The highest valid header.
    pub(crate) newest: State,
    /// One of its segments, which keeps other processes out as long as it is open.
    pub(crate) lock: Option<Segment<F>>,
}

/// Numbers of the segments in `dir`, ascending; none when there is no such directory. Released
/// segments alone are a log that somebody has taken apart.
pub(crate) fn segment_numbers<F: Fs>(fs: &F, dir: &Path) -> Result<Vec<u64>, WalError> {
    let segments = numbers(fs, dir, number_of)?;
    match (
        segments.first(),
        numbers(fs, dir, recycled_number_of)?.last(),
    ) {
        (None, Some(released)) => Err(WalError::SegmentMissing {
            file: dir.join(file_name(released + 1)),
        }),
        _ => Ok(segments),
    }
}

fn numbers<F: Fs>(
    fs: &F,
    dir: &Path,
    number_of: fn(&str) -> Option<u64>,
) -> Result<Vec<u64>, WalError> {
    let names = match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(WalError::io("list", dir))?,
    };
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| number_of(name.to_str()?))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads the log in `dir`.
pub(crate) fn recover<F: Fs>(fs: &F, dir: &Path) -> Result<Option<Found<F>>, WalError> {
    let numbers = segment_numbers(fs, dir)?;
    let (Some(&lowest), Some(&newest)) = (numbers.first(), numbers.last()) else {
        return Ok(None);
    };
    // An earlier process may have died between rename and sync.
    for dir in [dir, parent(dir)] {
        fs.sync_dir(dir).map_err(WalError::sync(dir))?;
    }
    let mut recovery = Recovery {
        fs,
        dir,
        newest,
        identity: None,
        replay: Replay::default(),
        data: MmapMut::map_anon(0).map_err(WalError::io("map memory for", dir))?,
    };
    let mut number = lowest;
    loop {
        let segment = match recovery.load(number)? {
            Loaded::Segment(segment) => segment,
            Loaded::Unreadable(cause) => return recovery.unreadable(number, cause).map(Some),
        };
        let frames = Frames {
            path: &segment.path,
            data: &recovery.data,
            salt: segment.salt,
        };
        match recovery.replay.segment(number, &frames)? {
            Stop::Bad(bad) => return recovery.judge(segment, &bad).map(Some),
            Stop::End if number == newest => {
                let file = dir.join(file_name(number + 1));
                return Err(WalError::SegmentMissing { file });
            }
            Stop::End => number += 1,
        }
    }
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

enum Loaded<F: Fs> {
    Segment(Segment<F>),
    /// It is damaged as a whole: missing, of a wrong length, or without a header.
    Unreadable(WalError),
}

struct Recovery<'a, F: Fs> {
    fs: &'a F,
    dir: &'a Path,
    newest: u64,
    identity: Option<WalIdentity>,
    replay: Replay,
    /// The segment loaded last. Pages of its own: the allocator would keep those of a whole segment
    /// for as long as the process lives.
    data: MmapMut,
}

/// What comes behind the end of what could be read.
struct Behind<F: Fs> {
    watermark: Option<u64>,
    newest: Option<(u64, State)>,
    /// The first readable segment among them.
    spare: Option<Segment<F>>,
    /// What is wrong with the last one that can't be read.
    unreadable: Option<WalError>,
    /// Whether nothing valid comes behind that.
    hides_end: bool,
}

impl<F: Fs> Recovery<'_, F> {
    /// Opens a segment and reads all of it.
    fn load(&mut self, number: u64) -> Result<Loaded<F>, WalError> {
        let segment = match Segment::open(self.fs, self.dir, number) {
            Ok(segment) => segment,
            Err(WalError::Io { path, source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Loaded::Unreadable(WalError::SegmentMissing { file: path }));
            }
            Err(error @ (WalError::SegmentHeader { .. } | WalError::SegmentLength { .. })) => {
                return Ok(Loaded::Unreadable(error));
            }
            Err(error) => return Err(error),
        };
        let expected = *self.identity.get_or_insert(segment.identity);
        if segment.identity != expected {
            let (file, found) = (segment.path, segment.identity);
            return Err(WalError::Foreign {
                file,
                expected,
                found,
            });
        }
        // Older ones were synced before their successor got its first frame.
        if number + 1 >= self.newest {
            segment
                .file
                .reread()
                .map_err(WalError::sync(&segment.path))?;
        }
        let bytes = usize::try_from(segment.bytes).expect("files fit the address space");
        if self.data.len() != bytes {
            self.data =
                MmapMut::map_anon(bytes).map_err(WalError::io("map memory for", &segment.path))?;
        }
        segment
            .file
            .read_at(0, &mut self.data)
            .map_err(WalError::io("read", &segment.path))?;
        Ok(Loaded::Segment(segment))
    }

    /// Judges a missing frame in the segment loaded last.
    fn judge(mut self, segment: Segment<F>, bad: &Bad) -> Result<Found<F>, WalError> {
        // A unit that is there in part is torn as well, so its own header is among what is seen.
        let here = self.tail(
            &segment,
            bad.unit_offset,
            bad.unit_sequence.saturating_sub(1),
        );
        let behind = self.behind(segment.number + 1, bad.unit_sequence)?;
        let watermark = here.watermark.max(behind.watermark);
        let cause = if self.replay.sequence.is_none() {
            // A segment has its first frame, durably, before it becomes the lowest.
            Some(WalError::FirstFrame {
                file: segment.path.clone(),
            })
        } else {
            watermark
                .filter(|watermark| *watermark >= bad.unit_sequence)
                .filter(|_| !is_on(Defect::CutCorruptMiddle))
                .map(|watermark| WalError::Damaged {
                    file: segment.path.clone(),
                    offset: bad.offset,
                    sequence: bad.sequence,
                    watermark,
                })
        };
        let newest = behind.newest.or(here.newest);
        match (cause, behind.unreadable, newest) {
            (_, Some(unreadable), _) if behind.hides_end => return Err(unreadable),
            (Some(cause), _, Some((_, newest))) | (None, Some(cause), Some((_, newest))) => {
                return Ok(self.damaged(cause, newest, Some(segment)));
            }
            (Some(cause), _, None) | (None, Some(cause), None) => return Err(cause),
            (None, None, _) => {}
        }
        let torn_tail = (here.end > bad.unit_offset).then(|| TornTail {
            file: segment.path.clone(),
            offset: bad.unit_offset,
            bytes: here.end - bad.unit_offset,
        });
        if let Some(TornTail {
            file,
            offset,
            bytes,
        }) = &torn_tail
        {
            let file = file.display();
            tracing::warn!(%file, offset, bytes, "cut a torn tail: writes that no sync covered");
        }
        self.replay.settle();
        let seen = here.newest.map_or(0, |(sequence, _)| sequence);
        Ok(Found::Sound(Sound {
            offset: bad.unit_offset,
            sequence_max: seen.max(self.replay.sequence.unwrap_or(0)),
            recycled: numbers(self.fs, self.dir, recycled_number_of)?,
            replay: self.replay,
            segment,
            spare: behind.spare,
            torn_tail,
        }))
    }

    /// Judges a log that goes on in a segment which can't be read.
    fn unreadable(mut self, number: u64, cause: WalError) -> Result<Found<F>, WalError> {
        let before = self.replay.sequence.unwrap_or(0);
        match self.behind(number + 1, before)? {
            Behind {
                newest: Some((_, newest)),
                hides_end: false,
                spare,
                ..
            } => Ok(self.damaged(cause, newest, spare)),
            Behind { .. } => Err(cause),
        }
    }

    fn damaged(mut self, cause: WalError, newest: State, lock: Option<Segment<F>>) -> Found<F> {
        self.replay.settle();
        Found::Damaged(Damaged {
            identity: self
                .identity
                .expect("a header was read with the newest state"),
            cause,
            prefix: self.replay,
            newest,
            lock,
        })
    }

    /// What is in the segments from `first` on.
    fn behind(&mut self, first: u64, sequence: u64) -> Result<Behind<F>, WalError> {
        let mut behind = Behind {
            watermark: None,
            newest: None,
            spare: None,
            unreadable: None,
            hides_end: false,
        };
        for number in first..=self.newest {
            match self.load(number)? {
                Loaded::Unreadable(cause) => {
                    behind.unreadable = Some(cause);
                    behind.hides_end = true;
                }
                Loaded::Segment(segment) => {
                    let tail = self.tail(&segment, DATA_START, sequence);
                    if tail.newest.is_some() {
                        behind.newest = tail.newest;
                        behind.hides_end = false;
                    }
                    behind.watermark = behind.watermark.max(tail.watermark);
                    behind.spare.get_or_insert(segment);
                }
            }
        }
        Ok(behind)
    }

    /// What is behind `from` in the segment loaded last.
    fn tail(&self, segment: &Segment<F>, from: u64, sequence: u64) -> Tail {
        let frames = Frames {
            path: &segment.path,
            data: &self.data,
            salt: segment.salt,
        };
        frames.tail(from, sequence)
    }
}
