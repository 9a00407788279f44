//! The one clock that Raft sees: time since boot, counting suspension, so that a machine that
//! slept doesn't believe that no time has passed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raftery_raft::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Now, on `CLOCK_BOOTTIME`.
#[must_use]
pub(crate) fn now() -> Instant {
    let t = clock_gettime(ClockId::Boottime);
    let secs = u64::try_from(t.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(t.tv_nsec).unwrap_or(0);
    Instant(Duration::new(secs, nanos))
}

/// The wall clock in milliseconds since 1970, for people only: nothing is decided by it.
#[must_use]
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
