//! Making the next segment, from nothing or from a released one, in small steps.
//!
//! A new file is filled with zeros once in its life. A released one isn't: it is renamed, gets a
//! header with a new salt and number, is synced and renamed again. Until the last rename it has
//! a name that recovery doesn't read, so no crash leaves a half-made segment.

use std::io;
use std::path::{Path, PathBuf};

use raftery_fs::{Fs, FsFile};

use crate::segment::{Segment, file_name, recycled_name};
use crate::{WalError, WalIdentity};

const TEMPORARY: &str = "next.tmp";
/// Zeroed and synced at a time while a segment is prepared beside the work.
const STEP_BYTES: u64 = 256 << 10;
/// Zeroed at a time when nothing else waits.
const CHUNK_BYTES: u64 = 1 << 20;

/// What a segment will be.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) identity: WalIdentity,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

/// A segment being made.
pub(crate) struct Preparation<F: Fs> {
    segment: Segment<F>,
    temporary: PathBuf,
    zeroed: u64,
}

impl<F: Fs> Preparation<F> {
    /// Begins a segment with a file of its own; what is left of an earlier attempt goes.
    pub(crate) fn start(fs: &F, dir: &Path, plan: Plan) -> Result<Self, WalError> {
        let temporary = dir.join(TEMPORARY);
        remove_if_there(fs, &temporary)?;
        let file = fs
            .create(&temporary)
            .map_err(WalError::io("create", &temporary))?;
        file.allocate(plan.bytes)
            .map_err(WalError::io("allocate", &temporary))?;
        Self::of(fs, dir, plan, file, 0)
    }

    /// Begins a segment with the file of the released segment `old`; `None` if that has another
    /// length.
    pub(crate) fn recycle(
        fs: &F,
        dir: &Path,
        plan: Plan,
        old: u64,
    ) -> Result<Option<Self>, WalError> {
        let path = dir.join(recycled_name(old));
        let file = fs.open(&path).map_err(WalError::io("open", &path))?;
        let size = file.size().map_err(WalError::io("size of", &path))?;
        if size != plan.bytes {
            return Ok(None);
        }
        fs.rename(&path, &dir.join(TEMPORARY))
            .map_err(WalError::io("rename", &path))?;
        Self::of(fs, dir, plan, file, plan.bytes).map(Some)
    }

    fn of(fs: &F, dir: &Path, plan: Plan, file: F::File, zeroed: u64) -> Result<Self, WalError> {
        let temporary = dir.join(TEMPORARY);
        let salt = fs
            .random()
            .map_err(WalError::io("draw a salt for", &temporary))?;
        let Plan {
            identity,
            number,
            bytes,
        } = plan;
        let segment = Segment {
            number,
            salt,
            bytes,
            identity,
            path: dir.join(file_name(number)),
            file,
        };
        Ok(Self {
            segment,
            temporary,
            zeroed,
        })
    }

    /// Length that it will have.
    pub(crate) fn bytes(&self) -> u64 {
        self.segment.bytes
    }

    /// Whether only [`Preparation::finish`] is left.
    pub(crate) fn is_zeroed(&self) -> bool {
        self.zeroed == self.segment.bytes
    }

    /// Zeroes a little more and syncs that.
    pub(crate) fn step(&mut self) -> Result<(), WalError> {
        self.zero(STEP_BYTES)?;
        self.segment
            .file
            .sync_data()
            .map_err(WalError::sync(&self.temporary))
    }

    /// Zeroes the rest, writes the header and gives the segment its name, durably.
    pub(crate) fn finish(mut self, fs: &F, dir: &Path) -> Result<Segment<F>, WalError> {
        while !self.is_zeroed() {
            self.zero(CHUNK_BYTES)?;
        }
        let Self {
            segment, temporary, ..
        } = self;
        segment
            .file
            .write_at(0, &segment.header())
            .map_err(WalError::io("write", &temporary))?;
        segment
            .file
            .sync_data()
            .map_err(WalError::sync(&temporary))?;
        fs.rename(&temporary, &segment.path)
            .map_err(WalError::io("rename", &temporary))?;
        fs.sync_dir(dir).map_err(WalError::sync(dir))?;
        Ok(segment)
    }

    fn zero(&mut self, bytes: u64) -> Result<(), WalError> {
        let bytes = bytes.min(self.segment.bytes - self.zeroed);
        zero(&self.segment.file, self.zeroed, bytes)
            .map_err(WalError::io("write", &self.temporary))?;
        self.zeroed += bytes;
        Ok(())
    }
}

/// Removes what an attempt has left, which frees its space.
pub(crate) fn discard<F: Fs>(fs: &F, dir: &Path) -> Result<(), WalError> {
    remove_if_there(fs, &dir.join(TEMPORARY))
}

pub(crate) fn remove_if_there<F: Fs>(fs: &F, path: &Path) -> Result<(), WalError> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(WalError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Writes zeros: a reserved but unwritten block would need its metadata synced with the first
/// write, which costs about half of a sync more.
fn zero(file: &impl FsFile, offset: u64, bytes: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut done = 0;
    while done < bytes {
        let len = (bytes - done).min(ZEROS.len() as u64);
        file.write_at(
            offset + done,
            &ZEROS[..usize::try_from(len).expect("at most 64 KiB")],
        )?;
        done += len;
    }
    Ok(())
}
