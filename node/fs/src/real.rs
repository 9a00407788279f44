//! Files of the operating system.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, FlockOperation, fadvise, fallocate, flock};
use rustix::io::Errno;

use crate::{Fs, FsFile};

/// The operating system's files. An open file is locked: two nodes on one directory would
/// destroy each other's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

/// An open file of [`RealFs`].
#[derive(Debug)]
pub struct RealFile(File);

fn locked(file: File) -> io::Result<RealFile> {
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(RealFile(file))
}

impl Fs for RealFs {
    type File = RealFile;

    fn create(&self, path: &Path) -> io::Result<RealFile> {
        locked(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?,
        )
    }

    fn open(&self, path: &Path) -> io::Result<RealFile> {
        locked(OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn random(&self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::other)
    }
}

impl FsFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            // Not every file system can; the caller writes the zeros anyway.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.0.set_len(len),
            done => Ok(done?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn reread(&self) -> io::Result<()> {
        self.0.sync_data()?;
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }
}
