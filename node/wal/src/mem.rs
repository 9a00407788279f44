//! contract; being written
use crate::*;
use std::{ffi::OsString, io, path::Path};

/// A file system in memory that knows what is durable. Clones share it. For tests and the
/// simulator.
#[derive(Clone, Debug)]
pub struct MemFs;
/// An open file of a [`MemFs`]. Dead after a crash.
#[derive(Debug)]
pub struct MemFile;
/// At most 512 bytes of an unsynced write.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Number of the operation that wrote it ([`MemFs::operations`]).
    pub operation: u64,
    /// Place in the file.
    pub offset: u64,
    /// Bytes.
    pub len: usize,
}
/// What a crash does to a [`Piece`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Never reached the disk.
    Lost,
    /// Reached it.
    Kept,
    /// Reached it with this bit (counted from the piece's first) flipped.
    Flipped(usize),
}
#[expect(unused_variables, clippy::unimplemented)]
impl MemFs {
    /// Empty; `seed` feeds [`Fs::random`].
    pub fn new(seed: u64) -> Self { unimplemented!() }
    /// Power is lost: of what was not synced, `fate` decides piece by piece; directories fall back to what was synced. All open files are dead.
    pub fn crash(&self, fate: impl FnMut(Piece) -> Fate) { unimplemented!() }
    /// A crash that discards every unsynced byte and name.
    pub fn crash_losing_all(&self) { unimplemented!() }
    /// A crash that keeps, loses or flips each unsynced piece, and keeps or loses each directory's unsynced names.
    pub fn crash_at_random(&self, rng: &mut fastrand::Rng) { unimplemented!() }
    /// Operations that change something so far: writes, syncs, names.
    pub fn operations(&self) -> u64 { unimplemented!() }
    /// Syncs of files and directories so far.
    pub fn syncs(&self) -> u64 { unimplemented!() }
    /// From operation number `n` on everything fails, as when the process died there. `None`: never. A crash resets it.
    pub fn stop_at(&self, n: Option<u64>) { unimplemented!() }
    /// The next file sync fails with an I/O error (and the bytes stay in the cache, believed clean).
    pub fn fail_next_sync(&self) { unimplemented!() }
    /// Syncs claim success and do nothing (a disk that lies): to show that a test would notice.
    pub fn lie_about_syncs(&self, lie: bool) { unimplemented!() }
    /// Flips a bit of durable data.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) { unimplemented!() }
    /// A file's contents as a running process sees them.
    pub fn contents(&self, path: &Path) -> Vec<u8> { unimplemented!() }
}
#[expect(unused_variables, clippy::unimplemented)]
impl Fs for MemFs {
    type File = MemFile;
    fn create(&self, path: &Path) -> io::Result<Self::File> { unimplemented!() }
    fn open(&self, path: &Path) -> io::Result<Self::File> { unimplemented!() }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> { unimplemented!() }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> { unimplemented!() }
    fn remove_file(&self, path: &Path) -> io::Result<()> { unimplemented!() }
    fn remove_dir(&self, path: &Path) -> io::Result<()> { unimplemented!() }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> { unimplemented!() }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> { unimplemented!() }
    fn random(&self) -> io::Result<u64> { unimplemented!() }
}
#[expect(unused_variables, clippy::unimplemented)]
impl FsFile for MemFile {
    fn size(&self) -> io::Result<u64> { unimplemented!() }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> { unimplemented!() }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> { unimplemented!() }
    fn allocate(&self, len: u64) -> io::Result<()> { unimplemented!() }
    fn sync_data(&self) -> io::Result<()> { unimplemented!() }
    fn reread(&self) -> io::Result<()> { unimplemented!() }
}
