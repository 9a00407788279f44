//! Segments: the files of the log.
//!
//! Segment `n` (1, 2, …) is the file `<n as 16 hex digits>.wal`. It is made under another name
//! ([`crate::prepare`]), given its header, synced, and only then renamed: a segment without a
//! valid header is damaged, never half-made. A released segment that waits to become the next
//! one is `<n as 16 hex digits>.old`; its contents mean nothing.
//! Header, little-endian, in the first 4096 bytes:
//!
//! ```text
//! offset size
//!      0    8  "rafteryW"
//!      8    4  version of the format: 2
//!     12    4  zero
//!     16    8  number of the segment
//!     24    8  salt: random, new for each life of the file
//!     32    8  cluster ID
//!     40    8  lineage
//!     48    8  member ID
//!     56    8  length of the file in bytes
//!     64    4  CRC-32C of bytes 0..64
//!     68    …  zero, up to 4096
//! ```
//!
//! Frames follow from 4096 on ([`crate::frame`]). Behind the last one there are zeros, or frames
//! of an earlier life of the file, which another salt tells apart. A segment is longer than the
//! configured size only when one batch needs it.
//!
//! Version 1 had another state in its frames and no resets; no release wrote it, and this version
//! refuses it. `docs/adr/0007` says how versions follow each other.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crc32c::crc32c;
use raftery_fs::{Fs, FsFile};
use raftery_raft::MemberId;

use crate::{WalError, WalIdentity};
use raftery_fs::le::{u32_at, u64_at};

/// Where frames begin. A page of its own, so that appending never rewrites the header's.
pub(crate) const DATA_START: u64 = 4096;
/// Lengths of segments are multiples of it.
pub(crate) const SEGMENT_MULTIPLE: u64 = 4096;
pub(crate) const SEGMENT_BYTES_MIN: u64 = 16 << 10;

const MAGIC: &[u8; 8] = b"rafteryW";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 64;

pub(crate) fn file_name(number: u64) -> String {
    format!("{number:016x}.wal")
}

/// The number of the segment with this name, if it is one's name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(".wal")?, 16).ok()?;
    (name == file_name(number)).then_some(number)
}

pub(crate) fn recycled_name(number: u64) -> String {
    format!("{number:016x}.old")
}

/// The number that a released segment with this name had, if it is one's name.
pub(crate) fn recycled_number_of(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(".old")?, 16).ok()?;
    (name == recycled_name(number)).then_some(number)
}

/// An open segment with a valid header.
pub(crate) struct Segment<F: Fs> {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    /// Its length.
    pub(crate) bytes: u64,
    pub(crate) identity: WalIdentity,
    pub(crate) path: PathBuf,
    pub(crate) file: F::File,
}

impl<F: Fs> Segment<F> {
    /// Opens segment `number` and checks its header.
    pub(crate) fn open(fs: &F, dir: &Path, number: u64) -> Result<Self, WalError> {
        let path = dir.join(file_name(number));
        let file = fs.open(&path).map_err(WalError::io("open", &path))?;
        let damaged = |reason| WalError::SegmentHeader {
            file: path.clone(),
            reason,
        };
        let mut header = [0; HEADER_BYTES + 4];
        file.read_at(0, &mut header)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => damaged("shorter than a header"),
                _ => WalError::io("read", &path)(source),
            })?;
        if &header[..8] != MAGIC {
            return Err(damaged("not a segment"));
        }
        if u32_at(&header, HEADER_BYTES) != crc32c(&header[..HEADER_BYTES]) {
            return Err(damaged("the header's checksum doesn't hold"));
        }
        let value = u32_at(&header, 8);
        if value != VERSION {
            let what = "segment format";
            return Err(WalError::Unsupported {
                file: path,
                offset: 0,
                what,
                value,
            });
        }
        if u64_at(&header, 16) != number {
            return Err(damaged("the header is that of another segment"));
        }
        let expected = u64_at(&header, 56);
        let found = file.size().map_err(WalError::io("size of", &path))?;
        if found != expected {
            return Err(WalError::SegmentLength {
                file: path,
                expected,
                found,
            });
        }
        let identity = WalIdentity {
            cluster_id: u64_at(&header, 32),
            lineage: u64_at(&header, 40),
            member_id: MemberId(u64_at(&header, 48)),
        };
        Ok(Self {
            number,
            salt: u64_at(&header, 24),
            bytes: found,
            identity,
            path,
            file,
        })
    }

    /// Reads a part of it.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, WalError> {
        let len = range.end - range.start;
        let mut bytes = vec![0; usize::try_from(len).expect("files fit the address space")];
        self.file
            .read_at(range.start, &mut bytes)
            .map_err(WalError::io("read", &self.path))?;
        Ok(bytes)
    }

    /// The whole first page.
    pub(crate) fn header(&self) -> Vec<u8> {
        let page = usize::try_from(DATA_START).expect("a page");
        let mut header = Vec::with_capacity(page);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        for word in [
            self.number,
            self.salt,
            self.identity.cluster_id,
            self.identity.lineage,
            self.identity.member_id.0,
            self.bytes,
        ] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        header.extend_from_slice(&crc32c(&header).to_le_bytes());
        header.resize(page, 0);
        header
    }
}
