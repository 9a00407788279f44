//! Nodes as processes of this machine, formed into a cluster by etcd's flags.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use raftery_proto::admin::{Role, StatusResponse};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::admin::Admin;
use crate::etcd::Etcdctl;
use crate::ports::free_port;
use crate::process::Process;
use crate::proxy::Whereabouts;
use crate::{environment, etcd, http, wait};

/// A cluster of three is formed and serves well within this.
const FORMING_LIMIT: Duration = Duration::from_secs(30);

/// How a node's settings are handed to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spelling {
    /// `--flag=value`
    Joined,
    /// `--flag value`
    Separate,
    /// `ETCD_FLAG=value` in the environment
    Environment,
}

/// One node: its settings, its data, and its process while it runs.
pub struct Node {
    /// Name of the member.
    pub name: String,
    /// Its data.
    pub data: PathBuf,
    /// Settings by flag, without the dashes.
    pub settings: Vec<(String, String)>,
    /// How they are handed over.
    pub spelling: Spelling,
    log: PathBuf,
    client_port: u16,
    whereabouts: Arc<Whereabouts>,
    /// The port that peers are told, if there is a proxy in front of its own.
    advertised: Option<u16>,
    metrics_port: u16,
    admin_port: u16,
    process: Option<Process>,
}

impl Node {
    /// A node with ports of its own that isn't started; its files lie in `directory`.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Self {
        let mut node = Self {
            name: name.to_owned(),
            data: directory.join(name),
            settings: Vec::new(),
            spelling: Spelling::Joined,
            log: directory.join(format!("{name}.log")),
            client_port: 0,
            whereabouts: Arc::default(),
            advertised: None,
            metrics_port: 0,
            admin_port: 0,
            process: None,
        };
        node.choose_ports();
        node
    }

    fn choose_ports(&mut self) {
        self.client_port = free_port();
        let peer_port = free_port();
        self.whereabouts.set_peer_port(peer_port);
        self.metrics_port = free_port();
        self.admin_port = free_port();
        let data = self.data.display().to_string();
        self.settings.clear();
        for (flag, value) in [
            ("name", self.name.clone()),
            ("data-dir", data),
            ("listen-client-urls", self.client_url()),
            ("advertise-client-urls", self.client_url()),
            ("listen-peer-urls", loopback(peer_port)),
            ("initial-advertise-peer-urls", self.peer_url()),
            ("listen-metrics-urls", self.metrics_url()),
            ("listen-admin-urls", loopback(self.admin_port)),
            ("heartbeat-interval", "100".to_owned()),
            ("election-timeout", "1000".to_owned()),
        ] {
            self.set(flag, &value);
        }
    }

    /// Sets a flag's value, for the next start.
    pub fn set(&mut self, flag: &str, value: &str) {
        self.settings.retain(|(known, _)| known != flag);
        self.settings.push((flag.to_owned(), value.to_owned()));
    }

    /// Where clients reach it.
    #[must_use]
    pub fn client_url(&self) -> String {
        loopback(self.client_port)
    }

    /// Where its peers reach it.
    #[must_use]
    pub fn peer_url(&self) -> String {
        loopback(self.advertised.unwrap_or(self.whereabouts.peer_port()))
    }

    /// Where it is, now and later.
    #[must_use]
    pub fn whereabouts(&self) -> Arc<Whereabouts> {
        Arc::clone(&self.whereabouts)
    }

    /// Has it keep its data in another directory.
    pub fn keep_data_in(&mut self, directory: &Path) {
        self.data = directory.join(&self.name);
        self.set("data-dir", &self.data.display().to_string());
    }

    /// Where probes, metrics and the ledger are.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        loopback(self.metrics_port)
    }

    /// Its admin service.
    pub fn admin(&self) -> Result<Admin> {
        Admin::new(&loopback(self.admin_port), None)
    }

    /// A client of this node alone.
    pub async fn client(&self) -> Result<etcd_client::Client> {
        etcd::client(&[self.client_url()]).await
    }

    /// Starts its process.
    pub fn start(&mut self) -> Result<()> {
        let mut command = Command::new(environment::node()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(name);
            }
        }
        for (flag, value) in &self.settings {
            match self.spelling {
                Spelling::Joined => command.arg(format!("--{flag}={value}")),
                Spelling::Separate => command.arg(format!("--{flag}")).arg(value),
                Spelling::Environment => {
                    let variable = format!("ETCD_{}", flag.replace('-', "_").to_uppercase());
                    command.env(variable, value)
                }
            };
        }
        let process = Process::start(&self.name, &command, &self.log)?;
        self.whereabouts.set_process_id(process.id());
        self.process = Some(process);
        Ok(())
    }

    /// Its process.
    pub fn process(&mut self) -> Result<&mut Process> {
        let name = &self.name;
        self.process
            .as_mut()
            .with_context(|| format!("{name} was never started"))
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()
    }

    /// SIGSTOP: its connections stay open and nothing answers.
    pub fn freeze(&mut self) -> Result<()> {
        self.process()?.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        self.process()?.signal(Signal::CONT)
    }

    /// Everything it has logged, in all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// One of its metrics, without labels.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let (_, page) = http::get(&format!("{}/metrics", self.metrics_url())).await?;
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("no {name} among the metrics"))?;
        Ok(value.parse()?)
    }

    /// Waits until it answers a linearizable read.
    pub async fn serves(&mut self, limit: Duration) -> Result<Duration> {
        let what = format!("{} serves", self.name);
        let ((), took) = wait::until(&what, limit, async || {
            if let Some(status) = self.process()?.exit_status()? {
                bail!("{} ended: {status}", self.name);
            }
            let mut client = self.client().await?;
            let read = client.get("serves?", None);
            tokio::time::timeout(Duration::from_secs(2), read)
                .await
                .context("no answer in 2 s")??;
            Ok(())
        })
        .await?;
        Ok(took)
    }
}

fn loopback(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Nodes that know each other.
pub struct Cluster {
    /// The nodes, m1 first.
    pub nodes: Vec<Node>,
    directory: TempDir,
}

impl Cluster {
    /// Nodes m1 to mN, not yet started.
    pub fn new(size: usize) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("raftery-").tempdir()?;
        let names = (1..=size).map(|number| format!("m{number}"));
        let nodes = names
            .map(|name| Node::new(directory.path(), &name))
            .collect();
        let mut cluster = Self { nodes, directory };
        cluster.introduce();
        Ok(cluster)
    }

    /// A cluster that serves.
    pub async fn started(size: usize) -> Result<Self> {
        let mut cluster = Self::new(size)?;
        cluster.start().await?;
        Ok(cluster)
    }

    /// Starts all nodes and waits until each serves. If a port was taken meanwhile, others are
    /// tried.
    pub async fn start(&mut self) -> Result<()> {
        for attempts_left in (0..3).rev() {
            for node in &mut self.nodes {
                node.start()?;
            }
            match self.all_serve(FORMING_LIMIT).await {
                Err(_) if attempts_left > 0 && self.a_port_was_taken() => {
                    let said = self.nodes.iter().map(|node| node.settings.clone());
                    for (node, said) in said.collect::<Vec<_>>().into_iter().zip(&mut self.nodes) {
                        said.kill()?;
                        let _ = std::fs::remove_dir_all(&said.data);
                        let _ = std::fs::remove_file(&said.log);
                        said.choose_ports();
                        for (flag, value) in node.iter().filter(|(flag, _)| !flag.contains("url")) {
                            said.set(flag, value);
                        }
                    }
                    self.introduce();
                }
                answer => return answer,
            }
        }
        unreachable!("the last attempt returns")
    }

    fn a_port_was_taken(&self) -> bool {
        let mut logs = self.nodes.iter().map(Node::log);
        logs.any(|log| log.contains("Address already in use") || log.contains("os error 98"))
    }

    fn introduce(&mut self) {
        let members = self
            .nodes
            .iter()
            .map(|n| format!("{}={}", n.name, n.peer_url()));
        let members = members.collect::<Vec<_>>().join(",");
        for node in &mut self.nodes {
            node.set("initial-cluster", &members);
            node.set("initial-cluster-state", "new");
            node.set("initial-cluster-token", "e2e");
        }
    }

    /// Has peers reach the nodes at these ports, where something passes on what comes to the
    /// nodes' own.
    pub fn advertise(&mut self, ports: &[u16]) {
        for (node, port) in self.nodes.iter_mut().zip(ports) {
            node.advertised = Some(*port);
            let url = node.peer_url();
            node.set("initial-advertise-peer-urls", &url);
        }
        self.introduce();
    }

    /// Where the nodes are, for what stands between them.
    #[must_use]
    pub fn whereabouts(&self) -> Vec<Arc<Whereabouts>> {
        self.nodes.iter().map(Node::whereabouts).collect()
    }

    /// Where the nodes' files lie.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Has every node export its ledger there.
    pub fn export_to(&mut self, uri: &str) -> Result<()> {
        let file = self.directory().join("mongodb-uri");
        std::fs::write(&file, uri)?;
        for node in &mut self.nodes {
            node.set("ledger-mongodb-uri-file", &file.display().to_string());
        }
        Ok(())
    }

    /// Waits until every node serves.
    pub async fn all_serve(&mut self, limit: Duration) -> Result<()> {
        let began = Instant::now();
        for node in &mut self.nodes {
            node.serves(limit.saturating_sub(began.elapsed())).await?;
        }
        Ok(())
    }

    /// Where clients reach the nodes.
    #[must_use]
    pub fn client_urls(&self) -> Vec<String> {
        self.nodes.iter().map(Node::client_url).collect()
    }

    /// etcdctl for all nodes.
    #[must_use]
    pub fn etcdctl(&self) -> Etcdctl {
        Etcdctl::new(&self.client_urls())
    }

    /// The place of the node that leads in the highest term, with its status.
    pub async fn leader(&self, limit: Duration) -> Result<(usize, StatusResponse)> {
        let (leader, _) = wait::until("a node leads", limit, async || {
            let asked = self
                .nodes
                .iter()
                .map(async |node| node.admin()?.status().await);
            let answers = futures::future::join_all(asked).await;
            let leading = answers
                .into_iter()
                .enumerate()
                .filter_map(|(place, answer)| {
                    let status = answer.ok()?;
                    (status.role() == Role::Leader).then_some((place, status))
                });
            leading
                .max_by_key(|(_, status)| status.term)
                .context("no leader")
        })
        .await?;
        Ok(leader)
    }

    /// Waits until every member has published its name. Until then none may be removed: etcd
    /// takes who hasn't for one that never started.
    pub async fn all_published(&self, limit: Duration) -> Result<()> {
        wait::until(
            "all members have published their names",
            limit,
            async || {
                let listed = self.etcdctl().run(&["member", "list"]).await?;
                let started = listed.lines().filter(|line| line.contains(", started, "));
                ensure!(started.count() == self.nodes.len(), "not yet: {listed}");
                Ok(())
            },
        )
        .await?;
        Ok(())
    }

    /// Waits until the leader hears every member and all have its log.
    pub async fn all_caught_up(&self, limit: Duration) -> Result<()> {
        wait::until("all members are caught up", limit, async || {
            let (_, status) = self.leader(Duration::from_secs(1)).await?;
            for member in &status.members {
                ensure!(
                    member.id == status.member_id || (member.active && member.caught_up),
                    "{} isn't: {member:?}",
                    member.name
                );
            }
            ensure!(!status.members.is_empty(), "no members");
            Ok(())
        })
        .await?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!(
                "data and logs are kept in {}",
                self.directory.path().display()
            );
        }
    }
}
