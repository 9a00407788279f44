//! Times: shown while they pass, judged by their median.

use std::time::{Duration, Instant};

/// A time fails a test only beyond this multiple of its figure: machines differ, and what is
/// wrong by design is wrong by more.
const TOLERANCE: u32 = 5;

/// A time that is promised, and what was measured of it.
pub struct Figure {
    name: &'static str,
    promised: Duration,
    measured: Vec<Duration>,
}

impl Figure {
    /// A promise without measurements.
    #[must_use]
    pub fn new(name: &'static str, promised: Duration) -> Self {
        Self {
            name,
            promised,
            measured: Vec::new(),
        }
    }

    /// Adds a measurement.
    pub fn add(&mut self, measured: Duration) {
        self.measured.push(measured);
    }

    /// The middle measurement.
    #[must_use]
    pub fn median(&self) -> Duration {
        let mut sorted = self.measured.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    /// Prints the measurements; panics if the median is far beyond the promise, or if
    /// nothing was measured.
    pub fn judge(&self) {
        let median = self.median();
        let longest = self.measured.iter().max().copied().unwrap_or_default();
        println!(
            "figure: {}: median {:.2} s of {}, longest {:.2} s (promised {:.0} s)",
            self.name,
            median.as_secs_f64(),
            self.measured.len(),
            longest.as_secs_f64(),
            self.promised.as_secs_f64(),
        );
        assert!(!self.measured.is_empty(), "{}: never measured", self.name);
        assert!(
            median <= self.promised * TOLERANCE,
            "{}: median {median:?}, more than {TOLERANCE} times the promised {:?}",
            self.name,
            self.promised,
        );
    }
}

/// Prints lines with the time since it was made.
pub struct Progress {
    began: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            began: Instant::now(),
        }
    }
}

impl Progress {
    /// Prints a line.
    pub fn say(&self, line: impl AsRef<str>) {
        println!(
            "[{:6.1}s] {}",
            self.began.elapsed().as_secs_f64(),
            line.as_ref()
        );
    }

    /// Time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_what_was_measured() {
        let mut figure = Figure::new("x", Duration::from_secs(1));
        for seconds in [9, 1, 2] {
            figure.add(Duration::from_secs(seconds));
        }
        assert_eq!(figure.median(), Duration::from_secs(2));
        figure.judge();
    }

    #[test]
    #[should_panic(expected = "more than 5 times")]
    fn a_median_far_beyond_the_promise_fails() {
        let mut figure = Figure::new("x", Duration::from_secs(1));
        figure.add(Duration::from_secs(6));
        figure.judge();
    }
}
