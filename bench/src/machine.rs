//! The machine that was measured on.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::procfs;

/// Syncs from which the median is taken.
const SYNCS: usize = 200;
/// Bytes written before each.
const SYNC_BYTES: usize = 4096;

/// What figures depend on besides the programs.
#[derive(Serialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Cores.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Name of the operating system.
    pub system: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Type of the file system that holds the data.
    pub file_system: String,
    /// Median time of writing 4 KiB into a file's existing bytes and `fdatasync` there, in
    /// microseconds: what a log of preallocated files needs.
    pub sync_micros: f64,
}

impl Machine {
    /// This one, with data in `directory`.
    pub fn this(directory: &Path) -> Result<Self> {
        let (processor, cores) = procfs::processor()?;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("reading the kernel's release")?;
        let (file_system, _) = procfs::file_system(directory)?;
        Ok(Self {
            processor,
            cores,
            memory_bytes: procfs::memory_bytes()?,
            system: system_name(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
            kernel: kernel.trim().to_owned(),
            file_system,
            sync_micros: sync_time(directory)?.as_secs_f64() * 1e6,
        })
    }

    /// In one line.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "{}, {} cores, {:.0} GiB memory, {}, kernel {}, data on {} (4 KiB and fdatasync: {:.2} ms)",
            self.processor,
            self.cores,
            self.memory_bytes as f64 / f64::from(1 << 30),
            self.system,
            self.kernel,
            self.file_system,
            self.sync_micros / 1000.0
        )
    }
}

fn sync_time(directory: &Path) -> Result<Duration> {
    let mut file: File = tempfile::tempfile_in(directory)
        .with_context(|| format!("making a file in {}", directory.display()))?;
    file.write_all(&vec![0; SYNCS * SYNC_BYTES])?;
    file.sync_all()?;
    file.rewind()?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[0x5a; SYNC_BYTES])?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort();
    Ok(took[SYNCS / 2])
}

fn system_name(os_release: &str) -> String {
    let line = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map_or("Linux", |name| name.trim_matches('"'))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_named_as_it_names_itself() {
        let text = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(system_name(text), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(system_name(""), "Linux");
    }
}
