//! Segments: the files of the log.
//!
//! A segment is the file `<number>-<generation>.log`, both as 16 hex digits. Numbers rise in the
//! order of the log. Generation 0 is what was written entry by entry; a rewrite of segments that
//! are mostly dead makes one file of a higher generation out of them, under the number of the
//! last. Header, little-endian, in the first 4096 bytes:
//!
//! ```text
//! offset size
//!      0    8  "rafteryS"
//!      8    4  version of the format: 1
//!     12    4  zero
//!     16    8  number of the segment
//!     24    8  generation
//!     32    8  salt: random, new for each file
//!     40    8  sequence of the first frame
//!     48    4  CRC-32C of bytes 0..48
//!     52    …  zero, up to 4096
//! ```
//!
//! Frames follow from 4096 on ([`crate::frame`]). Files grow as they are written: nobody waits
//! for their syncs, so there is nothing to gain from zeros written ahead. A segment is followed
//! by the next once it has the configured size; the last entry may reach beyond it.

use std::io;
use std::path::{Path, PathBuf};

use crc32c::crc32c;
use raftery_fs::{Fs, FsFile};

use crate::error::StoreIoError;
use crate::files::remove_file;
use raftery_fs::le::{u32_at, u64_at};

/// Where frames begin. A page of its own, so that appending never rewrites the header's.
pub(crate) const DATA_START: u64 = 4096;

const MAGIC: &[u8; 8] = b"rafteryS";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 48;

/// Names a file of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentId {
    pub(crate) number: u64,
    pub(crate) generation: u64,
}

impl SegmentId {
    /// Segment `number` as it is written first.
    pub(crate) fn first(number: u64) -> Self {
        Self {
            number,
            generation: 0,
        }
    }

    pub(crate) fn file_name(self) -> String {
        format!("{:016x}-{:016x}.log", self.number, self.generation)
    }

    /// The segment with this file name, if it is one's.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let (number, generation) = name.strip_suffix(".log")?.split_once('-')?;
        let id = Self {
            number: u64::from_str_radix(number, 16).ok()?,
            generation: u64::from_str_radix(generation, 16).ok()?,
        };
        (name == id.file_name()).then_some(id)
    }
}

/// An open segment.
pub(crate) struct Segment<F: Fs> {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    /// Sequence of the first frame.
    pub(crate) sequence: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: F::File,
}

impl<F: Fs> Segment<F> {
    /// Creates a segment in `dir`; what is left of an earlier attempt goes. Neither file nor
    /// name are durable.
    pub(crate) fn create(
        fs: &F,
        dir: &Path,
        id: SegmentId,
        sequence: u64,
    ) -> Result<Self, StoreIoError> {
        let path = dir.join(id.file_name());
        let salt = fs
            .random()
            .map_err(StoreIoError::io("draw a salt for", &path, 0))?;
        let segment = Self::create_blank(fs, dir, id, salt)?;
        let segment = Self {
            sequence,
            ..segment
        };
        segment.write(0, &segment.header())?;
        Ok(segment)
    }

    /// As [`Segment::create`], for bytes that come from elsewhere, the header included.
    pub(crate) fn create_blank(
        fs: &F,
        dir: &Path,
        id: SegmentId,
        salt: u64,
    ) -> Result<Self, StoreIoError> {
        let path = dir.join(id.file_name());
        remove_file(fs, &path)?;
        let file = fs
            .create(&path)
            .map_err(StoreIoError::io("create", &path, 0))?;
        Ok(Self {
            id,
            salt,
            sequence: 0,
            path,
            file,
        })
    }

    /// Opens a segment and checks its header.
    pub(crate) fn open(fs: &F, dir: &Path, id: SegmentId) -> Result<Self, StoreIoError> {
        let path = dir.join(id.file_name());
        let damaged = |reason| StoreIoError::damaged(&path, 0, reason);
        let file = fs.open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => damaged("missing"),
            _ => StoreIoError::io("open", &path, 0)(source),
        })?;
        let mut header = [0; HEADER_BYTES + 4];
        file.read_at(0, &mut header)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => damaged("shorter than a header"),
                _ => StoreIoError::io("read", &path, 0)(source),
            })?;
        if &header[..8] != MAGIC || u32_at(&header, HEADER_BYTES) != crc32c(&header[..HEADER_BYTES])
        {
            return Err(damaged("the header's checksum doesn't hold"));
        }
        let value = u32_at(&header, 8);
        if value != VERSION {
            return Err(StoreIoError::Unsupported {
                path,
                offset: 0,
                what: "segment format",
                value,
            });
        }
        let found = SegmentId {
            number: u64_at(&header, 16),
            generation: u64_at(&header, 24),
        };
        if found != id {
            return Err(damaged("the header is that of another segment"));
        }
        Ok(Self {
            id,
            salt: u64_at(&header, 32),
            sequence: u64_at(&header, 40),
            path,
            file,
        })
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(DATA_START as usize);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        for word in [self.id.number, self.id.generation, self.salt, self.sequence] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        header.extend_from_slice(&crc32c(&header).to_le_bytes());
        header.resize(DATA_START as usize, 0);
        header
    }

    pub(crate) fn sync(&self) -> Result<(), StoreIoError> {
        self.file
            .sync_data()
            .map_err(StoreIoError::sync(&self.path))
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreIoError> {
        self.file
            .write_at(offset, bytes)
            .map_err(StoreIoError::io("write", &self.path, offset))
    }

    /// Fills `buf`; a file that ends before was cut by somebody.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), StoreIoError> {
        self.file
            .read_at(offset, buf)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => {
                    StoreIoError::damaged(&self.path, offset, "the file ends before")
                }
                _ => StoreIoError::io("read", &self.path, offset)(source),
            })
    }

    pub(crate) fn size(&self) -> Result<u64, StoreIoError> {
        self.file
            .size()
            .map_err(StoreIoError::io("size of", &self.path, 0))
    }
}
