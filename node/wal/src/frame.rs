//! Frames: what a segment consists of behind its header.
//!
//! A frame begins at a multiple of 8 and ends there, zero-padded. All integers are
//! little-endian.
//!
//! ```text
//! offset size
//!      0    4  CRC-32C of: salt of the segment (8) ‖ offset of the frame in the file (8) ‖ bytes 4..24
//!      4    4  CRC-32C of the payload
//!      8    8  sequence: 1 for the first frame of the log, one more for each further one
//!     16    4  length of the payload in bytes
//!     20    1  kind: 1 batch, 2 entry, 3 seal, 4 pad, 5 end
//!     21    1  version of the payload: 1
//!     22    2  zero
//!     24    …  payload
//! ```
//!
//! Salt, offset and sequence are in the checksum so that neither frames of an earlier life of
//! the file nor client data that looks like a frame pass for one.
//!
//! - A **batch** frame and the entry frames that follow it are one unit: all or none.
//! - An **entry** frame holds one entry ([`crate::entry`]).
//! - A **seal** repeats the state and covers what came before; each segment starts with one.
//! - A **pad** fills up to a sector, so that a seal never shares one with what it covers.
//! - An **end** says that the log goes on in the next segment.
//!
//! The payload of batch, seal and end is the state:
//!
//! ```text
//!      0    8  term
//!      8    8  vote, 0 for none
//!     16    8  commit
//!     24    8  watermark: highest sequence known durable before this frame was written
//!     32    8  term of the last entry of the log after this unit, 0 for an empty log
//!     40    8  index of it, 0 for an empty log
//!     48    4  number of entry frames that follow (0 but for batches)
//!     52    4  zero
//! ```

use std::path::Path;

use crc32c::{crc32c, crc32c_append};
use raftery_raft::{Entry, HardState, LogId, LogIndex, MemberId, Term};

use crate::le::{u32_at, u64_at};
use crate::{WalError, entry};

pub(crate) const HEADER_BYTES: usize = 24;
/// Also bounds what recovery believes: 1 GiB.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 30;
const STATE_BYTES: usize = 56;
/// A whole frame of kind batch, seal or end.
pub(crate) const STATE_FRAME_BYTES: u64 = frame_bytes(STATE_BYTES);
const VERSION: u8 = 1;

/// Bytes of a frame with this payload, padding included.
pub(crate) const fn frame_bytes(payload: usize) -> u64 {
    (HEADER_BYTES + payload).next_multiple_of(8) as u64
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Batch = 1,
    Entry = 2,
    Seal = 3,
    Pad = 4,
    End = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Batch, Self::Entry, Self::Seal, Self::Pad, Self::End]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// What batches, seals and ends carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) hard_state: HardState,
    pub(crate) watermark: u64,
    pub(crate) last: LogId,
    pub(crate) entries: u32,
}

impl State {
    fn encode(&self, out: &mut Vec<u8>) {
        let vote = self.hard_state.vote.map_or(0, |id| id.0);
        for word in [
            self.hard_state.term.0,
            vote,
            self.hard_state.commit.0,
            self.watermark,
            self.last.term.0,
            self.last.index.0,
            u64::from(self.entries),
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        if payload.len() != STATE_BYTES || u32_at(payload, 52) != 0 {
            return None;
        }
        let vote = u64_at(payload, 8);
        Some(Self {
            hard_state: HardState {
                term: Term(u64_at(payload, 0)),
                vote: (vote != 0).then_some(MemberId(vote)),
                commit: LogIndex(u64_at(payload, 16)),
            },
            watermark: u64_at(payload, 24),
            last: LogId {
                term: Term(u64_at(payload, 32)),
                index: LogIndex(u64_at(payload, 40)),
            },
            entries: u32_at(payload, 48),
        })
    }
}

/// Encodes frames that will stand one behind the other in a file.
pub(crate) struct Encoder<'a> {
    buffer: &'a mut Vec<u8>,
    salt: u64,
    offset: u64,
    sequence: u64,
}

impl<'a> Encoder<'a> {
    /// The first frame will stand at `offset` and have number `sequence`.
    pub(crate) fn new(buffer: &'a mut Vec<u8>, salt: u64, offset: u64, sequence: u64) -> Self {
        buffer.clear();
        Self {
            buffer,
            salt,
            offset,
            sequence,
        }
    }

    pub(crate) fn state(&mut self, kind: Kind, state: &State) {
        self.frame(kind, |out| state.encode(out));
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        self.frame(Kind::Entry, |out| entry::encode(entry, out));
    }

    /// A pad of `bytes` in all, header included.
    pub(crate) fn pad(&mut self, bytes: usize) {
        self.frame(Kind::Pad, |out| {
            out.resize(out.len() + bytes - HEADER_BYTES, 0);
        });
    }

    /// Number of the frame that would come next.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence
    }

    fn frame(&mut self, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        self.buffer.resize(start + HEADER_BYTES, 0);
        payload(self.buffer);
        let body = start + HEADER_BYTES;
        let len = u32::try_from(self.buffer.len() - body).expect("checked against the limit");
        let payload_crc = crc32c(&self.buffer[body..]);
        let header = &mut self.buffer[start..body];
        header[4..8].copy_from_slice(&payload_crc.to_le_bytes());
        header[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        header[16..20].copy_from_slice(&len.to_le_bytes());
        header[20] = kind as u8;
        header[21] = VERSION;
        let crc = header_crc(self.salt, self.offset + start as u64, &header[4..]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
        self.sequence += 1;
    }
}

fn header_crc(salt: u64, offset: u64, rest: &[u8]) -> u32 {
    let crc = crc32c_append(crc32c(&salt.to_le_bytes()), &offset.to_le_bytes());
    crc32c_append(crc, rest)
}

/// A frame whose checksums hold.
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) payload: &'a [u8],
    /// Where the next one begins.
    pub(crate) next: u64,
}

/// Reads the frames of one segment.
pub(crate) struct Frames<'a> {
    /// For errors.
    pub(crate) path: &'a Path,
    /// The whole file.
    pub(crate) data: &'a [u8],
    pub(crate) salt: u64,
}

impl<'a> Frames<'a> {
    /// The frame number `sequence` at `offset`; `None` if there is no such valid frame.
    pub(crate) fn at(&self, offset: u64, sequence: u64) -> Result<Option<Frame<'a>>, WalError> {
        let Some(header) = self
            .header(offset)
            .filter(|header| u64_at(header, 8) == sequence)
        else {
            return Ok(None);
        };
        // From here on the header is one that a node wrote: what is strange is not a torn write.
        let unsupported = |what, value: u8| WalError::Unsupported {
            file: self.path.to_path_buf(),
            offset,
            what,
            value: u32::from(value),
        };
        let kind =
            Kind::from_byte(header[20]).ok_or_else(|| unsupported("frame kind", header[20]))?;
        if header[21] != VERSION {
            return Err(unsupported("frame version", header[21]));
        }
        let Some((payload, next)) = self.payload(offset, header) else {
            return Ok(None);
        };
        Ok(Some(Frame {
            kind,
            payload,
            next,
        }))
    }

    /// The highest watermark in any valid frame at or behind `from` that comes after frame
    /// `sequence`. Looks at every place where a frame could begin, since behind a bad frame
    /// nobody knows where the next one does.
    pub(crate) fn highest_watermark(&self, from: u64, sequence: u64) -> Option<u64> {
        let end = self.data.len() as u64;
        (from..end.saturating_sub(STATE_FRAME_BYTES - 1))
            .step_by(8)
            .filter_map(|offset| {
                // The cheap questions first: a segment has eight million places to look at.
                let raw = self.raw_header(offset)?;
                let plausible = u32_at(raw, 16) as usize == STATE_BYTES
                    && matches!(
                        Kind::from_byte(raw[20]),
                        Some(Kind::Batch | Kind::Seal | Kind::End)
                    )
                    && u64_at(raw, 8) > sequence;
                let header = plausible.then(|| self.header(offset))??;
                let (payload, _) = self.payload(offset, header)?;
                Some(State::decode(payload)?.watermark)
            })
            .max()
    }

    fn raw_header(&self, offset: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        self.data.get(start..start.checked_add(HEADER_BYTES)?)
    }

    /// The header at `offset`, if its checksum holds.
    fn header(&self, offset: u64) -> Option<&'a [u8]> {
        let header = self.raw_header(offset)?;
        (u32_at(header, 0) == header_crc(self.salt, offset, &header[4..])).then_some(header)
    }

    /// The payload behind `header`, if its checksum holds, and where the frame ends.
    fn payload(&self, offset: u64, header: &[u8]) -> Option<(&'a [u8], u64)> {
        let start = usize::try_from(offset).ok()? + HEADER_BYTES;
        let len = u32_at(header, 16) as usize;
        let payload = self.data.get(start..start.checked_add(len)?)?;
        (crc32c(payload) == u32_at(header, 4)).then(|| (payload, offset + frame_bytes(len)))
    }
}

#[cfg(test)]
mod frame_test;
