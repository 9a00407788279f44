//! Reading frames: one after the other, and by searching.

use std::path::Path;

use crc32c::crc32c;

use super::{HEADER_BYTES, Kind, SEQUENCE_SKIP, STATE_BYTES, State, frame_bytes, header_crc};
use crate::WalError;
use raftery_fs::le::{u32_at, u64_at};

/// A frame whose checksums hold.
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    pub(crate) payload: &'a [u8],
    /// Where the next one begins.
    pub(crate) next: u64,
}

/// What valid headers say that stand behind the end of what could be read.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tail {
    /// The highest watermark.
    pub(crate) watermark: Option<u64>,
    /// The state with the highest sequence, and that.
    pub(crate) newest: Option<(u64, State)>,
    /// Where the last of them ends, whatever its kind; 0 if there is none.
    pub(crate) end: u64,
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
    /// The frame at `offset` that follows frame `sequence - 1`, or that follows anything when
    /// `sequence` is `None`; `None` if there is no such valid frame.
    pub(crate) fn at(
        &self,
        offset: u64,
        sequence: Option<u64>,
    ) -> Result<Option<Frame<'a>>, WalError> {
        let Some(header) = self.header(offset) else {
            return Ok(None);
        };
        let found = u64_at(header, 8);
        let follows = match sequence {
            Some(expected) if found == expected => true,
            Some(expected) => {
                Kind::from_byte(header[20]).is_some_and(Kind::may_skip)
                    && found >= expected.saturating_add(SEQUENCE_SKIP - 1)
            }
            None => true,
        };
        if !follows {
            return Ok(None);
        }
        // From here on the header is one that a node wrote: what is strange is not a torn write.
        let unsupported = |what, value: u8| WalError::Unsupported {
            file: self.path.to_path_buf(),
            offset,
            what,
            value: u32::from(value),
        };
        let kind =
            Kind::from_byte(header[20]).ok_or_else(|| unsupported("frame kind", header[20]))?;
        if header[21] != kind.version() {
            return Err(unsupported("frame version", header[21]));
        }
        let Some((payload, next)) = self.payload(offset, header) else {
            return Ok(None);
        };
        Ok(Some(Frame {
            kind,
            sequence: found,
            payload,
            next,
        }))
    }

    /// What the valid headers at or behind `from` say that come after frame `sequence`. Looks at
    /// every place where a frame could begin, since behind a bad frame nobody knows where the
    /// next one does. Old bytes of a recycled file don't count: they have another salt.
    pub(crate) fn tail(&self, from: u64, sequence: u64) -> Tail {
        let mut tail = Tail::default();
        let end = self.data.len() as u64;
        for offset in (from..end.saturating_sub(HEADER_BYTES as u64 - 1)).step_by(8) {
            // The cheap questions first: a segment has eight million places to look at.
            let Some(raw) = self.raw_header(offset) else {
                break;
            };
            let Some(kind) = Kind::from_byte(raw[20]) else {
                continue;
            };
            let found = u64_at(raw, 8);
            if found <= sequence || self.header(offset).is_none() {
                continue;
            }
            let len = u32_at(raw, 16) as usize;
            tail.end = tail.end.max((offset + frame_bytes(len)).min(end));
            if !kind.has_state() || len != STATE_BYTES {
                continue;
            }
            let Some(state) = self
                .payload(offset, raw)
                .and_then(|(payload, _)| State::decode(payload))
            else {
                continue;
            };
            tail.watermark = tail.watermark.max(Some(state.watermark));
            if tail.newest.is_none_or(|(newest, _)| newest < found) {
                tail.newest = Some((found, state));
            }
        }
        tail
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
