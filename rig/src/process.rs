//! A child process that doesn't outlive who started it.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A program that was asked to end and hasn't after so long is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks whether it has.
const STOP_POLL: Duration = Duration::from_millis(10);

/// A running program whose output goes to a file. Killed, by its ID, when dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; its output is appended to `log`.
    pub fn start(name: &str, program: &Command, log: &Path) -> Result<Self> {
        let output: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        // Through setpriv, which becomes the program: so the kernel ends it when whoever started
        // it ends in a way that runs no destructors.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program.get_program())
            .args(program.get_args());
        for (key, value) in program.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(directory) = program.get_current_dir() {
            command.current_dir(directory);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name} through setpriv"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; an ended process is left alone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exit_status()?.is_none() {
            kill_process(Pid::from_child(&self.child), signal)
                .with_context(|| format!("signalling {}", self.name))?;
        }
        Ok(())
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        if self.exit_status()?.is_none() {
            self.child
                .kill()
                .with_context(|| format!("killing {}", self.name))?;
            self.child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and waits until it is gone.
    pub async fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let asked = Instant::now();
        while self.exit_status()?.is_none() && asked.elapsed() < STOP_LIMIT {
            tokio::time::sleep(STOP_POLL).await;
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        let (status, _) = crate::wait::until(&format!("{name} ends"), limit, async || {
            match self.exit_status()? {
                Some(status) => Ok(status),
                None => bail!("{name} still runs"),
            }
        })
        .await
        .with_context(|| format!("its log:\n{}", tail(&self.log, 20)))?;
        Ok(status)
    }

    /// The last lines of its output.
    #[must_use]
    pub fn last_words(&self) -> String {
        tail(&self.log, 20)
    }

    /// Everything it has printed, earlier runs with the same log included.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{} (process {}) stays: {error:#}", self.name, self.id());
        }
        if std::thread::panicking() {
            eprintln!(
                "--- end of the log of {}:\n{}",
                self.name,
                tail(&self.log, 25)
            );
        }
    }
}

/// The last lines of a file.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Runs a program to its end and gives back its standard output; fails with its standard
/// error if it does.
pub async fn run(command: &mut tokio::process::Command) -> Result<String> {
    let output = command.kill_on_drop(true).output().await.with_context(|| {
        format!(
            "running {}",
            command.as_std().get_program().to_string_lossy()
        )
    })?;
    if !output.status.success() {
        let shown = command.as_std();
        let arguments: Vec<_> = shown.get_args().map(|a| a.to_string_lossy()).collect();
        bail!(
            "{} {}: {}: {}{}",
            Path::new(shown.get_program())
                .file_name()
                .unwrap_or_default()
                .to_string_lossy(),
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim(),
            String::from_utf8_lossy(&output.stdout).trim(),
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
