//! How often this disk's node was started. A peer that remembers a higher number knows that the
//! disk went back to an earlier state: a volume restored from an old copy has forgotten votes.

use std::io;
use std::path::Path;

use raftery_fs::{Fs, small};

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
pub(crate) fn count<F: Fs>(fs: &F, data_dir: &Path) -> io::Result<u64> {
    let path = data_dir.join(FILE);
    let before = match small::read(fs, &path)? {
        Some(bytes) => parse(&bytes).ok_or_else(|| {
            let what = format!("{} is damaged", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?,
        None => 0,
    };
    let now = before + 1;
    small::replace(fs, &path, format!("{now}\n").as_bytes())?;
    Ok(now)
}

fn parse(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use raftery_fs::MemFs;

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
        let (fs, dir) = (MemFs::new(1), Path::new("/data"));
        fs.create_dir_all(dir).unwrap();
        assert_eq!(count(&fs, dir).unwrap(), 1);
        assert_eq!(count(&fs, dir).unwrap(), 2);
        for damaged in ["many", "", "-1", "\u{fffd}"] {
            small::replace(&fs, &dir.join(FILE), damaged.as_bytes()).unwrap();
            let refused = count(&fs, dir).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{damaged:?}");
        }
    }
}
