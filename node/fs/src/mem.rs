//! A file system in memory that knows what is durable, and fails when told to.
//!
//! It is the worst disk that the WAL must survive: until a file is synced, each 512-byte piece
//! of each write may be kept, lost or mangled by a crash on its own, in any order; until a
//! directory is synced, its new names may be gone. For tests and the simulator.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod crashes;
mod disk;
mod faults;
mod files;

use disk::Disk;

/// A file system in memory. Clones share it. It starts with an empty, durable root directory;
/// `/` in front of a path makes no difference.
#[derive(Clone, Debug)]
pub struct MemFs(Arc<Mutex<Disk>>);

/// An open file of a [`MemFs`]. A crash kills it: whoever held it died.
#[derive(Debug)]
pub struct MemFile {
    fs: MemFs,
    node: usize,
    life: u64,
}

/// A part of an unsynced write that lies in one 512-byte sector.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Number of the write among all operations ([`MemFs::operations`]).
    pub operation: u64,
    /// Where in the file.
    pub offset: u64,
    /// Bytes.
    pub len: usize,
}

/// What a crash does to a [`Piece`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It never reached the disk.
    Lost,
    /// It reached the disk.
    Kept,
    /// It reached the disk with this bit flipped, counted from the piece's first.
    Flipped(usize),
}

impl MemFs {
    /// An empty one. `seed` feeds [`crate::Fs::random`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk::new(seed))))
    }

    /// Power is lost. `fate` decides about each piece of each unsynced write; names fall back
    /// to what was synced. Open files are dead, injected faults are over.
    pub fn crash(&self, fate: impl FnMut(Piece) -> Fate) {
        self.disk().crash(fate, || false);
    }

    /// A crash that discards every unsynced byte and name.
    pub fn crash_losing_all(&self) {
        self.crash(|_| Fate::Lost);
    }

    /// A crash that keeps, loses or mangles each unsynced piece, and keeps or loses the
    /// unsynced names of each directory.
    pub fn crash_at_random(&self, rng: &mut fastrand::Rng) {
        let mut names = rng.fork();
        let fate = |piece: Piece| match rng.u8(..8) {
            0..4 => Fate::Lost,
            4..7 => Fate::Kept,
            _ => Fate::Flipped(rng.usize(..piece.len * 8)),
        };
        self.disk().crash(fate, || names.bool());
    }

    /// How many operations changed something so far: creations, writes, syncs, names.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// How many syncs of files and directories there were, failed ones included.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// A copy that shares nothing with this one; open files stay with this one.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.disk().clone())))
    }

    /// What a file holds, as a running process sees it.
    ///
    /// # Panics
    /// If there is no such file.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Vec<u8> {
        let mut disk = self.disk();
        let node = disk.find(path).expect("the file to read exists");
        disk.data(node).live.clone()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, node: usize, life: u64) -> MemFile {
        MemFile {
            fs: self.clone(),
            node,
            life,
        }
    }
}

#[cfg(test)]
mod mem_test;
