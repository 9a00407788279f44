//! The caller's blobs: bytes under rising numbers, which live in the log beside the keys' records.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use raftery_fs::Fs;

use crate::error::StoreIoError;
use crate::history::{Kept, Location, Revision};
use crate::log::Place;
use crate::record::{Put, Record, Space};

/// Bytes that the caller keeps on disk under a number of its own, until it drops them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob<'a> {
    /// Its name. Greater than that of any blob before; at most `i64::MAX`.
    pub number: u64,
    /// What it says.
    pub bytes: &'a [u8],
}

/// Where a blob is. It may be read after it was dropped.
#[must_use = "it must be read"]
pub struct KeptBlob<F: Fs> {
    key: [u8; 8],
    kept: Kept,
    place: Place<F>,
}

impl<F: Fs> fmt::Debug for KeptBlob<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptBlob")
            .field("number", &u64::from_be_bytes(self.key))
            .finish_non_exhaustive()
    }
}

impl<F: Fs> KeptBlob<F> {
    pub(crate) fn new(key: [u8; 8], kept: Kept, place: Place<F>) -> Self {
        Self { key, kept, place }
    }

    /// What it says.
    ///
    /// # Errors
    /// When its record can't be read, or isn't what was written.
    pub fn read(&self) -> Result<Bytes, StoreIoError> {
        let stored = self.place.read(&self.key, &self.kept)?;
        Ok(stored.value)
    }
}

/// A number as the key of a record.
pub(crate) fn key_of(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn number_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

/// The record that keeps a blob under `key`, which is [`key_of`] its number.
pub(crate) fn record<'a>(key: &'a [u8; 8], bytes: &'a [u8]) -> Record<'a> {
    let number = u64::from_be_bytes(*key);
    Record {
        space: Space::Blobs,
        key,
        revision: Revision {
            main: i64::try_from(number).expect("numbers of blobs stay far below 2^63"),
            sub: 0,
        },
        put: Some(Put {
            create_revision: 0,
            version: 0,
            lease: 0,
            value: bytes,
        }),
    }
}

/// Where each blob lies that wasn't dropped.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    kept: BTreeMap<u64, Kept>,
}

impl Blobs {
    /// Takes a blob's record in; false if it makes no sense here.
    pub(crate) fn push(&mut self, record: &Record<'_>, location: Location) -> bool {
        let Some(number) = number_of(record.key) else {
            return false;
        };
        let newest = self.kept.last_key_value();
        if newest.is_some_and(|(newest, _)| *newest >= number) {
            return false;
        }
        self.kept.insert(number, Kept::new(record, location));
        true
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Kept> {
        self.kept.get(&number)
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<&Kept> {
        self.get(number_of(key)?)
    }

    pub(crate) fn find_mut(&mut self, key: &[u8]) -> Option<&mut Kept> {
        self.kept.get_mut(&number_of(key)?)
    }

    /// The oldest one leaves if its number is smaller.
    pub(crate) fn pop_before(&mut self, number: u64) -> Option<(u64, Kept)> {
        let (oldest, _) = self.kept.first_key_value()?;
        (*oldest < number).then(|| self.kept.pop_first())?
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Kept)> {
        self.kept.iter().map(|(number, kept)| (*number, kept))
    }
}
