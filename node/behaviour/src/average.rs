//! What was measured of late, in constant space.

use std::time::Duration;

/// Mean and deviation of some last values: each further one weighs `1 / weight` (RFC 6298 smooths
/// round trips like this). The first ones weigh more, so that they count at once.
#[derive(Debug, Clone)]
pub(crate) struct Average {
    weight: u32,
    count: u32,
    mean: f64,
    variance: f64,
}

impl Average {
    pub(crate) fn new(weight: u32) -> Self {
        Self {
            weight,
            count: 0,
            mean: 0.0,
            variance: 0.0,
        }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        let share = 1.0 / f64::from(self.count.min(self.weight));
        let distance = value - self.mean;
        self.mean += share * distance;
        self.variance = (1.0 - share) * (self.variance + share * distance * distance);
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    pub(crate) fn deviation(&self) -> f64 {
        self.variance.sqrt()
    }
}

/// The longest of the last while: of the present period and the one before.
#[derive(Debug, Clone)]
pub(crate) struct Longest {
    period: Duration,
    began: Duration,
    present: Duration,
    before: Duration,
}

impl Longest {
    pub(crate) fn new(period: Duration) -> Self {
        Self {
            period,
            began: Duration::ZERO,
            present: Duration::ZERO,
            before: Duration::ZERO,
        }
    }

    pub(crate) fn add(&mut self, now: Duration, value: Duration) {
        let passed = now.saturating_sub(self.began);
        if passed >= self.period {
            self.before = if passed < 2 * self.period {
                self.present
            } else {
                Duration::ZERO
            };
            self.present = Duration::ZERO;
            self.began = now;
        }
        self.present = self.present.max(value);
    }

    pub(crate) fn get(&self) -> Duration {
        self.present.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_follows_and_its_deviation_is_that_of_the_values() {
        let mut average = Average::new(8);
        for value in [1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0] {
            average.add(value);
        }
        assert!((average.mean() - 2.0).abs() < 1e-9, "{average:?}");
        assert!((average.deviation() - 1.0).abs() < 1e-9, "{average:?}");
        for _ in 0..200 {
            average.add(7.0);
        }
        assert!((average.mean() - 7.0).abs() < 1e-6, "{average:?}");
        assert!(average.deviation() < 1e-3, "{average:?}");
    }

    #[test]
    fn the_longest_is_forgotten_after_one_to_two_periods() {
        let second = Duration::from_secs(1);
        let mut longest = Longest::new(10 * second);
        longest.add(3 * second, 5 * second);
        for at in 4..20 {
            longest.add(at * second, second);
            assert_eq!(longest.get(), 5 * second, "{at}");
        }
        longest.add(20 * second, second);
        assert_eq!(longest.get(), second);
        longest.add(21 * second, 7 * second);
        longest.add(60 * second, second);
        assert_eq!(longest.get(), second);
    }
}
