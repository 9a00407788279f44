//! The programs that are measured, and where their data goes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cli::Place;
use crate::cluster::{Cluster, Layout, System};
use crate::procfs;

/// File systems that keep files in memory: a sync on them costs nothing.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// Where programs and data are.
pub struct Programs {
    place: Place,
    directory: PathBuf,
}

impl Programs {
    /// Fails if data would lie in memory.
    pub fn new(place: Place) -> Result<Self> {
        let directory = place.dir.clone().unwrap_or_else(std::env::temp_dir);
        let (kind, _) = procfs::file_system(&directory)?;
        ensure!(
            !IN_MEMORY.contains(&&kind[..]),
            "{} lies on {kind}, where a sync costs nothing: name a directory on a disk with --dir",
            directory.display()
        );
        Ok(Self { place, directory })
    }

    /// Where members' directories are made.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A system's program.
    pub fn of(&self, system: System) -> Result<PathBuf> {
        let (said, variable, file, option) = match system {
            System::Raftery => (
                &self.place.raftery_node,
                "RAFTERY_BIN_DIR",
                "raftery-node",
                "--raftery-node",
            ),
            System::Etcd => (&self.place.etcd, "RAFTERY_TOOLS", "etcd-alone", "--etcd"),
        };
        found(said.as_deref(), variable, file, option)
    }

    /// The program of the disks with faults.
    pub fn slowfs(&self, said: Option<&Path>) -> Result<PathBuf> {
        found(said, "RAFTERY_BIN_DIR", "slowfs", "--slowfs")
    }

    /// What a system's program prints of itself for `--version`, such as `etcd 3.7.3`.
    pub fn version(&self, system: System) -> Result<String> {
        let program = self.of(system)?;
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| format!("running {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // Ours names etcd's version first, whose API it speaks.
        let name = match system {
            System::Raftery => "raftery-node",
            System::Etcd => "etcd",
        };
        let version = version_of(&text, name)
            .with_context(|| format!("{} --version names no {name}: {text}", program.display()))?;
        Ok(format!("{name} {version}"))
    }

    /// A new cluster that serves.
    pub async fn start(&self, system: System, members: usize) -> Result<Cluster> {
        self.start_with(system, members, &[], None).await
    }

    /// A new cluster that serves, with more arguments, and with faults if there is a program of
    /// disks that have them.
    pub async fn start_with(
        &self,
        system: System,
        members: usize,
        arguments: &[&str],
        slowfs: Option<&Path>,
    ) -> Result<Cluster> {
        let layout = Layout {
            system,
            program: &self.of(system)?,
            members,
            parent: &self.directory,
            arguments,
            slowfs,
        };
        Cluster::start(layout)
            .await
            .with_context(|| format!("starting {members} members of {system}"))
    }
}

/// A program by its option, else in the directory that a variable names.
fn found(said: Option<&Path>, variable: &str, file: &str, option: &str) -> Result<PathBuf> {
    let program = match (said, std::env::var_os(variable)) {
        (Some(path), _) => path.to_owned(),
        (None, Some(directory)) => Path::new(&directory).join(file),
        (None, None) => anyhow::bail!("where is {file}? Say it with {option} or ${variable}"),
    };
    ensure!(program.is_file(), "{} isn't there", program.display());
    std::path::absolute(&program).context("the current directory is gone")
}

fn version_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(name)?.trim().strip_prefix("Version: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_its_own_version() {
        let text = "etcd Version: 3.6.11\nraftery-node Version: 0.1.0\n";
        assert_eq!(version_of(text, "raftery-node"), Some("0.1.0"));
        assert_eq!(version_of(text, "etcd"), Some("3.6.11"));
        assert_eq!(version_of("usage: x", "etcd"), None);
    }
}
