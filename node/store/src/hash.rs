//! A fingerprint of the logical state.

use raftery_fs::Fs;

use crate::error::StoreIoError;
use crate::store::Store;

impl<F: Fs> Store<F> {
    /// A fingerprint of all kept writes and both revisions (FNV-1a, 64 bit): equal on members
    /// that applied the same entries, wherever their records lie. Reads every value, so it
    /// takes its time.
    ///
    /// # Errors
    /// When a value can't be read.
    pub fn hash(&self) -> Result<u64, StoreIoError> {
        let mut hash = Fnv::new();
        hash.number(self.revision());
        hash.number(self.compact_revision());
        for (key, history) in self.index.iter() {
            let unseen = history.unseen(self.compact_revision());
            let kept = &history.writes()[unseen..];
            if kept.is_empty() {
                continue;
            }
            hash.bytes(key);
            for (at, write) in kept.iter().enumerate() {
                let revision = write.revision();
                hash.number(revision.main);
                hash.number(i64::from(revision.sub));
                if write.is_tombstone() {
                    hash.number(-1);
                    continue;
                }
                let stored = self.log.read(key, write)?;
                // What the index answers with is hashed, not what it should answer with.
                let attributes = if at + 1 == kept.len() {
                    history.newest()
                } else {
                    &stored.attributes
                };
                hash.number(attributes.create_revision);
                hash.number(attributes.version);
                hash.bytes(&stored.value);
                hash.number(attributes.lease);
            }
        }
        Ok(hash.0)
    }
}

/// FNV-1a: small, fast enough for a check that is asked for by hand, and the same everywhere
/// (the standard hasher promises no stability). Byte strings go in with their length.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn number(&mut self, number: i64) {
        self.raw(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.raw(&(bytes.len() as u64).to_le_bytes());
        self.raw(bytes);
    }

    fn raw(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
