//! What is wrong with the disk at the moment.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fuser::Errno;

#[derive(Clone, Copy, Default, Debug)]
struct Now {
    sync_delay: Duration,
    syncs_fail: bool,
    is_full: bool,
    is_frozen: bool,
    syncs: u64,
}

/// The faults, set by one thread while others wait for them.
#[derive(Default, Debug)]
pub(crate) struct Faults {
    now: Mutex<Now>,
    changed: Condvar,
}

impl Faults {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().expect("no holder panics")
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now());
        self.changed.notify_all();
    }

    /// Makes syncs slow.
    pub(crate) fn delay_syncs(&self, delay: Duration) {
        self.change(|now| now.sync_delay = delay);
    }

    /// Makes syncs fail.
    pub(crate) fn fail_syncs(&self) {
        self.change(|now| now.syncs_fail = true);
    }

    /// Leaves no space.
    pub(crate) fn fill(&self) {
        self.change(|now| now.is_full = true);
    }

    /// Stops all answers.
    pub(crate) fn freeze(&self) {
        self.change(|now| now.is_frozen = true);
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        self.change(|now| {
            *now = Now {
                syncs: now.syncs,
                ..Now::default()
            };
        });
    }

    /// How many syncs have ended.
    pub(crate) fn syncs(&self) -> u64 {
        self.now().syncs
    }

    /// Waits while the disk is frozen.
    pub(crate) fn before_anything(&self) {
        let now = self.now();
        let thawed = self.changed.wait_while(now, |now| now.is_frozen);
        drop(thawed.expect("no holder panics"));
    }

    /// Comes before what takes space.
    pub(crate) fn before_growing(&self) -> Result<(), Errno> {
        self.before_anything();
        match self.now().is_full {
            true => Err(Errno::ENOSPC),
            false => Ok(()),
        }
    }

    /// Comes before a sync, and takes its time.
    pub(crate) fn before_sync(&self) -> Result<(), Errno> {
        let began = Instant::now();
        let mut now = self.now();
        while now.is_frozen || began.elapsed() < now.sync_delay {
            let left = match now.is_frozen {
                // woken when that changes
                true => Duration::from_secs(3600),
                false => now.sync_delay.saturating_sub(began.elapsed()),
            };
            let woken = self.changed.wait_timeout(now, left);
            now = woken.expect("no holder panics").0;
        }
        match now.syncs_fail {
            true => Err(Errno::EIO),
            false => Ok(()),
        }
    }

    /// Comes after a sync that was done.
    pub(crate) fn after_sync(&self) {
        self.now().syncs += 1;
    }
}
