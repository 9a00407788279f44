//! The file system as the WAL sees it: few operations, so that tests and the simulator can
//! lose, tear, rot and refuse each of them ([`crate::MemFs`]).

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Directories and names. A name is durable only after [`Fs::sync_dir`] of its directory.
pub trait Fs {
    /// An open file.
    type File: FsFile;

    /// Creates an empty file for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; what the system says otherwise.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`; `WouldBlock` when another process has it open; what the system says otherwise.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Names in a directory, in no particular order.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory; what the system says otherwise.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    /// Renames a file or directory, replacing a file or an empty directory of that name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the system says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and those above it.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the system says. Never retried.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// An unpredictable number, for the salt of a segment's life.
    ///
    /// # Errors
    /// What the system says.
    fn random(&self) -> io::Result<u64>;
}

/// An open file. Offsets and lengths are bytes.
pub trait FsFile {
    /// How long it is.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; what the system says otherwise.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; durable only after [`FsFile::sync_data`].
    ///
    /// # Errors
    /// What the system says; how much was written is unknown then.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; they are durable when it returns. Other writes may need
    /// a sync of their own. In one operation where the system can, which wants whole blocks:
    /// offset and length multiples of 4096.
    ///
    /// # Errors
    /// As for [`FsFile::write_at`] and [`FsFile::sync_data`].
    fn write_and_sync_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_at(offset, bytes)?;
        self.sync_data()
    }

    /// Makes the file `len` bytes long and reserves them. New bytes read as zero.
    ///
    /// # Errors
    /// What the system says: a full disk shows here, not in the middle of a write.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes bytes and length durable.
    ///
    /// # Errors
    /// What the system says. After an error nothing is known about unsynced bytes, and the
    /// system may believe that they are written: a second call proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Syncs, and forgets what is cached, so that what is read afterwards comes from the disk.
    /// Bytes that an earlier process wrote, and failed to sync, may be in the cache only.
    ///
    /// # Errors
    /// What the system says.
    fn reread(&self) -> io::Result<()>;
}
