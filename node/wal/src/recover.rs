//! Recovery: from files to a log, or to a refusal.
//!
//! The log is read frame by frame until one is missing. Then there are two stories:
//!
//! - A valid header further on has a watermark at or above the missing frame: it was durable,
//!   so this is damage. The node may have promised what was in it. Nothing is changed.
//! - There is none: the frame belongs to writes that no sync covered, of which the disk kept
//!   some and lost others. Nobody was promised anything. All from the unit's beginning on,
//!   later segments included, is zeroed and synced before anything else is written, so that
//!   none of it becomes valid again when new frames are written before it.

use std::io;
use std::path::Path;

use raftery_defects::{Defect, is_on};
use raftery_fs::{Fs, FsFile};

use crate::frame::Frames;
use crate::replay::{Bad, Replay, Stop};
use crate::segment::{DATA_START, Segment, file_name, number_of, zero};
use crate::{TornTail, WalError, WalIdentity};

/// What recovery leaves behind.
pub(crate) struct Scan<F: Fs> {
    pub(crate) identity: WalIdentity,
    pub(crate) replay: Replay,
    /// The segment where the log ends.
    pub(crate) segment: Segment<F>,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// The segment behind it, if one was prepared; empty.
    pub(crate) spare: Option<Segment<F>>,
    pub(crate) torn_tail: Option<TornTail>,
}

/// Numbers of the segments in `dir`, ascending; none when there is no such directory.
pub(crate) fn segment_numbers<F: Fs>(fs: &F, dir: &Path) -> Result<Vec<u64>, WalError> {
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

/// Reads the log in `dir` and cuts its torn tail.
pub(crate) fn recover<F: Fs>(fs: &F, dir: &Path) -> Result<Option<Scan<F>>, WalError> {
    let numbers = segment_numbers(fs, dir)?;
    let Some(&newest) = numbers.last() else {
        return Ok(None);
    };
    if let Some(missing) = (1..=newest).find(|number| numbers.binary_search(number).is_err()) {
        return Err(WalError::SegmentMissing {
            file: dir.join(file_name(missing)),
        });
    }
    // An earlier process may have died between rename and sync.
    for dir in [dir, parent(dir)] {
        fs.sync_dir(dir).map_err(WalError::sync(dir))?;
    }
    let mut recovery = Recovery {
        fs,
        dir,
        newest,
        identity: None,
        replay: Replay::new(),
        data: Vec::new(),
    };
    let mut number = 1;
    loop {
        let segment = recovery.load(number)?;
        let frames = Frames {
            path: &segment.path,
            data: &recovery.data,
            salt: segment.salt,
        };
        match recovery.replay.segment(&frames)? {
            Stop::Bad(bad) => return recovery.cut(segment, &bad).map(Some),
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

struct Recovery<'a, F: Fs> {
    fs: &'a F,
    dir: &'a Path,
    newest: u64,
    identity: Option<WalIdentity>,
    replay: Replay,
    /// The segment loaded last.
    data: Vec<u8>,
}

impl<F: Fs> Recovery<'_, F> {
    /// Opens a segment and reads all of it.
    fn load(&mut self, number: u64) -> Result<Segment<F>, WalError> {
        let segment = Segment::open(self.fs, self.dir, number)?;
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
        self.data.resize(
            usize::try_from(segment.bytes).expect("files fit the address space"),
            0,
        );
        segment
            .file
            .read_at(0, &mut self.data)
            .map_err(WalError::io("read", &segment.path))?;
        Ok(segment)
    }

    /// Judges a missing frame in the segment loaded last: refuses, or zeroes from there on.
    fn cut(mut self, segment: Segment<F>, bad: &Bad) -> Result<Scan<F>, WalError> {
        let file = segment.path.clone();
        let first = segment.number;
        let mut tails = vec![self.tail(segment, bad.unit_offset, bad)];
        for number in first + 1..=self.newest {
            let segment = self.load(number)?;
            tails.push(self.tail(segment, DATA_START, bad));
        }
        let watermark = tails
            .iter()
            .filter_map(|tail| tail.watermark)
            .max()
            .unwrap_or(0);
        if watermark >= bad.unit_sequence && !is_on(Defect::CutCorruptMiddle) {
            let Bad {
                offset, sequence, ..
            } = *bad;
            return Err(WalError::Damaged {
                file,
                offset,
                sequence,
                watermark,
            });
        }
        for Tail {
            segment,
            from,
            used,
            ..
        } in tails.iter().filter(|tail| tail.used > 0)
        {
            zero(&segment.file, *from, *used).map_err(WalError::io("zero", &segment.path))?;
            segment
                .file
                .sync_data()
                .map_err(WalError::sync(&segment.path))?;
        }
        let bytes = tails.iter().map(|tail| tail.used).sum();
        let torn_tail = (bytes > 0).then_some(TornTail {
            file,
            offset: bad.unit_offset,
            bytes,
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
        let mut segments = tails.into_iter().map(|tail| tail.segment);
        let (segment, spare) = (segments.next().expect("the first tail"), segments.next());
        let identity = segment.identity;
        let offset = bad.unit_offset;
        Ok(Scan {
            identity,
            replay: self.replay,
            segment,
            offset,
            spare,
            torn_tail,
        })
    }

    /// What is behind `from` in the segment loaded last.
    fn tail(&self, segment: Segment<F>, from: u64, bad: &Bad) -> Tail<F> {
        let frames = Frames {
            path: &segment.path,
            data: &self.data,
            salt: segment.salt,
        };
        let watermark = frames.highest_watermark(from, bad.unit_sequence);
        let start = usize::try_from(from).expect("inside the segment");
        let used = self.data[start..]
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        Tail {
            segment,
            from,
            used: used as u64,
            watermark,
        }
    }
}

/// A segment from the cut on.
struct Tail<F: Fs> {
    segment: Segment<F>,
    from: u64,
    /// Bytes up to the last one that is not zero.
    used: u64,
    /// The highest in a valid frame.
    watermark: Option<u64>,
}
