//! A disk that is slow or fails when it is told to: a FUSE file system that passes everything on
//! to a directory beneath.
//!
//! `slowfs BENEATH MOUNTPOINT` mounts it and prints `ready`. Then it takes one command a line on
//! its standard input, and answers `ok`, with the number of syncs that have ended so far:
//!
//! - `delay MS`: every sync of a file or directory takes so much longer.
//! - `fail-syncs`: syncs fail with EIO.
//! - `full`: creating, allocating, and writing behind a file's end fail with ENOSPC; what a file
//!   has already can still be written.
//! - `freeze`: nothing is answered any more.
//! - `heal`: none of these any more; what is delayed or frozen goes on at once.
//!
//! At the end of its input it unmounts and ends: whoever started it needn't live to do that. A
//! process of its own, since a process that waits for a file system that it serves itself would
//! wait for ever.

mod faults;
mod passthrough;

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fuser::{Config, MountOption, Session};
use rustix::mount::{UnmountFlags, unmount};

use crate::faults::Faults;
use crate::passthrough::Passthrough;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(beneath), Some(mountpoint)) = (arguments.next(), arguments.next()) else {
        bail!("usage: slowfs BENEATH MOUNTPOINT");
    };
    let faults = Arc::new(Faults::default());
    let files = Passthrough::new(beneath, Arc::clone(&faults));
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("slowfs".to_owned()),
        MountOption::NoAtime,
    ];
    let session = Session::new(files, &mountpoint, &config).with_context(|| {
        format!(
            "mounting {}: it takes /dev/fuse and the right to mount",
            mountpoint.display()
        )
    })?;
    let serving = session.spawn()?;
    answer(&faults, "ready")?;
    let mut obeyed = Ok(());
    for line in std::io::stdin().lock().lines() {
        obeyed = line
            .map_err(Into::into)
            .and_then(|line| obey(&line, &faults));
        if obeyed.is_err() {
            break;
        }
    }
    faults.heal();
    // Lazily: files may still be open, and stay usable until they are closed or this ends.
    unmount(&mountpoint, UnmountFlags::DETACH).context("unmounting")?;
    drop(serving);
    obeyed
}

fn obey(line: &str, faults: &Faults) -> Result<()> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some("delay"), Some(ms)) => faults.delay_syncs(Duration::from_millis(ms.parse()?)),
        (Some("fail-syncs"), None) => faults.fail_syncs(),
        (Some("full"), None) => faults.fill(),
        (Some("freeze"), None) => faults.freeze(),
        (Some("heal"), None) => faults.heal(),
        _ => bail!("not a command: {line:?}"),
    }
    answer(faults, "ok")
}

fn answer(faults: &Faults, word: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {}", faults.syncs())?;
    Ok(out.flush()?)
}
