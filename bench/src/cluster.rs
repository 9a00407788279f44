//! A cluster of either system on this machine, each member a process with its own directory.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use raftery_proto::etcdserverpb::RangeRequest;
use serde::Serialize;
use tempfile::TempDir;

use crate::process::Process;
use crate::procfs;
use crate::wire::Connection;

/// For both systems: nothing is compacted, and minutes of puts leave more than the 2 GiB that both
/// allow by default.
const QUOTA_BYTES: u64 = 16 << 30;
/// A cluster is formed within this, and a member with a million keys serves again.
const SERVING_LIMIT: Duration = Duration::from_secs(120);
/// An answer that takes longer isn't one.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Between two questions whether a member serves; the resolution of restart times.
const POLL: Duration = Duration::from_millis(5);
/// Below the range from which the kernel takes ports for outgoing connections: a member that is
/// restarted must find its ports free.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// How often other ports are tried when one was taken between choice and use.
const ATTEMPTS: u32 = 3;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Ours.
    Raftery,
    /// What it is compared with.
    Etcd,
}

impl System {
    /// Whether it is Raftery.
    #[must_use]
    pub fn is_ours(self) -> bool {
        self == Self::Raftery
    }
}

impl fmt::Display for System {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(match self {
            Self::Raftery => "raftery",
            Self::Etcd => "etcd",
        })
    }
}

struct Member {
    name: String,
    client_url: String,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
}

/// Members that run. Dropped, they are killed and their data is removed.
pub struct Cluster {
    // Before the directory, in which they write until they are gone.
    members: Vec<Member>,
    program: PathBuf,
    _directory: TempDir,
}

impl Cluster {
    /// Starts `size` members with empty directories below `parent` and waits until each serves.
    pub async fn start(system: System, program: &Path, size: usize, parent: &Path) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut cluster = Self::prepare(system, program, size, parent)?;
            match cluster.start_all().await {
                Err(_) if attempt < ATTEMPTS && cluster.a_port_was_taken() => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(cluster),
            }
        }
    }

    fn prepare(system: System, program: &Path, size: usize, parent: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("bench-{system}-"))
            .tempdir_in(parent)
            .with_context(|| format!("making a directory in {}", parent.display()))?;
        let mut ports = Ports::default();
        let peers: Vec<(String, String)> = (1..=size)
            .map(|number| (format!("m{number}"), ports.url()))
            .collect();
        let everyone: Vec<String> = peers
            .iter()
            .map(|(name, url)| format!("{name}={url}"))
            .collect();
        let everyone = everyone.join(",");
        let members = peers.into_iter().map(|(name, peer_url)| {
            let client_url = ports.url();
            let mut arguments = vec![
                format!("--name={name}"),
                format!("--data-dir={}", directory.path().join(&name).display()),
                format!("--listen-client-urls={client_url}"),
                format!("--advertise-client-urls={client_url}"),
                format!("--listen-peer-urls={peer_url}"),
                format!("--initial-advertise-peer-urls={peer_url}"),
                format!("--initial-cluster={everyone}"),
                "--initial-cluster-state=new".to_owned(),
                "--initial-cluster-token=bench".to_owned(),
                format!("--quota-backend-bytes={QUOTA_BYTES}"),
            ];
            match system {
                System::Raftery => arguments.extend([
                    format!("--listen-metrics-urls={}", ports.url()),
                    format!("--listen-admin-urls={}", ports.url()),
                ]),
                System::Etcd => {}
            }
            Member {
                log: directory.path().join(format!("{name}.log")),
                name,
                client_url,
                arguments,
                process: None,
            }
        });
        Ok(Self {
            members: members.collect(),
            program: program.to_owned(),
            _directory: directory,
        })
    }

    async fn start_all(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.start(&self.program)?;
        }
        for member in &mut self.members {
            member.serves().await?;
        }
        Ok(())
    }

    fn a_port_was_taken(&self) -> bool {
        let mut processes = self.members.iter().filter_map(|m| m.process.as_ref());
        processes.any(|process| {
            let said = process.last_words().to_lowercase();
            said.contains("address already in use") || said.contains("os error 98")
        })
    }

    /// Clients' URLs of the members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|m| m.client_url.clone()).collect()
    }

    /// IDs of the members' processes.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let processes = self.members.iter().filter_map(|m| m.process.as_ref());
        processes.map(Process::id).collect()
    }

    /// Resident memory of all members together, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        procfs::resident_bytes(&self.processes())
    }

    /// Stops a member that doesn't lead and starts it again; how long it takes from then until
    /// it answers a linearizable read.
    pub async fn restart_one(&mut self) -> Result<Duration> {
        let mut follower = None;
        for (place, member) in self.members.iter().enumerate() {
            let mut connection = Connection::open(&member.client_url).await?;
            let status = connection.status().await?;
            let id = status.header.unwrap_or_default().member_id;
            if status.leader != 0 && status.leader != id {
                follower = Some(place);
            }
        }
        let place = follower.context("no member knows another one as its leader")?;
        let member = &mut self.members[place];
        let process = member.process.take().context("it was started")?;
        process.stop().await?;
        let began = Instant::now();
        member.start(&self.program)?;
        member.serves().await?;
        Ok(began.elapsed())
    }
}

impl Member {
    fn start(&mut self, program: &Path) -> Result<()> {
        let process = Process::start(&self.name, program, &self.arguments, &self.log)?;
        self.process = Some(process);
        Ok(())
    }

    async fn serves(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            let process = self.process.as_mut().context("it was started")?;
            if let Some(status) = process.exit_status()? {
                let words = process.last_words();
                bail!(
                    "{} ended with {status}; its last words:\n{words}",
                    self.name
                );
            }
            let answer = tokio::time::timeout(ANSWER_LIMIT, read_one(&self.client_url)).await;
            match answer {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => ensure!(
                    began.elapsed() < SERVING_LIMIT,
                    "{} doesn't serve: {error:#}; its last words:\n{}",
                    self.name,
                    process.last_words()
                ),
                Err(_) => ensure!(
                    began.elapsed() < SERVING_LIMIT,
                    "{} doesn't answer; its last words:\n{}",
                    self.name,
                    process.last_words()
                ),
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn read_one(url: &str) -> Result<()> {
    let mut connection = Connection::open(url).await?;
    let request = RangeRequest {
        key: "serves?".into(),
        ..Default::default()
    };
    connection.range(&request).await?;
    Ok(())
}

/// Ports of the loopback address on which nobody listens now, each given out once.
#[derive(Default)]
struct Ports {
    taken: Vec<u16>,
}

impl Ports {
    fn url(&mut self) -> String {
        loop {
            let port = fastrand::u16(PORTS);
            let is_free = std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
            if is_free && !self.taken.contains(&port) {
                self.taken.push(port);
                return format!("http://127.0.0.1:{port}");
            }
        }
    }
}
