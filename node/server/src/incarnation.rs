//! The random number that names a blank disk, drawn once and synced before anyone hears of it.
//!
//! It is all that a node has before it belongs to a cluster; afterwards its identity stands in
//! the WAL's headers.

use std::io;
use std::path::Path;

use raftery_fs::{Fs, small};

const FILE: &str = "incarnation";
/// The file's second line, once an identity was given to it.
const USED: &str = "used";

/// What the file says.
struct Incarnation {
    id: u64,
    /// An identity was, or was about to be, given to it.
    is_used: bool,
}

/// Reads the incarnation of the disk under `data_dir`, drawing one if there is none.
///
/// An incarnation that was used and has no write-ahead log any more (`has_log`) has lost votes
/// and entries that it promised to keep: the disk counts as another one and gets a new
/// incarnation, so that nobody takes it for the old member.
///
/// # Errors
/// When the folder can't be made or read, or holds something that isn't an incarnation.
pub(crate) fn load_or_draw<F: Fs>(fs: &F, data_dir: &Path, has_log: bool) -> io::Result<u64> {
    fs.create_dir_all(data_dir)?;
    match load(fs, data_dir)? {
        Some(known) if has_log || !known.is_used => Ok(known.id),
        Some(_) | None => {
            let id = random_id()?;
            write(fs, data_dir, &Incarnation { id, is_used: false })?;
            Ok(id)
        }
    }
}

/// Notes, durably, that an identity is about to be given to this incarnation. A crash before the
/// log is written costs no more than a new incarnation.
///
/// # Errors
/// When the file can't be written.
pub(crate) fn mark_used<F: Fs>(fs: &F, data_dir: &Path, id: u64) -> io::Result<()> {
    write(fs, data_dir, &Incarnation { id, is_used: true })
}

fn load<F: Fs>(fs: &F, data_dir: &Path) -> io::Result<Option<Incarnation>> {
    let path = data_dir.join(FILE);
    let Some(bytes) = small::read(fs, &path)? else {
        return Ok(None);
    };
    let known = parse(&bytes).ok_or_else(|| {
        let what = format!("{} is damaged", path.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })?;
    Ok(Some(known))
}

fn parse(bytes: &[u8]) -> Option<Incarnation> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (id, is_used) = match text.trim_end().split_once('\n') {
        None => (text.trim_end(), false),
        Some((id, USED)) => (id, true),
        Some(_) => return None,
    };
    let id = u64::from_str_radix(id, 16).ok().filter(|id| *id != 0)?;
    Some(Incarnation { id, is_used })
}

fn write<F: Fs>(fs: &F, data_dir: &Path, incarnation: &Incarnation) -> io::Result<()> {
    let mut text = format!("{:016x}\n", incarnation.id);
    if incarnation.is_used {
        text.push_str(USED);
        text.push('\n');
    }
    small::replace(fs, &data_dir.join(FILE), text.as_bytes())?;
    match data_dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => fs.sync_dir(parent),
        None => Ok(()),
    }
}

/// A random identifier: never 0.
///
/// # Errors
/// When the operating system has no randomness to give.
pub(crate) fn random_id() -> io::Result<u64> {
    loop {
        let id = getrandom::u64().map_err(io::Error::other)?;
        if id != 0 {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use raftery_fs::{MemFs, RealFs};

    use super::*;

    fn dir() -> &'static Path {
        Path::new("/data/raftery")
    }

    #[test]
    fn a_disk_keeps_its_incarnation() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let first = load_or_draw(&RealFs, &data, false).unwrap();
        assert_eq!(load_or_draw(&RealFs, &data, false).unwrap(), first);
        mark_used(&RealFs, &data, first).unwrap();
        assert_eq!(load_or_draw(&RealFs, &data, true).unwrap(), first);
    }

    #[test]
    fn a_disk_that_lost_its_log_is_another_disk() {
        let fs = MemFs::new(1);
        let first = load_or_draw(&fs, dir(), false).unwrap();
        mark_used(&fs, dir(), first).unwrap();
        let second = load_or_draw(&fs, dir(), false).unwrap();
        assert_ne!(second, first);
        assert_eq!(load_or_draw(&fs, dir(), false).unwrap(), second);
    }

    #[test]
    fn a_damaged_incarnation_is_refused() {
        let fs = MemFs::new(1);
        fs.create_dir_all(dir()).unwrap();
        for text in ["nonsense", "1\nwhat", "0", ""] {
            small::replace(&fs, &dir().join(FILE), text.as_bytes()).unwrap();
            assert!(load_or_draw(&fs, dir(), true).is_err(), "{text:?}");
        }
    }
}
