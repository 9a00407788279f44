//! A cluster of either system on this machine, each member a process with its own directory. If
//! faults are wanted, their links go through proxies and their directories lie on disks that fail
//! when they are told to.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use raftery_ledger::LedgerPage;
use raftery_proto::etcdserverpb::RangeRequest;
use raftery_rig::http;
use raftery_rig::ports::free_port;
use raftery_rig::process::Process;
use raftery_rig::proxy::{Network, Whereabouts};
use raftery_rig::slowfs::SlowFs;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::runtime::Runtime;

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
/// How often other ports are tried when one was taken between choice and use.
const ATTEMPTS: u32 = 3;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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

/// What a cluster is made of.
#[derive(Clone, Copy)]
pub struct Layout<'a> {
    /// Which system.
    pub system: System,
    /// Its program.
    pub program: &'a Path,
    /// How many members.
    pub members: usize,
    /// Where the directory of the cluster is made.
    pub parent: &'a Path,
    /// Arguments of every member, besides those that make them a cluster.
    pub arguments: &'a [&'a str],
    /// The program of the disks with faults, if there are to be faults: of disks and of links.
    pub slowfs: Option<&'a Path>,
}

/// A process, its settings, and its disk if that can fail.
///
/// The disk comes first, so that it goes first: a process that waits for a frozen disk can't be
/// killed.
pub struct Member {
    disk: Option<SlowFs>,
    process: Option<Process>,
    name: String,
    client_url: String,
    metrics_url: String,
    arguments: Vec<String>,
    program: PathBuf,
    log: PathBuf,
    whereabouts: Arc<Whereabouts>,
}

/// Members that run. Dropped, they are killed and their data is removed.
pub struct Cluster {
    // Before the directory, in which they write until they are gone.
    members: Vec<Member>,
    links: Option<Links>,
    _directory: TempDir,
}

/// What carries bytes between the members, on a thread of its own: the load mustn't delay it.
struct Links {
    network: Network,
    _thread: ProxyThread,
}

impl Links {
    /// Also gives the ports that members tell each other.
    async fn between(members: Vec<Arc<Whereabouts>>) -> Result<(Self, Vec<u16>)> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("starting the proxies' thread")?;
        let formed = runtime.spawn(Network::between(members));
        let _thread = ProxyThread(Some(runtime));
        let (network, ports) = formed.await??;
        Ok((Self { network, _thread }, ports))
    }
}

struct ProxyThread(Option<Runtime>);

impl Drop for ProxyThread {
    fn drop(&mut self) {
        // Waiting for its end isn't allowed where others are waited for.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Cluster {
    /// Starts members with empty directories and waits until each serves.
    pub async fn start(layout: Layout<'_>) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut cluster = Self::prepare(layout).await?;
            match cluster.start_all().await {
                Err(_) if attempt < ATTEMPTS && cluster.a_port_was_taken() => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(cluster),
            }
        }
    }

    async fn prepare(layout: Layout<'_>) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("bench-{}-", layout.system))
            .tempdir_in(layout.parent)
            .with_context(|| format!("making a directory in {}", layout.parent.display()))?;
        let mut ports = Ports::default();
        let mut whereabouts = Vec::new();
        for _ in 0..layout.members {
            let member = Whereabouts::default();
            member.set_peer_port(ports.next());
            whereabouts.push(Arc::new(member));
        }
        let mut told: Vec<u16> = whereabouts.iter().map(|m| m.peer_port()).collect();
        let mut links = None;
        if layout.slowfs.is_some() {
            let (between, doors) = Links::between(whereabouts.clone()).await?;
            (links, told) = (Some(between), doors);
        }
        let everyone = told.iter().enumerate();
        let everyone: Vec<String> = everyone
            .map(|(place, port)| format!("{}={}", name(place), loopback(*port)))
            .collect();
        let everyone = everyone.join(",");
        let mut members = Vec::new();
        for (place, (whereabouts, told)) in whereabouts.into_iter().zip(told).enumerate() {
            let arguments = vec![
                format!("--listen-peer-urls={}", loopback(whereabouts.peer_port())),
                format!("--initial-advertise-peer-urls={}", loopback(told)),
                format!("--initial-cluster={everyone}"),
            ];
            let urls = [ports.url(), ports.url(), ports.url()];
            let member = Member::prepare(layout, directory.path(), place, urls, whereabouts)?;
            members.push(member.with(arguments));
        }
        Ok(Self {
            members,
            links,
            _directory: directory,
        })
    }

    async fn start_all(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.start()?;
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
        member.start()?;
        member.serves().await?;
        Ok(began.elapsed())
    }

    /// The members, in the order of their endpoints.
    pub fn members(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// The links between the members.
    pub fn network(&self) -> Result<&Network> {
        let links = self.links.as_ref();
        Ok(&links
            .context("a cluster without faults was started")?
            .network)
    }
}

impl Member {
    fn prepare(
        layout: Layout<'_>,
        directory: &Path,
        place: usize,
        [client_url, metrics_url, admin_url]: [String; 3],
        whereabouts: Arc<Whereabouts>,
    ) -> Result<Self> {
        let name = name(place);
        let mut disk = None;
        let mut data = directory.join(&name);
        if let Some(slowfs) = layout.slowfs {
            let mounted = SlowFs::mount(slowfs, directory, &name)?;
            data = mounted.directory().join(&name);
            disk = Some(mounted);
        }
        let mut arguments = vec![
            format!("--name={name}"),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client_url}"),
            format!("--advertise-client-urls={client_url}"),
            "--initial-cluster-state=new".to_owned(),
            "--initial-cluster-token=bench".to_owned(),
            format!("--quota-backend-bytes={QUOTA_BYTES}"),
        ];
        let listens_for_metrics = match layout.system {
            System::Raftery => {
                arguments.push(format!("--listen-admin-urls={admin_url}"));
                true
            }
            System::Etcd => layout.slowfs.is_some(),
        };
        if listens_for_metrics {
            arguments.push(format!("--listen-metrics-urls={metrics_url}"));
        }
        arguments.extend(layout.arguments.iter().map(|&argument| argument.to_owned()));
        Ok(Self {
            disk,
            process: None,
            log: directory.join(format!("{name}.log")),
            name,
            client_url,
            metrics_url,
            arguments,
            program: layout.program.to_owned(),
            whereabouts,
        })
    }

    fn with(mut self, arguments: Vec<String>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts its process.
    pub fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        // Default settings: none of the caller's.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(variable);
            }
        }
        let process = Process::start(&self.name, &command, &self.log)?;
        self.whereabouts.set_process_id(process.id());
        self.process = Some(process);
        Ok(())
    }

    /// Its process.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("it was started")
    }

    /// Its disk.
    pub fn disk(&mut self) -> Result<&mut SlowFs> {
        let disk = self.disk.as_mut();
        disk.context("a cluster without faults was started")
    }

    /// One of its metrics, without labels.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (_, page) = http::get(&format!("{}/metrics", self.metrics_url)).await?;
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("no {name} among the metrics"))?;
        Ok(value.parse()?)
    }

    /// The last windows of the ledger, as a member of ours has it.
    pub async fn ledger(&self, windows: usize) -> Result<LedgerPage> {
        let url = format!("{}/ledger?last={windows}", self.metrics_url);
        let (_, page) = http::get(&url).await?;
        Ok(serde_json::from_str(&page)?)
    }

    /// Waits until it answers a linearizable read.
    pub async fn serves(&mut self) -> Result<()> {
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

fn name(place: usize) -> String {
    format!("m{}", place + 1)
}

fn loopback(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Ports of the loopback address on which nobody listens now, each given out once.
#[derive(Default)]
struct Ports {
    taken: Vec<u16>,
}

impl Ports {
    fn next(&mut self) -> u16 {
        loop {
            let port = free_port();
            if !self.taken.contains(&port) {
                self.taken.push(port);
                return port;
            }
        }
    }

    fn url(&mut self) -> String {
        loopback(self.next())
    }
}
