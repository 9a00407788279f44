//! The random number that names a blank disk, drawn once and synced before anyone hears of it.
//!
//! It is all that a node has before it belongs to a cluster; afterwards its identity stands in
//! the WAL's headers.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const FILE: &str = "incarnation";

/// Reads the incarnation of the disk under `data_dir`, drawing one if there is none.
///
/// # Errors
/// When the folder can't be made or read, or holds something that isn't an incarnation.
pub(crate) fn load_or_draw(data_dir: &Path) -> io::Result<u64> {
    fs::create_dir_all(data_dir)?;
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is damaged", path.display()),
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => draw(data_dir, &path),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim(), 16)
        .ok()
        .filter(|i| *i != 0)
}

fn draw(data_dir: &Path, path: &Path) -> io::Result<u64> {
    let incarnation = random_id()?;
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{incarnation:016x}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(data_dir)?.sync_all()?;
    if let Some(parent) = data_dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(incarnation)
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
        let first = load_or_draw(&data).unwrap();
        assert_eq!(load_or_draw(&data).unwrap(), first);
    }

    #[test]
    fn a_damaged_incarnation_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "nonsense").unwrap();
        assert!(load_or_draw(dir.path()).is_err());
    }
}
