//! Frames: what a segment consists of behind its header.
//!
//! A frame begins at a multiple of 8 and ends there. All integers are little-endian.
//!
//! ```text
//! offset size
//!      0    4  CRC-32C of: salt of the segment (8) ‖ offset of the frame in the file (8) ‖ bytes 4..40
//!      4    4  CRC-32C of the payload
//!      8    8  sequence: one more for each frame of the log; in a copied segment from 1
//!     16    8  term of the Raft entry; 0 in a copy
//!     24    8  index of the Raft entry; 0 in a copy
//!     32    4  length of the payload in bytes, a multiple of 8
//!     36    1  kind: 1 entry, 2 copy
//!     37    1  version of the payload: 1
//!     38    2  zero
//!     40    …  payload
//! ```
//!
//! Salt, offset and sequence are in the checksum so that neither frames of an earlier file nor
//! client data that looks like a frame pass for one. The payload:
//!
//! ```text
//!      0    4  number of records
//!      4    4  length of the meta bytes; all ones: the entry has none
//!      8    8  compact revision that the entry set; −1: it didn't compact
//!     16    …  records ([`crate::record`]), then meta bytes, zero-padded
//! ```
//!
//! An **entry** frame is all that one Raft entry did, so half an entry is never recovered. A
//! **copy** frame holds records that a rewrite took over from older segments.

use std::path::Path;

use crc32c::{crc32c, crc32c_append};
use raftery_defects::{Defect, is_on};

use crate::AppliedId;
use crate::error::StoreIoError;
use crate::record::Record;
use raftery_fs::le::{i64_at, u32_at, u64_at};

pub(crate) const HEADER_BYTES: usize = 40;
/// Before the records.
const PREFIX_BYTES: usize = 16;
const VERSION: u8 = 1;
const NO_META: u32 = u32::MAX;
const NO_COMPACTION: i64 = -1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Entry = 1,
    Copy = 2,
}

/// Encodes one frame at the end of a buffer, record by record.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    start: usize,
    records: u32,
}

/// What the header says and where the frame will stand.
pub(crate) struct FrameAt {
    pub(crate) kind: Kind,
    pub(crate) salt: u64,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
    pub(crate) at: AppliedId,
}

impl FrameWriter {
    pub(crate) fn begin(buffer: &mut Vec<u8>) -> Self {
        let start = buffer.len();
        buffer.resize(start + HEADER_BYTES + PREFIX_BYTES, 0);
        Self { start, records: 0 }
    }

    /// Appends a record; returns where in the buffer it begins.
    pub(crate) fn record(&mut self, buffer: &mut Vec<u8>, record: &Record<'_>) -> usize {
        let at = buffer.len();
        record.encode(buffer);
        self.records += 1;
        at
    }

    /// Appends a record that is encoded already; returns where in the buffer it begins.
    pub(crate) fn encoded(&mut self, buffer: &mut Vec<u8>, record: &[u8]) -> usize {
        let at = buffer.len();
        buffer.extend_from_slice(record);
        self.records += 1;
        at
    }

    /// Where in the buffer the frame begins.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Takes all records back.
    pub(crate) fn clear(&mut self, buffer: &mut Vec<u8>) {
        buffer.truncate(self.start + HEADER_BYTES + PREFIX_BYTES);
        self.records = 0;
    }

    pub(crate) fn finish(
        self,
        buffer: &mut Vec<u8>,
        frame: &FrameAt,
        compaction: Option<i64>,
        meta: Option<&[u8]>,
    ) {
        let body = self.start + HEADER_BYTES;
        let meta_bytes = meta.map_or(NO_META, |meta| length(meta.len()));
        buffer[body..body + 4].copy_from_slice(&self.records.to_le_bytes());
        buffer[body + 4..body + 8].copy_from_slice(&meta_bytes.to_le_bytes());
        let compaction = compaction.unwrap_or(NO_COMPACTION);
        buffer[body + 8..body + 16].copy_from_slice(&compaction.to_le_bytes());
        buffer.extend_from_slice(meta.unwrap_or_default());
        buffer.resize(buffer.len().next_multiple_of(8), 0);
        let payload_bytes = length(buffer.len() - body);
        let payload_crc = crc32c(&buffer[body..]);
        let header = &mut buffer[self.start..body];
        header[4..8].copy_from_slice(&payload_crc.to_le_bytes());
        header[8..16].copy_from_slice(&frame.sequence.to_le_bytes());
        header[16..24].copy_from_slice(&frame.at.term.to_le_bytes());
        header[24..32].copy_from_slice(&frame.at.index.to_le_bytes());
        header[32..36].copy_from_slice(&payload_bytes.to_le_bytes());
        header[36] = frame.kind as u8;
        header[37] = VERSION;
        let crc = header_crc(frame.salt, frame.offset, &header[4..]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("an entry is bounded far below 4 GiB")
}

fn header_crc(salt: u64, offset: u64, rest: &[u8]) -> u32 {
    let crc = crc32c_append(crc32c(&salt.to_le_bytes()), &offset.to_le_bytes());
    crc32c_append(crc, rest)
}

/// A frame whose checksums hold.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) at: AppliedId,
    pub(crate) compaction: Option<i64>,
    pub(crate) meta: Option<&'a [u8]>,
    /// Where in the file the records begin.
    pub(crate) records_at: u64,
    records: u32,
    body: &'a [u8],
    /// Where the next frame begins.
    pub(crate) next: u64,
}

/// Reads the frames of one segment.
pub(crate) struct Frames<'a> {
    /// For errors.
    pub(crate) path: &'a Path,
    /// The file from `start` on.
    pub(crate) data: &'a [u8],
    pub(crate) start: u64,
    pub(crate) salt: u64,
}

impl<'a> Frames<'a> {
    /// The frame number `sequence` at `offset`; `None` if there is no such valid frame.
    pub(crate) fn at(&self, offset: u64, sequence: u64) -> Result<Option<Frame<'a>>, StoreIoError> {
        let Some(header) = self.header(offset, sequence) else {
            return Ok(None);
        };
        // From here on the header is one that a node wrote: what is strange is not a torn write.
        let unsupported = |what, value: u8| StoreIoError::Unsupported {
            path: self.path.to_path_buf(),
            offset,
            what,
            value: u32::from(value),
        };
        let kind = match header[36] {
            1 => Kind::Entry,
            2 => Kind::Copy,
            other => return Err(unsupported("frame kind", other)),
        };
        if header[37] != VERSION {
            return Err(unsupported("frame version", header[37]));
        }
        let body = self.slice(offset + HEADER_BYTES as u64, u32_at(header, 32) as usize);
        let Some(payload) = body.filter(|payload| {
            crc32c(payload) == u32_at(header, 4) || is_on(Defect::RecoverHalfEntry)
        }) else {
            return Ok(None);
        };
        let malformed = || StoreIoError::damaged(self.path, offset, "a frame contradicts itself");
        let frame = parse(header, payload, offset).ok_or_else(malformed)?;
        Ok(Some(Frame { kind, ..frame }))
    }

    /// Length of the frame number `sequence` at `offset`, by its header alone.
    pub(crate) fn frame_bytes(&self, offset: u64, sequence: u64) -> Option<u64> {
        let header = self.header(offset, sequence)?;
        Some(HEADER_BYTES as u64 + u64::from(u32_at(header, 32)))
    }

    fn header(&self, offset: u64, sequence: u64) -> Option<&'a [u8]> {
        let header = self.slice(offset, HEADER_BYTES)?;
        let is_valid = u64_at(header, 8) == sequence
            && u32_at(header, 0) == header_crc(self.salt, offset, &header[4..]);
        is_valid.then_some(header)
    }

    fn slice(&self, offset: u64, bytes: usize) -> Option<&'a [u8]> {
        let start = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.data.get(start..start.checked_add(bytes)?)
    }
}

fn parse<'a>(header: &[u8], payload: &'a [u8], offset: u64) -> Option<Frame<'a>> {
    let body = payload.get(PREFIX_BYTES..)?;
    let meta_bytes = u32_at(payload, 4);
    let compaction = i64_at(payload, 8);
    let mut frame = Frame {
        kind: Kind::Entry,
        at: AppliedId {
            term: u64_at(header, 16),
            index: u64_at(header, 24),
        },
        compaction: (compaction != NO_COMPACTION).then_some(compaction),
        meta: None,
        records_at: offset + (HEADER_BYTES + PREFIX_BYTES) as u64,
        records: u32_at(payload, 0),
        body,
        next: offset + (HEADER_BYTES + payload.len()) as u64,
    };
    let mut behind = 0;
    for (at, record) in frame.records() {
        behind = at + record?.1;
    }
    if meta_bytes != NO_META {
        frame.meta = Some(body.get(behind..behind.checked_add(meta_bytes as usize)?)?);
    }
    Some(frame)
}

impl<'a> Frame<'a> {
    /// Offset behind `records_at`, record and length of each; `None` at one that makes no
    /// sense, which [`Frames::at`] has ruled out.
    pub(crate) fn records(
        &self,
    ) -> impl Iterator<Item = (usize, Option<(Record<'a>, usize)>)> + use<'a> {
        let (body, mut at, mut left) = (self.body, 0, self.records);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let record = body.get(at..).and_then(Record::parse);
            let place = at;
            at += record.map_or(body.len(), |(_, bytes)| bytes);
            Some((place, record))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_passes_only_in_its_file_at_its_place_and_in_its_turn() {
        let frame_at = FrameAt {
            kind: Kind::Entry,
            salt: 7,
            offset: 4_096,
            sequence: 5,
            at: AppliedId { term: 1, index: 3 },
        };
        let mut data = Vec::new();
        FrameWriter::begin(&mut data).finish(&mut data, &frame_at, Some(9), Some(b"meta"));
        let found = |start, salt, sequence| {
            let frames = Frames {
                path: Path::new("frames"),
                data: &data,
                start,
                salt,
            };
            let frame = frames.at(start, sequence).unwrap();
            frame.map(|frame| (frame.at, frame.compaction, frame.meta.map(<[u8]>::to_vec)))
        };
        let whole = Some((frame_at.at, Some(9), Some(b"meta".to_vec())));
        assert_eq!(found(4_096, 7, 5), whole);
        assert_eq!(found(4_104, 7, 5), None, "at another place");
        assert_eq!(found(4_096, 8, 5), None, "in another file");
        assert_eq!(found(4_096, 7, 6), None, "out of turn");
    }
}
