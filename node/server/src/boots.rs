//! How often this disk's node was started. A peer that remembers a higher number knows that the
//! disk went back to an earlier state: a volume restored from an old copy has forgotten votes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const FILE: &str = "boots";

/// One start of a peer's node, as its handshakes tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Boot {
    /// Which start of its disk.
    pub(crate) number: u64,
    /// Drawn by that start; 0: it told none.
    pub(crate) drawn: u64,
}

impl Boot {
    /// Remembers a start. Whether it shows that the disk went back: its number is lower than a
    /// known one, or is another start's (a copy was made between two starts, and put back after
    /// the second one).
    pub(crate) fn goes_back(&mut self, told: Self) -> bool {
        let known = *self;
        let is_known = told.number == known.number;
        if told.number > known.number || (is_known && known.drawn == 0) {
            *self = told;
        }
        let drew = known.drawn != 0 && told.drawn != 0;
        told.number < known.number || (is_known && drew && told.drawn != known.drawn)
    }
}

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
    fn a_lower_number_and_a_known_one_of_another_start_show_a_disk_that_went_back() {
        let boot = |number, drawn| Boot { number, drawn };
        let mut known = Boot::default();
        assert!(!known.goes_back(boot(1, 11)));
        assert!(!known.goes_back(boot(2, 22)));
        assert!(!known.goes_back(boot(2, 22)), "it connected again");
        assert!(known.goes_back(boot(2, 33)), "the copy was of before 22");
        assert!(known.goes_back(boot(1, 11)));
        assert!(!known.goes_back(boot(2, 0)), "it is too old to tell");
        assert!(!known.goes_back(boot(3, 44)));
        assert_eq!(known, boot(3, 44));
    }

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
