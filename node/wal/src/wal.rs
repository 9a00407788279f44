//! contract; being written
use std::{fmt, path::{Path, PathBuf}};
use raftery_raft::*;
use crate::{Fs, WalError};

/// Whose log this is; in every segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalIdentity {
    /// The cluster.
    pub cluster_id: u64,
    /// Its unbroken history.
    pub lineage: u64,
    /// The member.
    pub member_id: MemberId,
}
impl fmt::Display for WalIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} of cluster {:x}, lineage {:x}", self.member_id, self.cluster_id, self.lineage)
    }
}
/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Size of new segments in bytes: a multiple of 4096, at least 16 KiB. Default 64 MiB.
    pub segment_bytes: u64,
}
impl Default for WalOptions {
    fn default() -> Self { Self { segment_bytes: 64 << 20 } }
}
/// What was found on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Whose log it is. The caller compares it with who it is.
    pub identity: WalIdentity,
    /// Of the last whole batch.
    pub hard_state: HardState,
    /// The whole log, from index 1.
    pub entries: Vec<Entry>,
    /// What was cut.
    pub torn_tail: Option<TornTail>,
}
/// Writes that a crash interrupted; nothing in it was ever acknowledged. Zeroed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where the cut is.
    pub offset: u64,
    /// Bytes from the cut to the last one that was not zero.
    pub bytes: u64,
}
/// The log's files.
#[derive(Debug)]
pub struct Wal<F: Fs> { _fs: F }
#[expect(unused_variables, clippy::unimplemented)]
impl<F: Fs> Wal<F> {
    /// Founds a log with these entries, durably. A crash leaves all of it or nothing. Removes a half-made one.
    pub fn create(fs: F, dir: &Path, identity: WalIdentity, options: WalOptions, first: &[Entry], hard_state: HardState) -> Result<Self, WalError> { unimplemented!() }
    /// Opens and recovers; `None` when there is no log.
    pub fn open(fs: F, dir: &Path, options: WalOptions) -> Result<Option<(Self, Recovered)>, WalError> { unimplemented!() }
    /// Whose log it is.
    pub fn identity(&self) -> WalIdentity { unimplemented!() }
    /// Writes a batch; not durable yet.
    pub fn append(&mut self, batch: &PersistBatch) -> Result<(), WalError> { unimplemented!() }
    /// Syncs; the highest durable batch of this life.
    pub fn sync(&mut self) -> Result<Option<PersistSeq>, WalError> { unimplemented!() }
    /// Whether the last durable batch is not yet covered by a durable watermark.
    pub fn needs_seal(&self) -> bool { unimplemented!() }
    /// Syncs, and writes and syncs a seal if needed.
    pub fn seal(&mut self) -> Result<(), WalError> { unimplemented!() }
}
