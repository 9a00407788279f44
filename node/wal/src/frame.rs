//! Frames: what a segment consists of behind its header.
//!
//! A frame begins at a multiple of 8 and ends there, zero-padded. All integers are
//! little-endian.
//!
//! ```text
//! offset size
//!      0    4  CRC-32C of: salt of the segment (8) ‖ offset of the frame in the file (8) ‖ bytes 4..24
//!      4    4  CRC-32C of the payload
//!      8    8  sequence: one more than the frame before has, or at least 2^32 more
//!     16    4  length of the payload in bytes
//!     20    1  kind: 1 batch, 2 entry, 3 seal, 4 pad, 5 end, 6 reset
//!     21    1  version of the payload: 2 for kinds with a state, 1 for the others
//!     22    2  zero
//!     24    …  payload
//! ```
//!
//! Salt, offset and sequence are in the checksum so that neither frames of an earlier life of
//! the file nor client data that looks like a frame pass for one. Sequences rise through all
//! segments of a log. Each opening of the log skips at least 2^32 of them with its first frame
//! (a pad, a seal or an end): frames that a crash left behind the place where it goes on have
//! lower ones, so they never become valid again, and nothing has to be erased.
//!
//! - A **batch** frame and the entry frames that follow it are one unit: all or none.
//! - A **reset** is a batch before whose entries the log becomes empty behind a base.
//! - An **entry** frame holds one entry ([`crate::entry`]).
//! - A **seal** repeats the state and covers what came before; each segment starts with one, and
//!   `last` of the lowest segment's is the base of the log.
//! - A **pad** fills up to a sector, so that a seal never shares one with what it covers.
//! - An **end** says that the log goes on in the next segment.
//!
//! The payload of batch, reset, seal and end is the state:
//!
//! ```text
//!      0    8  term
//!      8    8  vote, 0 for none
//!     16    8  commit
//!     24    8  watermark: highest sequence known durable before this frame was written
//!     32    8  term of the last entry of the log after this unit, 0 for an empty log
//!     40    8  index of it, 0 for an empty log
//!     48    8  term of the entry that a repair has to reach, 0 for none
//!     56    8  index of it, 0 for no repair
//!     64    8  term of the base (zero but for resets)
//!     72    8  index of the base (zero but for resets)
//!     80    4  number of entry frames that follow (zero but for batches and resets)
//!     84    4  zero
//! ```

use crc32c::{crc32c, crc32c_append};
use raftery_raft::{Entry, HardState, LogId, LogIndex, MemberId, Term};

use crate::entry;
use raftery_fs::le::{u32_at, u64_at};

mod read;

pub(crate) use read::{Frames, Tail};

pub(crate) const HEADER_BYTES: usize = 24;
/// Also bounds what recovery believes: 1 GiB.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 30;
const STATE_BYTES: usize = 88;
/// A whole frame of a kind with a state.
pub(crate) const STATE_FRAME_BYTES: u64 = frame_bytes(STATE_BYTES);
/// What an opening skips at least. More than frames can be written between two syncs, and few
/// enough for four thousand million openings.
pub(crate) const SEQUENCE_SKIP: u64 = 1 << 32;

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
    Reset = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Batch),
            2 => Some(Self::Entry),
            3 => Some(Self::Seal),
            4 => Some(Self::Pad),
            5 => Some(Self::End),
            6 => Some(Self::Reset),
            _ => None,
        }
    }

    fn version(self) -> u8 {
        if self.has_state() { 2 } else { 1 }
    }

    fn has_state(self) -> bool {
        match self {
            Self::Batch | Self::Seal | Self::End | Self::Reset => true,
            Self::Entry | Self::Pad => false,
        }
    }

    /// Whether an opening may begin with it.
    fn may_skip(self) -> bool {
        match self {
            Self::Seal | Self::Pad | Self::End => true,
            Self::Batch | Self::Entry | Self::Reset => false,
        }
    }
}

/// What batches, resets, seals and ends carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) hard_state: HardState,
    pub(crate) watermark: u64,
    pub(crate) last: LogId,
    pub(crate) repair_until: Option<LogId>,
    /// Only resets use it; zero otherwise.
    pub(crate) base: LogId,
    pub(crate) entries: u32,
}

impl State {
    fn encode(&self, out: &mut Vec<u8>) {
        let vote = self.hard_state.vote.map_or(0, |id| id.0);
        let repair_until = self.repair_until.unwrap_or_default();
        for word in [
            self.hard_state.term.0,
            vote,
            self.hard_state.commit.0,
            self.watermark,
            self.last.term.0,
            self.last.index.0,
            repair_until.term.0,
            repair_until.index.0,
            self.base.term.0,
            self.base.index.0,
            u64::from(self.entries),
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        if payload.len() != STATE_BYTES || u32_at(payload, 84) != 0 {
            return None;
        }
        let vote = u64_at(payload, 8);
        let log_id = |at| LogId {
            term: Term(u64_at(payload, at)),
            index: LogIndex(u64_at(payload, at + 8)),
        };
        let repair_until = log_id(48);
        Some(Self {
            hard_state: HardState {
                term: Term(u64_at(payload, 0)),
                vote: (vote != 0).then_some(MemberId(vote)),
                commit: LogIndex(u64_at(payload, 16)),
            },
            watermark: u64_at(payload, 24),
            last: log_id(32),
            repair_until: (repair_until.index != LogIndex(0)).then_some(repair_until),
            base: log_id(64),
            entries: u32_at(payload, 80),
        })
    }
}

/// Encodes frames that will stand one behind the other in a file.
pub(crate) struct Encoder<'a> {
    pub(crate) buffer: &'a mut Vec<u8>,
    pub(crate) salt: u64,
    /// Where the buffer's first byte will stand.
    pub(crate) offset: u64,
    /// Number of the frame that comes next.
    pub(crate) sequence: u64,
}

impl Encoder<'_> {
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
        header[21] = kind.version();
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

#[cfg(test)]
mod frame_test;
