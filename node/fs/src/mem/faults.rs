//! What a [`MemFs`] can be told to do wrong.

use std::io;
use std::path::Path;

use super::MemFs;

/// Operations that are refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    at: u64,
    kind: io::ErrorKind,
    lasts: bool,
}

impl Fault {
    pub(super) fn hits(self, operation: u64) -> Option<io::ErrorKind> {
        let hits = self.at == operation || (self.lasts && self.at < operation);
        hits.then_some(self.kind)
    }
}

impl MemFs {
    /// Operation number `at` (counted from 0) and all after it fail, as if the process had
    /// died there. `None`: never.
    pub fn stop_at(&self, at: Option<u64>) {
        self.disk().stop_at = at;
    }

    /// Operation number `at` (counted from 0) fails with this error, and only that one. A write
    /// that fails may have written half; a sync behaves as for [`MemFs::fail_next_sync`].
    pub fn fail_at(&self, at: u64, kind: io::ErrorKind) {
        let lasts = false;
        self.disk().fault = Some(Fault { at, kind, lasts });
    }

    /// Like [`MemFs::fail_at`], but all operations from there on fail, until
    /// [`MemFs::stop_failing`] or a crash.
    pub fn fail_from(&self, at: u64, kind: io::ErrorKind) {
        let lasts = true;
        self.disk().fault = Some(Fault { at, kind, lasts });
    }

    /// No operation fails any more.
    pub fn stop_failing(&self) {
        self.disk().fault = None;
    }

    /// The next sync of a file fails. As on Linux, what was unsynced is then believed clean: it
    /// is read as if it were there, and no further sync writes it.
    pub fn fail_next_sync(&self) {
        self.disk().fails_next_sync = true;
    }

    /// Bytes that all files together may have; `None` for no limit. What would make a file
    /// longer than that allows fails with `StorageFull`. Outlives crashes.
    pub fn set_capacity(&self, bytes_max: Option<u64>) {
        self.disk().capacity = bytes_max;
    }

    /// Bytes that all files together have.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.disk().used()
    }

    /// Syncs of files claim success and do nothing. To show that a test would notice.
    pub fn lie_about_syncs(&self, lies: bool) {
        self.disk().lies = lies;
    }

    /// Flips a bit (0–7) of a byte, durably: rot.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        let mut disk = self.disk();
        let node = disk.find(path).expect("the file to damage exists");
        let data = disk.data(node);
        let at = usize::try_from(offset).expect("fits memory");
        data.live[at] ^= 1 << bit;
        if let Some(byte) = data.durable.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    /// Overwrites bytes, durably: what a broken sector leaves.
    ///
    /// # Panics
    /// If the file doesn't exist or ends before.
    pub fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) {
        let mut disk = self.disk();
        let node = disk.find(path).expect("the file to damage exists");
        let data = disk.data(node);
        let at = usize::try_from(offset).expect("fits memory");
        data.live[at..at + bytes.len()].copy_from_slice(bytes);
        data.durable[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Cuts a file to `len` bytes, or makes it that long with zeros, durably.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn set_len(&self, path: &Path, len: usize) {
        let mut disk = self.disk();
        let node = disk.find(path).expect("the file to damage exists");
        let data = disk.data(node);
        data.live.resize(len, 0);
        data.durable.resize(len, 0);
    }
}
