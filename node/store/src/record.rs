//! Records: what a frame says about one key.
//!
//! A record begins at a multiple of 8 and ends there, zero-padded. All integers are
//! little-endian.
//!
//! ```text
//! offset size
//!      0    4  CRC-32C of bytes 4 to the end of the value
//!      4    1  kind: 1 put, 2 tombstone, 3 blob: bytes that are the caller's
//!      5    3  zero
//!      8    4  length of the key in bytes
//!     12    4  length of the value in bytes; 0 in a tombstone
//!     16    8  revision; of a blob: its number, which is its key too, big-endian
//!     24    4  place among the writes of this revision, from 0
//!     28    4  zero
//!     32    8  create revision; 0 in a tombstone
//!     40    8  version; 0 in a tombstone
//!     48    8  lease; 0 for none
//!     56    …  key, then value
//! ```
//!
//! A record has a checksum of its own, beside that of its frame, so that a value can be read
//! and verified without the rest of a large transaction. The index knows key and revision, so a
//! record that is sound but isn't the one asked for is found out too.

use crc32c::crc32c;

use crate::history::Revision;
use raftery_fs::le::{i64_at, u32_at};

const HEADER_BYTES: usize = 56;
const PUT: u8 = 1;
const TOMBSTONE: u8 = 2;
const BLOB: u8 = 3;

/// What a record's key is a name in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// Clients' keys.
    Keys,
    /// The caller's blobs; none is ever deleted by a record.
    Blobs,
}

/// What one write did to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) space: Space,
    pub(crate) key: &'a [u8],
    pub(crate) revision: Revision,
    /// `None`: the key was deleted.
    pub(crate) put: Option<Put<'a>>,
}

/// What a put left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Put<'a> {
    pub(crate) create_revision: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
    pub(crate) value: &'a [u8],
}

/// Bytes of a record, padding included.
pub(crate) fn record_bytes(key: usize, value: usize) -> usize {
    (HEADER_BYTES + key + value).next_multiple_of(8)
}

impl<'a> Record<'a> {
    /// Appends the record to `out`, whose length is a multiple of 8.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let put = self.put.unwrap_or(Put {
            create_revision: 0,
            version: 0,
            lease: 0,
            value: &[],
        });
        let mut header = [0; HEADER_BYTES];
        header[4] = match (self.space, self.put) {
            (Space::Keys, Some(_)) => PUT,
            (Space::Keys, None) => TOMBSTONE,
            (Space::Blobs, _) => BLOB,
        };
        header[8..12].copy_from_slice(&length(self.key).to_le_bytes());
        header[12..16].copy_from_slice(&length(put.value).to_le_bytes());
        header[16..24].copy_from_slice(&self.revision.main.to_le_bytes());
        header[24..28].copy_from_slice(&self.revision.sub.to_le_bytes());
        header[32..40].copy_from_slice(&put.create_revision.to_le_bytes());
        header[40..48].copy_from_slice(&put.version.to_le_bytes());
        header[48..56].copy_from_slice(&put.lease.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(self.key);
        out.extend_from_slice(put.value);
        let crc = crc32c(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        out.resize(out.len().next_multiple_of(8), 0);
    }

    /// The record at the beginning of `bytes` and its length, if its checksum holds.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let header = bytes.get(..HEADER_BYTES)?;
        let end = HEADER_BYTES + Self::body_bytes(header)?;
        let sealed = bytes.get(4..end)?;
        (crc32c(sealed) == u32_at(header, 0)).then_some(())?;
        Self::parse(bytes)
    }

    /// As [`Record::decode`] where the frame's checksum was verified, which covers all of it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let header = bytes.get(..HEADER_BYTES)?;
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES + Self::body_bytes(header)?)?;
        let (key, value) = body.split_at(u32_at(header, 8) as usize);
        let put = Put {
            create_revision: i64_at(header, 32),
            version: i64_at(header, 40),
            lease: i64_at(header, 48),
            value,
        };
        let (space, put) = match header[4] {
            PUT => (Space::Keys, Some(put)),
            TOMBSTONE => (Space::Keys, None),
            BLOB => (Space::Blobs, Some(put)),
            _ => return None,
        };
        let revision = Revision {
            main: i64_at(header, 16),
            sub: u32_at(header, 24),
        };
        let record = Self {
            space,
            key,
            revision,
            put,
        };
        let bytes_used = record_bytes(key.len(), value.len());
        (bytes_used <= bytes.len()).then_some((record, bytes_used))
    }

    fn body_bytes(header: &[u8]) -> Option<usize> {
        (u32_at(header, 8) as usize).checked_add(u32_at(header, 12) as usize)
    }

    /// Where in an encoded record the value begins.
    pub(crate) fn value_at(key: usize) -> usize {
        HEADER_BYTES + key
    }

    /// Where in an encoded record the key begins.
    pub(crate) fn key_at() -> usize {
        HEADER_BYTES
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("the gate bounds requests far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> Record<'static> {
        Record {
            space: Space::Keys,
            key: b"key",
            revision: Revision { main: 9, sub: 2 },
            put: Some(Put {
                create_revision: 4,
                version: 3,
                lease: 77,
                value: b"value",
            }),
        }
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let tombstone = Record { put: None, ..put() };
        let blob = Record {
            space: Space::Blobs,
            ..put()
        };
        let mut bytes = Vec::new();
        put().encode(&mut bytes);
        let first = bytes.len();
        tombstone.encode(&mut bytes);
        let second = bytes.len();
        blob.encode(&mut bytes);
        assert_eq!(first, record_bytes(3, 5));
        assert_eq!(Record::decode(&bytes), Some((put(), first)));
        assert_eq!(
            Record::decode(&bytes[first..]),
            Some((tombstone, record_bytes(3, 0)))
        );
        assert_eq!(Record::decode(&bytes[second..]), Some((blob, first)));
    }

    #[test]
    fn no_flipped_bit_passes() {
        let mut bytes = Vec::new();
        put().encode(&mut bytes);
        for bit in 0..(Record::value_at(3) + 5) * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&bytes), None, "bit {bit}");
        }
    }
}
