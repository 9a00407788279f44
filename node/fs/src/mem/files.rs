//! The file system's operations on a [`MemFs`].

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::MutexGuard;

use super::disk::{Data, Disk, Node, Write, put};
use super::{MemFile, MemFs};
use crate::{Fs, FsFile};

impl Fs for MemFs {
    type File = MemFile;

    fn create(&self, path: &Path) -> io::Result<MemFile> {
        let mut disk = self.disk();
        disk.operation()?;
        let node = disk.add(path, Node::File(Data::default()))?;
        Ok(self.file(node, disk.life))
    }

    fn open(&self, path: &Path) -> io::Result<MemFile> {
        let mut disk = self.disk();
        let node = disk.find(path)?;
        match disk.nodes[node] {
            Node::File(_) => Ok(self.file(node, disk.life)),
            Node::Directory { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let mut disk = self.disk();
        let node = disk.find(dir)?;
        Ok(disk.names(node)?.0.keys().cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operation()?;
        let node = disk.find(from)?;
        if let Ok(replaced) = disk.find(to)
            && let Ok((names, _)) = disk.names(replaced)
            && !names.is_empty()
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (names, name) = disk.place(from)?;
        names.remove(name);
        let (names, name) = disk.place(to)?;
        names.insert(name.to_os_string(), node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.find(path)?;
        disk.operation()?;
        let (names, name) = disk.place(path)?;
        names.remove(name);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        if !self.list(path)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operation()?;
        for dir in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if disk.find(dir).is_err() {
                disk.add(dir, Node::directory())?;
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operation()?;
        disk.syncs += 1;
        let node = disk.find(dir)?;
        let (live, durable) = disk.names(node)?;
        durable.clone_from(live);
        Ok(())
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.disk().rng.u64(..))
    }
}

impl MemFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.fs.disk();
        if disk.life == self.life {
            Ok(disk)
        } else {
            Err(io::Error::other(
                "the process that opened this file is dead",
            ))
        }
    }
}

impl FsFile for MemFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk()?.data(self.node).live.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk()?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = disk.data(self.node).live.get(start..start + buf.len());
        buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk()?;
        let number = disk.operations;
        let started = disk.operation();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        disk.check_space(self.node, offset + bytes.len())?;
        let written = match &started {
            Ok(_) => bytes,
            // Nobody is there to write.
            Err(_) if disk.has_stopped() => return started.map(drop),
            Err(_) => &bytes[..bytes.len() / 2],
        };
        let data = disk.data(self.node);
        let same = unchanged(data.live.get(offset..).unwrap_or_default(), written);
        put(&mut data.live, offset, written);
        data.unsynced.push(Write {
            operation: number,
            offset: offset + same,
            bytes: written[same..].to_vec(),
        });
        started.map(drop)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.operation()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        disk.check_space(self.node, len)?;
        disk.data(self.node).live.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        let started = disk.operation();
        if started.is_err() && disk.has_stopped() {
            return started.map(drop);
        }
        disk.syncs += 1;
        let fails_next = std::mem::take(&mut disk.fails_next_sync);
        if let (Err(_), _) | (_, true) = (&started, fails_next) {
            disk.data(self.node).unsynced.clear();
            return started.and(Err(io::Error::other("input/output error")));
        }
        if !disk.lies {
            disk.data(self.node).sync();
        }
        Ok(())
    }

    fn reread(&self) -> io::Result<()> {
        self.sync_data()?;
        let mut disk = self.disk()?;
        if !disk.lies {
            let data = disk.data(self.node);
            data.live.clone_from(&data.durable);
        }
        Ok(())
    }
}

/// How many bytes at the beginning are there already. A disk that mangles what it isn't told to
/// change is more than any log could survive.
fn unchanged(there: &[u8], written: &[u8]) -> usize {
    there
        .iter()
        .zip(written)
        .take_while(|(there, written)| there == written)
        .count()
}
