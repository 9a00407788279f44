//! Files of the operating system.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{Advice, FallocateFlags, FlockOperation, OFlags, fadvise, fallocate, flock};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use crate::{Fs, FsFile};

/// The operating system's files. An open file is locked: two nodes on one directory would
/// destroy each other's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

/// An open file of [`RealFs`].
#[derive(Debug)]
pub struct RealFile {
    file: File,
    /// The same file past the page cache, for [`FsFile::write_and_sync_at`]: opened when first
    /// needed, `None` where the file system can't.
    direct: OnceLock<Option<Direct>>,
}

impl RealFile {
    fn locked(file: File) -> io::Result<Self> {
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            file,
            direct: OnceLock::new(),
        })
    }
}

impl Fs for RealFs {
    type File = RealFile;

    fn create(&self, path: &Path) -> io::Result<RealFile> {
        RealFile::locked(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?,
        )
    }

    fn open(&self, path: &Path) -> io::Result<RealFile> {
        RealFile::locked(OpenOptions::new().read(true).write(true).open(path)?)
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
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn write_and_sync_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let direct = self.direct.get_or_init(|| Direct::open(&self.file));
        if let Some(direct) = direct
            && is_aligned(offset, bytes)
        {
            match direct.write_and_sync_at(offset, bytes) {
                // It wants other blocks, or can't after all. Nothing is lost by asking otherwise.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => {}
                done => return Ok(done?),
            }
        }
        self.write_at(offset, bytes)?;
        self.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            // Not every file system can; the caller writes the zeros anyway.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.file.set_len(len),
            done => Ok(done?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn reread(&self) -> io::Result<()> {
        self.file.sync_data()?;
        Ok(fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }
}

/// Where a device may want its blocks to begin, in the file and in memory.
const BLOCK_BYTES: usize = 4096;

/// Memory that is kept for the next write.
const KEPT_BYTES_MAX: usize = 1 << 20;

fn is_aligned(offset: u64, bytes: &[u8]) -> bool {
    offset.is_multiple_of(BLOCK_BYTES as u64) && bytes.len().is_multiple_of(BLOCK_BYTES)
}

/// A file whose writes go past the page cache: a write that is durable when it returns takes the
/// device one request and a flush then, and the system neither copies nor looks for dirty pages.
#[derive(Debug)]
struct Direct {
    file: File,
    /// What is being written, from a multiple of a block on.
    aligned: Mutex<Vec<u8>>,
}

impl Direct {
    fn open(file: &File) -> Option<Self> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::DIRECT.bits().cast_signed())
            .open(path)
            .ok()?;
        Some(Self {
            file,
            aligned: Mutex::default(),
        })
    }

    fn write_and_sync_at(&self, mut offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut aligned = self.aligned.lock().unwrap_or_else(PoisonError::into_inner);
        aligned.resize(bytes.len() + BLOCK_BYTES, 0);
        aligned.shrink_to(KEPT_BYTES_MAX);
        let start = aligned.as_ptr().align_offset(BLOCK_BYTES);
        let mut left = &mut aligned[start..start + bytes.len()];
        left.copy_from_slice(bytes);
        while !left.is_empty() {
            let written = match pwritev2(
                &self.file,
                &[IoSlice::new(left)],
                offset,
                ReadWriteFlags::DSYNC,
            ) {
                Err(Errno::INTR) => continue,
                Ok(0) => return Err(Errno::IO),
                written => written?,
            };
            offset += written as u64;
            left = &mut left[written..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_past_the_cache_and_through_it_is_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFs.create(&dir.path().join("file")).unwrap();
        file.allocate(16_384).unwrap();
        file.write_at(0, &[1; 16_384]).unwrap();
        file.write_and_sync_at(4_096, &[2; 8_192]).unwrap();
        file.write_at(8_190, &[3; 4]).unwrap();
        // Not whole blocks.
        file.write_and_sync_at(12_290, &[4; 10]).unwrap();
        file.write_and_sync_at(0, &[5; 4_096]).unwrap();

        let mut found = vec![0; 16_384];
        file.read_at(0, &mut found).unwrap();
        let mut expected = vec![1; 16_384];
        expected[..4_096].fill(5);
        expected[4_096..12_288].fill(2);
        expected[8_190..8_194].fill(3);
        expected[12_290..12_300].fill(4);
        assert!(found == expected);
    }
}
