//! What the kernel says of processes and of the machine, from `/proc`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time that these processes have used so far, user and system.
pub fn cpu_time(ids: &[u32]) -> Result<Duration> {
    let mut ticks = 0;
    for id in ids {
        ticks += process_ticks(&read(&format!("/proc/{id}/stat"))?)
            .with_context(|| format!("/proc/{id}/stat isn't as expected"))?;
    }
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_micros(ticks * 1_000_000 / per_second))
}

/// Resident memory of these processes, in bytes.
pub fn resident_bytes(ids: &[u32]) -> Result<u64> {
    let mut kib = 0;
    for id in ids {
        kib += resident_kib(&read(&format!("/proc/{id}/status"))?)
            .with_context(|| format!("/proc/{id}/status has no VmRSS"))?;
    }
    Ok(kib * 1024)
}

/// Time of all cores since the machine started.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cores {
    busy: u64,
    idle: u64,
}

impl Cores {
    /// As of now.
    pub fn now() -> Result<Self> {
        Self::parse(&read("/proc/stat")?).context("/proc/stat isn't as expected")
    }

    /// The share of the cores' time that was used since then, 0 to 1.
    #[must_use]
    pub fn used_since(self, then: Self) -> f64 {
        let busy = (self.busy - then.busy) as f64;
        let idle = (self.idle - then.idle) as f64;
        busy / (busy + idle).max(1.0)
    }

    /// user nice system idle iowait irq softirq steal; guest times are contained in the first.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let times: Option<Vec<u64>> = line
            .split_whitespace()
            .take(8)
            .map(|time| time.parse().ok())
            .collect();
        let times = times.filter(|times| times.len() == 8)?;
        let idle = times[3] + times[4];
        let busy = times.iter().sum::<u64>() - idle;
        Some(Self { busy, idle })
    }
}

/// Name of the processor and number of cores.
pub fn processor() -> Result<(String, usize)> {
    let text = read("/proc/cpuinfo")?;
    let cores = text
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let name = text
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("unknown", |(_, name)| name.trim());
    Ok((name.to_owned(), cores))
}

/// Memory of the machine in bytes.
pub fn memory_bytes() -> Result<u64> {
    let text = read("/proc/meminfo")?;
    let kib = kib_of(&text, "MemTotal:").context("/proc/meminfo has no MemTotal")?;
    Ok(kib * 1024)
}

/// Type of the file system in which the directory lies, and its device.
pub fn file_system(directory: &Path) -> Result<(String, String)> {
    let directory = directory
        .canonicalize()
        .with_context(|| format!("looking for {}", directory.display()))?;
    mount_of(&read("/proc/self/mounts")?, &directory)
        .with_context(|| format!("no mount holds {}", directory.display()))
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

/// utime + stime, fields 14 and 15. The name in field 2 may hold blanks and parentheses.
fn process_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_kib(status: &str) -> Option<u64> {
    kib_of(status, "VmRSS:")
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The deepest mount that holds the directory; of those at one place the last one.
fn mount_of(mounts: &str, directory: &Path) -> Option<(String, String)> {
    let held = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let device = fields.next()?;
        let place = Path::new(fields.next()?);
        let kind = fields.next()?;
        directory
            .starts_with(place)
            .then(|| (place.components().count(), kind, device))
    });
    held.max_by_key(|(depth, _, _)| *depth)
        .map(|(_, kind, device)| (kind.to_owned(), device.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_parentheses() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 11 22 33 44 150 50 7 8 20 0 9 0 100";
        assert_eq!(process_ticks(stat), Some(200));
        assert_eq!(process_ticks("42 (cut"), None);
        assert_eq!(process_ticks("42 (cut) S 1 2"), None);
    }

    #[test]
    fn resident_memory_is_read_from_status() {
        let status = "Name:\tx\nVmHWM:\t  999 kB\nVmRSS:\t   4242 kB\nThreads:\t3\n";
        assert_eq!(resident_kib(status), Some(4242));
        assert_eq!(resident_kib("Name:\tx\n"), None);
    }

    #[test]
    fn waiting_for_the_disk_is_idle_and_stolen_time_is_not() {
        let then = Cores::parse("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 1\n").unwrap();
        let now = Cores::parse("cpu  10 1 4 60 20 1 2 2 5 0\n").unwrap();
        assert_eq!(now, Cores { busy: 20, idle: 80 });
        assert!((now.used_since(then) - 0.2).abs() < 1e-9);
        assert_eq!(Cores::parse("cpu  1 2 3\n"), None);
    }

    #[test]
    fn the_deepest_mount_holds_a_directory() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n";
        let found = |path: &str| mount_of(mounts, Path::new(path)).unwrap().0;
        assert_eq!(found("/home/x"), "ext4");
        assert_eq!(found("/tmp/x"), "tmpfs");
        assert_eq!(found("/tmp/disk/x"), "xfs");
        assert_eq!(found("/tmporary"), "ext4");
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(resident_bytes(&[std::process::id()]).unwrap() > 0);
        assert!(cpu_time(&[std::process::id()]).is_ok());
    }
}
