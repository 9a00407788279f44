//! What happens, on standard error, with the time since the start.

use std::time::Instant;

/// Says what happens.
pub struct Progress {
    began: Instant,
}

impl Progress {
    /// Time counts from now on.
    #[must_use]
    pub fn start() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// One line.
    pub fn say(&self, what: &str) {
        eprintln!("[{:>5}s] {what}", self.began.elapsed().as_secs());
    }
}
