//! What lies in the store's directory besides the log itself: how it begins, and what goes.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use bytes::Bytes;
use raftery_fs::Fs;

use crate::AppliedId;
use crate::error::StoreIoError;
use crate::index::{FIRST_REVISION, NEVER_COMPACTED};
use crate::manifest::{Manifest, ManifestFile, life_dir, life_of};
use crate::segment::SegmentId;

/// The first manifest of a new store.
pub(crate) fn first_manifest(life: u64, checkpoint: Bytes) -> Manifest {
    Manifest {
        life,
        revision: FIRST_REVISION,
        compact_revision: NEVER_COMPACTED,
        applied: AppliedId::default(),
        reaches: 1,
        next_number: 1,
        next_sequence: 1,
        segments: Vec::new(),
        checkpoint,
    }
}

/// Makes an empty store in `root`.
pub(crate) fn create<F: Fs>(fs: &F, root: &Path, checkpoint: Bytes) -> Result<(), StoreIoError> {
    let life = 1;
    let dir = life_dir(root, life);
    let mut unsynced = vec![parent(root)];
    // Directories that are made now must have durable names as well.
    while let Some(made) = unsynced.last().filter(|dir| is_missing(fs, dir)) {
        unsynced.push(parent(made));
    }
    fs.create_dir_all(&dir)
        .map_err(StoreIoError::io("create", &dir, 0))?;
    sweep_segments(fs, &dir, &BTreeSet::new())?;
    sweep_lives(fs, root, life)?;
    for dir in unsynced {
        fs.sync_dir(dir).map_err(StoreIoError::sync(dir))?;
    }
    ManifestFile::create(fs, root, &first_manifest(life, checkpoint))
}

/// Removes, durably, the files in `dir` that are not the log: left of crashes and rewrites.
pub(crate) fn sweep_segments<F: Fs>(
    fs: &F,
    dir: &Path,
    keep: &BTreeSet<SegmentId>,
) -> Result<(), StoreIoError> {
    for name in list(fs, dir)? {
        if SegmentId::of(&name).is_some_and(|id| !keep.contains(&id)) {
            remove_file(fs, &dir.join(name))?;
        }
    }
    fs.sync_dir(dir).map_err(StoreIoError::sync(dir))
}

/// Removes every life but `life`: states that were replaced, or never begun. Returns the highest
/// number that one had.
pub(crate) fn sweep_lives<F: Fs>(fs: &F, root: &Path, life: u64) -> Result<u64, StoreIoError> {
    let mut highest = life;
    for name in list(fs, root)? {
        if let Some(found) = life_of(&name).filter(|found| *found != life) {
            remove_life(fs, &root.join(name))?;
            highest = highest.max(found);
        }
    }
    fs.sync_dir(root).map_err(StoreIoError::sync(root))?;
    Ok(highest)
}

/// Removes the directory of a life, or what somebody else who does so has left of it.
pub(crate) fn remove_life<F: Fs>(fs: &F, dir: &Path) -> Result<(), StoreIoError> {
    match list(fs, dir) {
        Err(error) if error.is_damage() => return Ok(()),
        names => {
            for name in names? {
                remove_file(fs, &dir.join(name))?;
            }
        }
    }
    gone(fs.remove_dir(dir), dir)
}

/// Removes a file, if it is there.
pub(crate) fn remove_file<F: Fs>(fs: &F, path: &Path) -> Result<(), StoreIoError> {
    gone(fs.remove_file(path), path)
}

fn gone(removed: io::Result<()>, path: &Path) -> Result<(), StoreIoError> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(StoreIoError::io("remove", path, 0)),
    }
}

/// Names in `dir`, sorted: what is done in their order must not depend on the file system.
pub(crate) fn list<F: Fs>(fs: &F, dir: &Path) -> Result<Vec<String>, StoreIoError> {
    let names = match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreIoError::damaged(dir, 0, "missing"));
        }
        names => names.map_err(StoreIoError::io("list", dir, 0))?,
    };
    let mut names: Vec<String> = names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// The directory that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn is_missing<F: Fs>(fs: &F, dir: &Path) -> bool {
    dir.parent().is_some()
        && fs
            .list(dir)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
