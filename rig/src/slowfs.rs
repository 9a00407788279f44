//! A directory on a disk that is slow or fails when it is told to.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::mount::{UnmountFlags, unmount};

/// The program `slowfs` with its mount. What is in the directory goes to another one beneath, on
/// the real disk.
///
/// It wants `/dev/fuse` and the right to mount. It is unmounted when this is dropped, and also
/// when this process ends in a way that runs no destructors, since its input ends then.
///
/// A process that waits for a frozen disk can't be killed before the disk is healed.
pub struct SlowFs {
    mountpoint: PathBuf,
    program: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What can be wrong with a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Each sync takes so much longer (whole milliseconds).
    SlowSyncs(Duration),
    /// Syncs fail with EIO.
    FailingSyncs,
    /// What takes more space fails with ENOSPC.
    Full,
    /// Nothing is answered.
    Frozen,
}

impl SlowFs {
    /// Mounts `directory/NAME.disk`, which lies in `directory/NAME.beneath`, with the program
    /// `slowfs`.
    pub fn mount(slowfs: &Path, directory: &Path, name: &str) -> Result<Self> {
        let mountpoint = directory.join(format!("{name}.disk"));
        let beneath = directory.join(format!("{name}.beneath"));
        for made in [&mountpoint, &beneath] {
            std::fs::create_dir_all(made)?;
        }
        let mut program = Command::new(slowfs)
            .args([&beneath, &mountpoint])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", slowfs.display()))?;
        let commands = program.stdin.take().expect("it was asked for");
        let answers = BufReader::new(program.stdout.take().expect("it was asked for"));
        let mut disk = Self {
            mountpoint,
            program,
            commands,
            answers,
        };
        disk.answer("ready").context("slowfs says why")?;
        Ok(disk)
    }

    /// The directory to use.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.mountpoint
    }

    /// Adds a fault to those that are there.
    pub fn inject(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::SlowSyncs(delay) => self.command(&format!("delay {}", delay.as_millis())),
            Fault::FailingSyncs => self.command("fail-syncs"),
            Fault::Full => self.command("full"),
            Fault::Frozen => self.command("freeze"),
        }?;
        Ok(())
    }

    /// Ends all faults; gives the number of syncs that were done since it was mounted.
    pub fn heal(&mut self) -> Result<u64> {
        self.command("heal")
    }

    fn command(&mut self, command: &str) -> Result<u64> {
        writeln!(self.commands, "{command}").context("slowfs ended")?;
        self.answer("ok").with_context(|| command.to_owned())
    }

    fn answer(&mut self, expected: &str) -> Result<u64> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let (word, syncs) = line.trim().split_once(' ').unwrap_or_default();
        ensure!(word == expected, "it answered {line:?}");
        Ok(syncs.parse()?)
    }
}

impl Drop for SlowFs {
    fn drop(&mut self) {
        // Whatever state it is in: when it is gone, so are the requests that wait for it.
        let ended = self.program.kill().and_then(|()| self.program.wait());
        if let Err(error) = ended {
            eprintln!("slowfs (process {}) stays: {error}", self.program.id());
        }
        if let Err(error) = unmount(&self.mountpoint, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.mountpoint.display());
        }
    }
}
