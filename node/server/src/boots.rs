//! How often this disk's node was started. A peer that remembers a higher number knows that the
//! disk went back to an earlier state: a volume restored from an old copy has forgotten votes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const FILE: &str = "boots";

/// Counts this start, durably, and gives its number: 1 for the first.
///
/// # Errors
/// When the file can't be read or written, or holds something else.
pub(crate) fn count(data_dir: &Path) -> io::Result<u64> {
    let path = data_dir.join(FILE);
    let before = match fs::read_to_string(&path) {
        Ok(text) => text.trim_end().parse().map_err(|_| {
            let what = format!("{} is damaged", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0_u64,
        Err(error) => return Err(error),
    };
    let now = before + 1;
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{now}")?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(data_dir)?.sync_all()?;
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_counted_and_a_damaged_count_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(count(dir.path()).unwrap(), 1);
        assert_eq!(count(dir.path()).unwrap(), 2);
        fs::write(dir.path().join(FILE), "many").unwrap();
        assert_eq!(
            count(dir.path()).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
