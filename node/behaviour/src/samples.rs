//! Values of one window.

use std::time::Duration;

use crate::observation::Times;

/// Values kept for each window; more are counted by nobody.
pub(crate) const SAMPLES_MAX: usize = 1024;

/// Values of one window, in microseconds.
///
/// Invariant: at most [`SAMPLES_MAX`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<u64>);

impl Samples {
    pub(crate) fn add(&mut self, value: Duration) {
        if self.0.len() < SAMPLES_MAX {
            self.0.push(micros(value));
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The shortest.
    pub(crate) fn min(&self) -> Option<u64> {
        self.0.iter().min().copied()
    }

    /// Ends the window.
    pub(crate) fn finish(&mut self) -> Option<Times> {
        let micros = &mut self.0;
        micros.sort_unstable();
        let max_micros = *micros.last()?;
        // Nearest rank: the smallest value that at least this share doesn't exceed.
        let percentile = |percent: usize| micros[(micros.len() * percent).div_ceil(100).max(1) - 1];
        // Of fewer than 20 it would be the longest, and one hiccup is no habit.
        let all_but_one = micros[micros.len().saturating_sub(2)];
        let times = Times {
            p50_micros: percentile(50),
            p95_micros: percentile(95).min(all_but_one),
            max_micros,
        };
        micros.clear();
        Some(times)
    }
}

/// A duration in whole microseconds, capped at what fits.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A duration in whole milliseconds, capped at what fits.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
