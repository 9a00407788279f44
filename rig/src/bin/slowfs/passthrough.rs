//! The file system: what a node does with its data folder, and no more (no links, no owners, no
//! extended attributes).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use rustix::fs::FallocateFlags;

use crate::faults::Faults;

/// How long the kernel may remember names and attributes: not at all, since tests change files
/// beneath.
const REMEMBERED: Duration = Duration::ZERO;

/// A directory, seen through faults.
pub(crate) struct Passthrough {
    faults: Arc<Faults>,
    names: Mutex<Names>,
    open: Mutex<HashMap<u64, Arc<File>>>,
    next_handle: AtomicU64,
}

/// Inode numbers are given to paths when they are first looked up, and go along when they are
/// renamed.
struct Names {
    paths: HashMap<u64, PathBuf>,
    inodes: HashMap<PathBuf, u64>,
    next: u64,
}

impl Names {
    fn inode(&mut self, path: &Path) -> INodeNo {
        if let Some(known) = self.inodes.get(path) {
            return INodeNo(*known);
        }
        self.next += 1;
        self.paths.insert(self.next, path.to_owned());
        self.inodes.insert(path.to_owned(), self.next);
        INodeNo(self.next)
    }

    fn forget(&mut self, path: &Path) {
        if let Some(inode) = self.inodes.remove(path) {
            self.paths.remove(&inode);
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        self.forget(to);
        for (inode, path) in &mut self.paths {
            if let Ok(rest) = path.strip_prefix(from) {
                self.inodes.remove(path);
                *path = match rest.as_os_str().is_empty() {
                    true => to.to_owned(),
                    false => to.join(rest),
                };
                self.inodes.insert(path.clone(), *inode);
            }
        }
    }
}

impl Passthrough {
    /// Shows this directory.
    pub(crate) fn new(beneath: PathBuf, faults: Arc<Faults>) -> Self {
        let root = INodeNo::ROOT.0;
        Self {
            faults,
            names: Mutex::new(Names {
                paths: HashMap::from([(root, beneath.clone())]),
                inodes: HashMap::from([(beneath, root)]),
                next: root,
            }),
            open: Mutex::default(),
            next_handle: AtomicU64::new(1),
        }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().expect("no holder panics")
    }

    fn open_files(&self) -> MutexGuard<'_, HashMap<u64, Arc<File>>> {
        self.open.lock().expect("no holder panics")
    }

    fn path(&self, inode: INodeNo) -> Result<PathBuf, Errno> {
        let path = self.names().paths.get(&inode.0).cloned();
        path.ok_or(Errno::ENOENT)
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> Result<PathBuf, Errno> {
        Ok(self.path(parent)?.join(name))
    }

    fn file(&self, handle: FileHandle) -> Result<Arc<File>, Errno> {
        let file = self.open_files().get(&handle.0).cloned();
        file.ok_or(Errno::EBADF)
    }

    fn keep_open(&self, file: File) -> FileHandle {
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.open_files().insert(handle, Arc::new(file));
        FileHandle(handle)
    }

    fn entry(&self, path: &Path) -> Result<FileAttr, Errno> {
        let metadata = fs::symlink_metadata(path)?;
        let inode = self.names().inode(path);
        Ok(attributes(inode, &metadata))
    }

    fn change(
        &self,
        inode: INodeNo,
        mode: Option<u32>,
        size: Option<u64>,
        handle: Option<FileHandle>,
    ) -> Result<FileAttr, Errno> {
        self.faults.before_anything();
        let file = match handle {
            Some(handle) => self.file(handle)?,
            None => Arc::new(match size {
                Some(_) => OpenOptions::new().write(true).open(self.path(inode)?)?,
                None => File::open(self.path(inode)?)?,
            }),
        };
        if let Some(size) = size {
            if size > file.metadata()?.len() {
                self.faults.before_growing()?;
            }
            file.set_len(size)?;
        }
        if let Some(mode) = mode {
            file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
        }
        Ok(attributes(inode, &file.metadata()?))
    }

    fn grow(
        &self,
        handle: FileHandle,
        write: impl Fn(&File) -> io::Result<()>,
    ) -> Result<(), Errno> {
        self.faults.before_growing()?;
        Ok(write(&*self.file(handle)?)?)
    }

    fn write_at(&self, handle: FileHandle, data: &[u8], offset: u64) -> Result<(), Errno> {
        let file = self.file(handle)?;
        match offset + data.len() as u64 > file.metadata()?.len() {
            true => self.faults.before_growing()?,
            false => self.faults.before_anything(),
        }
        Ok(file.write_all_at(data, offset)?)
    }

    /// On a thread of its own: a slow sync holds up nobody else.
    fn sync(&self, file: Result<Arc<File>, Errno>, is_data_only: bool, reply: ReplyEmpty) {
        let faults = Arc::clone(&self.faults);
        std::thread::spawn(move || {
            let done = faults.before_sync().and_then(|()| {
                let file = file?;
                let synced = match is_data_only {
                    true => file.sync_data(),
                    false => file.sync_all(),
                };
                Ok(synced?)
            });
            match done {
                Ok(()) => {
                    faults.after_sync();
                    reply.ok();
                }
                Err(error) => reply.error(error),
            }
        });
    }
}

fn attributes(inode: INodeNo, metadata: &Metadata) -> FileAttr {
    let time = |time: io::Result<SystemTime>| time.unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: inode,
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: time(metadata.accessed()),
        mtime: time(metadata.modified()),
        ctime: time(metadata.modified()),
        crtime: time(metadata.created()),
        kind: FileType::from_std(metadata.file_type()).unwrap_or(FileType::RegularFile),
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: metadata.blksize() as u32,
        flags: 0,
    }
}

/// Answers with what was found, or with the error.
macro_rules! answer {
    ($reply:ident, $result:expr, $found:pat => $answer:expr) => {
        match $result {
            Ok($found) => $answer,
            Err(error) => $reply.error(error),
        }
    };
}

impl Filesystem for Passthrough {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.faults.before_anything();
        let found = self.child(parent, name).and_then(|path| self.entry(&path));
        answer!(reply, found, entry => reply.entry(&REMEMBERED, &entry, Generation(0)));
    }

    fn getattr(&self, _: &Request, inode: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.change(inode, None, None, handle);
        answer!(reply, found, entry => reply.attr(&REMEMBERED, &entry));
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.change(inode, mode, size, handle);
        answer!(reply, changed, entry => reply.attr(&REMEMBERED, &entry));
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.faults.before_growing().and_then(|()| {
            let path = self.child(parent, name)?;
            fs::DirBuilder::new().mode(mode & !umask).create(&path)?;
            self.entry(&path)
        });
        answer!(reply, made, entry => reply.entry(&REMEMBERED, &entry, Generation(0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.faults.before_anything();
        let done = self.child(parent, name).and_then(|path| {
            fs::remove_file(&path)?;
            self.names().forget(&path);
            Ok(())
        });
        answer!(reply, done, () => reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.faults.before_anything();
        let done = self.child(parent, name).and_then(|path| {
            fs::remove_dir(&path)?;
            self.names().forget(&path);
            Ok(())
        });
        answer!(reply, done, () => reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.faults.before_anything();
        let done = self.child(parent, name).and_then(|from| {
            if !flags.is_empty() {
                return Err(Errno::EINVAL);
            }
            let to = self.child(new_parent, new_name)?;
            fs::rename(&from, &to)?;
            self.names().rename(&from, &to);
            Ok(())
        });
        answer!(reply, done, () => reply.ok());
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.faults.before_anything();
        let opened = self.path(inode).and_then(|path| {
            // The kernel reads to fill pages that are written in part.
            let writes = flags.acc_mode() != OpenAccMode::O_RDONLY;
            Ok(OpenOptions::new().read(true).write(writes).open(path)?)
        });
        answer!(reply, opened, file => reply.opened(self.keep_open(file), FopenFlags::empty()));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let created = self.faults.before_growing().and_then(|()| {
            let path = self.child(parent, name)?;
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(mode & !umask)
                .open(&path)?;
            Ok((self.entry(&path)?, file))
        });
        answer!(reply, created, (entry, file) => {
            let handle = self.keep_open(file);
            reply.created(&REMEMBERED, &entry, Generation(0), handle, FopenFlags::empty());
        });
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.faults.before_anything();
        let read = self.file(handle).and_then(|file| {
            let mut bytes = vec![0; size as usize];
            let mut filled = 0;
            loop {
                match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                    0 => break,
                    more => filled += more,
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        });
        answer!(reply, read, bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.write_at(handle, data, offset);
        answer!(reply, written, () => reply.written(data.len() as u32));
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let done = self.grow(handle, |file| {
            Ok(rustix::fs::fallocate(file, flags, offset, length)?)
        });
        answer!(reply, done, () => reply.ok());
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.open_files().remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, data: bool, reply: ReplyEmpty) {
        self.sync(self.file(handle), data, reply);
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, _: FileHandle, data: bool, reply: ReplyEmpty) {
        let directory = self.path(inode);
        let directory = directory.and_then(|path| Ok(Arc::new(File::open(path)?)));
        self.sync(directory, data, reply);
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.faults.before_anything();
        let listed = self.path(inode).and_then(|path| {
            let mut entries = vec![
                (inode, FileType::Directory, ".".into()),
                (inode, FileType::Directory, "..".into()),
            ];
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let kind = FileType::from_std(entry.file_type()?);
                let inode = self.names().inode(&entry.path());
                let kind = kind.unwrap_or(FileType::RegularFile);
                entries.push((inode, kind, entry.file_name()));
            }
            // by name, so that places stay the same from call to call
            entries[2..].sort_by(|a, b| a.2.cmp(&b.2));
            Ok(entries)
        });
        answer!(reply, listed, entries => {
            let from = entries.into_iter().enumerate().skip(offset as usize);
            for (place, (inode, kind, name)) in from {
                if reply.add(inode, place as u64 + 1, kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, inode: INodeNo, reply: ReplyStatfs) {
        self.faults.before_anything();
        let found = self.path(inode).and_then(|path| {
            rustix::fs::statvfs(path).map_err(|error| io::Error::from(error).into())
        });
        answer!(reply, found, all => reply.statfs(
            all.f_blocks,
            all.f_bfree,
            all.f_bavail,
            all.f_files,
            all.f_ffree,
            all.f_bsize as u32,
            all.f_namemax as u32,
            all.f_frsize as u32,
        ));
    }
}
