//! A member's clock: it begins somewhere and runs a little fast or slow.

use std::time::Duration;

use fastrand::Rng;
use raftery_raft::Instant;

/// Half of what two clocks may differ in a million: leases allow for 1 % between any two.
const DRIFT_PPM_MAX: i64 = 5_000;
const MILLION: i128 = 1_000_000;

/// Turns simulated time into what one member's process reads, and back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// Read at simulated time 0.
    offset: Duration,
    drift_ppm: i64,
}

impl Clock {
    /// A machine boots: its clock counts from then, and its crystal is its own.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            offset: Duration::from_millis(rng.u64(0..100_000)),
            drift_ppm: rng.i64(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX),
        }
    }

    pub(crate) fn drifts(self) -> bool {
        self.drift_ppm != 0
    }

    /// What the member reads at simulated time `at`.
    pub(crate) fn read(self, at: Instant) -> Instant {
        let passed = nanos(at.0);
        self.instant(passed + passed * i128::from(self.drift_ppm) / MILLION)
    }

    /// When the member reads `local`, or a moment later.
    pub(crate) fn when(self, local: Instant) -> Instant {
        let passed = nanos(local.0) - nanos(self.offset);
        let at = passed * MILLION / (MILLION + i128::from(self.drift_ppm)) + 1;
        Instant(duration(at))
    }

    fn instant(self, passed: i128) -> Instant {
        Instant(self.offset + duration(passed))
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

/// Nothing before the beginning.
fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_reached_too_early() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..10_000 {
            let clock = Clock::draw(&mut rng);
            let at = Instant(Duration::from_nanos(rng.u64(0..1 << 45)));
            let local = clock.read(at);
            let again = clock.when(local);
            assert!(clock.read(again) >= local, "{clock:?} {at:?}");
            assert!(
                again.since(at) < Duration::from_micros(1),
                "{clock:?} {at:?}"
            );
        }
    }
}
