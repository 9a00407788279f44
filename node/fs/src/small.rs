//! Small files that are read and replaced whole.

use std::io;
use std::path::Path;

use crate::{Fs, FsFile};

/// What the file holds; `None` if there is none.
///
/// # Errors
/// What the system says.
pub fn read<F: Fs>(fs: &F, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match fs.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    file.read_at(0, &mut bytes)?;
    Ok(Some(bytes))
}

/// Replaces what the file holds, durably: after a crash at any time it holds the one or the other.
///
/// # Errors
/// What the system says; the file is as it was then, or as it should be.
pub fn replace<F: Fs>(fs: &F, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs.remove_file(&new) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = fs.create(&new)?;
    file.write_at(0, bytes)?;
    file.sync_data()?;
    drop(file);
    fs.rename(&new, path)?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => fs.sync_dir(dir),
        _ => fs.sync_dir(Path::new(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemFs;

    const KINDS: [io::ErrorKind; 3] = [
        io::ErrorKind::Other,
        io::ErrorKind::StorageFull,
        io::ErrorKind::ReadOnlyFilesystem,
    ];

    fn path() -> &'static Path {
        Path::new("/data/number")
    }

    fn with_a_file() -> MemFs {
        let fs = MemFs::new(1);
        fs.create_dir_all(Path::new("/data")).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        replace(&fs, path(), b"the old").unwrap();
        fs
    }

    #[test]
    fn no_crash_and_no_refusal_leaves_anything_but_the_old_or_the_new() {
        let whole = with_a_file();
        let begun = whole.operations();
        replace(&whole, path(), b"the new one").unwrap();
        let (mut old, mut new) = (0, 0);
        let mut look = |fs: &MemFs, what: &str| match read(fs, path()).unwrap().as_deref() {
            Some(b"the old") => old += 1,
            Some(b"the new one") => new += 1,
            other => panic!("{what}: {other:?}"),
        };
        for at in begun..=whole.operations() {
            let fs = with_a_file();
            fs.stop_at(Some(at));
            let is_done = replace(&fs, path(), b"the new one").is_ok();
            for (crash, fs) in fs.crashes(8) {
                look(&fs, &format!("stopped at {at}, {crash}"));
                assert!(!is_done || read(&fs, path()).unwrap().unwrap() == b"the new one");
                // What was left behind is in nobody's way.
                replace(&fs, path(), b"the next").unwrap();
            }
            for kind in KINDS {
                let fs = with_a_file();
                fs.fail_at(at, kind);
                let _ = replace(&fs, path(), b"the new one");
                fs.stop_failing();
                look(&fs, &format!("{kind:?} at {at}"));
                replace(&fs, path(), b"the next").unwrap();
            }
        }
        assert!(old > 10 && new > 10, "{old} old, {new} new");
    }

    #[test]
    fn a_file_that_isnt_there_is_none_and_an_empty_one_is_empty() {
        let fs = MemFs::new(1);
        fs.create_dir_all(Path::new("/data")).unwrap();
        assert_eq!(read(&fs, path()).unwrap(), None);
        drop(fs.create(path()).unwrap());
        assert_eq!(read(&fs, path()).unwrap(), Some(Vec::new()));
    }
}
