//! The random number that names a blank disk, drawn once and synced before anyone hears of it.
//!
//! It is all that a node has before it belongs to a cluster; afterwards its identity stands in
//! the WAL's headers.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

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
pub(crate) fn load_or_draw(data_dir: &Path, has_log: bool) -> io::Result<u64> {
    fs::create_dir_all(data_dir)?;
    match load(data_dir)? {
        Some(known) if has_log || !known.is_used => Ok(known.id),
        Some(_) | None => {
            let id = random_id()?;
            write(data_dir, &Incarnation { id, is_used: false })?;
            Ok(id)
        }
    }
}

/// Notes, durably, that an identity is about to be given to this incarnation. A crash before the
/// log is written costs no more than a new incarnation.
///
/// # Errors
/// When the file can't be written.
pub(crate) fn mark_used(data_dir: &Path, id: u64) -> io::Result<()> {
    write(data_dir, &Incarnation { id, is_used: true })
}

fn load(data_dir: &Path) -> io::Result<Option<Incarnation>> {
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => match parse(&text) {
            Some(known) => Ok(Some(known)),
            None => {
                let what = format!("{} is damaged", path.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, what))
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Option<Incarnation> {
    let (id, is_used) = match text.trim_end().split_once('\n') {
        None => (text.trim_end(), false),
        Some((id, USED)) => (id, true),
        Some(_) => return None,
    };
    let id = u64::from_str_radix(id, 16).ok().filter(|id| *id != 0)?;
    Some(Incarnation { id, is_used })
}

fn write(data_dir: &Path, incarnation: &Incarnation) -> io::Result<()> {
    let path = data_dir.join(FILE);
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{:016x}", incarnation.id)?;
    if incarnation.is_used {
        writeln!(file, "{USED}")?;
    }
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(data_dir)?.sync_all()?;
    if let Some(parent) = data_dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
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
    use super::*;

    #[test]
    fn a_disk_keeps_its_incarnation() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let first = load_or_draw(&data, false).unwrap();
        assert_eq!(load_or_draw(&data, false).unwrap(), first);
        mark_used(&data, first).unwrap();
        assert_eq!(load_or_draw(&data, true).unwrap(), first);
    }

    #[test]
    fn a_disk_that_lost_its_log_is_another_disk() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_draw(dir.path(), false).unwrap();
        mark_used(dir.path(), first).unwrap();
        let second = load_or_draw(dir.path(), false).unwrap();
        assert_ne!(second, first);
        assert_eq!(load_or_draw(dir.path(), false).unwrap(), second);
    }

    #[test]
    fn a_damaged_incarnation_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["nonsense", "1\nwhat", "0"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert!(load_or_draw(dir.path(), true).is_err(), "{text}");
        }
    }
}
