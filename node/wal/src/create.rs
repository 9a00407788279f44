//! Founding a log so that a crash leaves all of it or nothing: it is made in a directory of
//! another name, which is renamed once everything in it is durable.

use std::io;
use std::path::{Path, PathBuf};

use raftery_fs::Fs;

use crate::WalError;
use crate::recover::parent;

/// Ending of the name of a log that is being founded.
pub(crate) const FOUNDING: &str = ".tmp";

/// A log that has no name yet.
pub(crate) struct Making {
    /// Where it is made.
    pub(crate) temporary: PathBuf,
}

/// Makes an empty temporary directory beside `dir`, with this ending to its name. The directories
/// above have durable names then: once the log has its name, only that may be unsynced, and
/// recovery sees to it.
pub(crate) fn begin<F: Fs>(fs: &F, dir: &Path, ending: &str) -> Result<Making, WalError> {
    let temporary = beside(dir, ending);
    remove(fs, &temporary)?;
    fs.create_dir_all(&temporary)
        .map_err(WalError::io("create", &temporary))?;
    // An earlier attempt may have made some and failed to sync them, so all are.
    let mut above = parent(dir);
    loop {
        match fs.sync_dir(above) {
            // What this process may not open it hasn't made.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            synced => synced.map_err(WalError::sync(above))?,
        }
        if above.parent().is_none() || above == Path::new(".") {
            break;
        }
        above = parent(above);
    }
    Ok(Making { temporary })
}

impl Making {
    /// Gives the log its name, durably. Everything in it is durable already.
    pub(crate) fn finish<F: Fs>(self, fs: &F, dir: &Path) -> Result<(), WalError> {
        let Self { temporary } = self;
        fs.sync_dir(&temporary)
            .map_err(WalError::sync(&temporary))?;
        fs.rename(&temporary, dir)
            .map_err(WalError::io("rename", &temporary))?;
        let parent = parent(dir);
        fs.sync_dir(parent).map_err(WalError::sync(parent))
    }
}

/// The path of something that has the name of `dir` and an ending.
pub(crate) fn beside(dir: &Path, ending: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    dir.with_file_name(name)
}

pub(crate) fn is_missing<F: Fs>(fs: &F, dir: &Path) -> bool {
    dir.parent().is_some()
        && fs
            .list(dir)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

pub(crate) fn remove<F: Fs>(fs: &F, dir: &Path) -> Result<(), WalError> {
    let names = match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(WalError::io("list", dir))?,
    };
    for name in names {
        let path = dir.join(name);
        fs.remove_file(&path)
            .map_err(WalError::io("remove", &path))?;
    }
    fs.remove_dir(dir).map_err(WalError::io("remove", dir))
}
