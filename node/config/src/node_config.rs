//! What a node runs with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ConfigError;
use crate::options::Options;
use crate::url::{ListenUrl, ListenUrls};
use crate::values::{ClusterState, LogFormat, LogLevel};

/// Heartbeats that must fit into an election timeout, as with etcd.
const HEARTBEATS_PER_ELECTION_MIN: u32 = 5;
/// The longest election timeout, as with etcd.
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(50);

/// What is exported must not expire before it is looked at.
const RETENTION_MIN: Duration = Duration::from_secs(3_600);
/// MongoDB counts the seconds of an expiry in 31 bits.
const RETENTION_MAX: Duration = Duration::from_secs(i32::MAX as u64);

const NAME: &str = "default";
const TOKEN: &str = "etcd-cluster";
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// etcd's default: 2 GiB.
const QUOTA_BYTES: u64 = 2 << 30;

/// Everything that may differ from node to node, settled.
///
/// Invariants (what [`NodeConfig::validate`] checks):
/// - the name could stand in `--initial-cluster`
/// - `1 ms <= heartbeat_interval`, `5 * heartbeat_interval <= election_timeout <= 50 s`
/// - clients and peers have URLs to reach this node, and no URL is listened on twice
/// - a static start knows this node under its name and its peer URLs, and no URL twice
/// - a managed start has an admin service, and an admin service that can be reached from
///   outside has a token
/// - the ledger's retention is none, or an hour to 68 years
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// Name of this member.
    pub name: String,
    /// Directory of its data; made if it isn't there.
    pub data_dir: PathBuf,
    /// Where clients are served: gRPC and HTTP on one port.
    pub listen_client_urls: Vec<ListenUrl>,
    /// Where clients reach this node.
    pub advertise_client_urls: Vec<String>,
    /// Where other members are served.
    pub listen_peer_urls: Vec<ListenUrl>,
    /// Where other members reach this node.
    pub initial_advertise_peer_urls: Vec<String>,
    /// Where probes, metrics and the ledger are served; off if empty.
    pub listen_metrics_urls: Vec<ListenUrl>,
    /// Where the admin service is; off if empty.
    pub listen_admin_urls: Vec<ListenUrl>,
    /// How a node without data comes to a cluster.
    pub start: ClusterStart,
    /// Time between a leader's heartbeats.
    pub heartbeat_interval: Duration,
    /// Shortest time without a leader before an election.
    pub election_timeout: Duration,
    /// Whether those two are the longest that they become, and shorter ones follow from what is
    /// measured.
    pub adaptive_timers: bool,
    /// Whether a leader serves reads on its followers' promises; otherwise a majority confirms each.
    pub lease_reads: bool,
    /// Logical bytes of the store from which writes that add more are refused.
    pub quota_backend_bytes: u64,
    /// What is worth a line of the log.
    pub log_level: LogLevel,
    /// How a line of the log looks.
    pub log_format: LogFormat,
    /// File with the bearer token of the admin service; without one, no token is asked for.
    pub admin_token_file: Option<PathBuf>,
    /// File with the URI of the MongoDB that the ledger is exported to.
    pub ledger_mongodb_uri_file: Option<PathBuf>,
    /// How long verdicts and intervals stay in MongoDB; `None`: for ever.
    pub ledger_retention: Option<Duration>,
}

/// How a node without data comes to a cluster. One with data resumes as who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClusterStart {
    /// By itself, as its flags say.
    Static {
        /// Found the cluster, or join it.
        state: ClusterState,
        /// Keeps apart clusters founded with the same addresses.
        token: String,
        /// Peer URLs by name; this node is among them.
        initial_cluster: BTreeMap<String, Vec<String>>,
    },
    /// An operator assigns it an identity through the admin service.
    Managed,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let peer_urls = vec![ListenUrl::localhost(PEER_PORT).to_string()];
        Self {
            name: NAME.to_owned(),
            data_dir: default_data_dir(NAME),
            listen_client_urls: vec![ListenUrl::localhost(CLIENT_PORT)],
            advertise_client_urls: vec![ListenUrl::localhost(CLIENT_PORT).to_string()],
            listen_peer_urls: vec![ListenUrl::localhost(PEER_PORT)],
            initial_advertise_peer_urls: peer_urls.clone(),
            listen_metrics_urls: Vec::new(),
            listen_admin_urls: Vec::new(),
            start: ClusterStart::Static {
                state: ClusterState::New,
                token: TOKEN.to_owned(),
                initial_cluster: BTreeMap::from([(NAME.to_owned(), peer_urls)]),
            },
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            adaptive_timers: true,
            lease_reads: true,
            quota_backend_bytes: QUOTA_BYTES,
            log_level: LogLevel::Info,
            log_format: LogFormat::Json,
            admin_token_file: None,
            ledger_mongodb_uri_file: None,
            ledger_retention: None,
        }
    }
}

/// etcd's choice: a directory named after the member, where the process was started.
fn default_data_dir(name: &str) -> PathBuf {
    format!("{name}.etcd").into()
}

impl NodeConfig {
    /// Settles and checks what was said; the defaults fill in what wasn't.
    pub fn from_options(said: Options) -> Result<Self, ConfigError> {
        if said.listen_client_urls.is_some() && said.advertise_client_urls.is_none() {
            return Err(ConfigError::AdvertiseClientUrlsMissing);
        }
        let default = Self::default();
        let name = said.name.unwrap_or(default.name);
        let peer_urls = said
            .initial_advertise_peer_urls
            .map_or(default.initial_advertise_peer_urls, |urls| urls.0);
        let start = if said.managed == Some(true) {
            for (flag, is_said) in [
                ("initial-cluster", said.initial_cluster.is_some()),
                (
                    "initial-cluster-state",
                    said.initial_cluster_state.is_some(),
                ),
                (
                    "initial-cluster-token",
                    said.initial_cluster_token.is_some(),
                ),
            ] {
                if is_said {
                    return Err(ConfigError::ManagedAndStatic { flag });
                }
            }
            ClusterStart::Managed
        } else {
            ClusterStart::Static {
                state: said.initial_cluster_state.unwrap_or(ClusterState::New),
                token: said
                    .initial_cluster_token
                    .unwrap_or_else(|| TOKEN.to_owned()),
                initial_cluster: said.initial_cluster.map_or_else(
                    || BTreeMap::from([(name.clone(), peer_urls.clone())]),
                    |members| members.0,
                ),
            }
        };
        let listen = |said: Option<ListenUrls>, default| said.map_or(default, |urls| urls.0);
        let config = Self {
            data_dir: said.data_dir.unwrap_or_else(|| default_data_dir(&name)),
            name,
            listen_client_urls: listen(said.listen_client_urls, default.listen_client_urls),
            advertise_client_urls: said
                .advertise_client_urls
                .map_or(default.advertise_client_urls, |urls| urls.0),
            listen_peer_urls: listen(said.listen_peer_urls, default.listen_peer_urls),
            initial_advertise_peer_urls: peer_urls,
            listen_metrics_urls: listen(said.listen_metrics_urls, default.listen_metrics_urls),
            listen_admin_urls: listen(said.listen_admin_urls, default.listen_admin_urls),
            start,
            heartbeat_interval: said
                .heartbeat_interval
                .map_or(default.heartbeat_interval, |i| i.0),
            election_timeout: said
                .election_timeout
                .map_or(default.election_timeout, |i| i.0),
            adaptive_timers: said.adaptive_timers.unwrap_or(default.adaptive_timers),
            lease_reads: said.lease_reads.unwrap_or(default.lease_reads),
            quota_backend_bytes: said
                .quota_backend_bytes
                .filter(|bytes| *bytes > 0)
                .unwrap_or(default.quota_backend_bytes),
            log_level: said.log_level.unwrap_or(default.log_level),
            log_format: said.log_format.unwrap_or(default.log_format),
            admin_token_file: said.admin_token_file,
            ledger_mongodb_uri_file: said.ledger_mongodb_uri_file,
            ledger_retention: said
                .ledger_retention
                .map(|retention| retention.0)
                .filter(|retention| !retention.is_zero()),
        };
        config.validate()?;
        Ok(config)
    }

    /// Whether the values go together; the first clash that is found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_timers()?;
        self.validate_addresses()?;
        let is_possible = |retention| (RETENTION_MIN..=RETENTION_MAX).contains(&retention);
        if let Some(retention) = self.ledger_retention
            && !is_possible(retention)
        {
            return Err(ConfigError::Retention(retention));
        }
        let is_word = |c: char| c != '=' && c != ',' && !c.is_whitespace();
        if self.name.is_empty() || !self.name.chars().all(is_word) {
            return Err(ConfigError::Name(self.name.clone()));
        }
        match &self.start {
            ClusterStart::Static {
                initial_cluster, ..
            } => {
                self.validate_initial_cluster(initial_cluster)?;
            }
            ClusterStart::Managed if self.listen_admin_urls.is_empty() => {
                return Err(ConfigError::ManagedWithoutAdmin);
            }
            ClusterStart::Managed => {}
        }
        let open_url = self
            .listen_admin_urls
            .iter()
            .find(|url| !url.address().ip().is_loopback());
        match open_url {
            Some(url) if self.admin_token_file.is_none() => Err(ConfigError::AdminWithoutToken {
                url: url.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn validate_timers(&self) -> Result<(), ConfigError> {
        let (heartbeat, election) = (self.heartbeat_interval, self.election_timeout);
        if heartbeat < Duration::from_millis(1) {
            return Err(ConfigError::HeartbeatTooShort(heartbeat));
        }
        if election > ELECTION_TIMEOUT_MAX {
            return Err(ConfigError::ElectionTimeoutTooLong(election));
        }
        if election < heartbeat.saturating_mul(HEARTBEATS_PER_ELECTION_MIN) {
            return Err(ConfigError::ElectionTimeoutTooShort {
                election,
                heartbeat,
            });
        }
        Ok(())
    }

    fn validate_addresses(&self) -> Result<(), ConfigError> {
        for (flag, is_empty) in [
            ("listen-client-urls", self.listen_client_urls.is_empty()),
            (
                "advertise-client-urls",
                self.advertise_client_urls.is_empty(),
            ),
            ("listen-peer-urls", self.listen_peer_urls.is_empty()),
            (
                "initial-advertise-peer-urls",
                self.initial_advertise_peer_urls.is_empty(),
            ),
        ] {
            if is_empty {
                return Err(ConfigError::NoUrl { flag });
            }
        }
        let mut taken = BTreeMap::new();
        for (flag, urls) in [
            ("listen-client-urls", &self.listen_client_urls),
            ("listen-peer-urls", &self.listen_peer_urls),
            ("listen-metrics-urls", &self.listen_metrics_urls),
            ("listen-admin-urls", &self.listen_admin_urls),
        ] {
            // The system gives out a port of its own for every 0.
            for url in urls.iter().filter(|url| url.address().port() != 0) {
                if let Some(first) = taken.insert(url.address(), flag) {
                    let url = url.to_string();
                    return Err(ConfigError::ListenUrlTwice {
                        url,
                        first,
                        second: flag,
                    });
                }
            }
        }
        Ok(())
    }

    /// As etcd checks it: a node that the others look for elsewhere would never be found.
    fn validate_initial_cluster(
        &self,
        members: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), ConfigError> {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, urls) in members {
            for url in urls {
                if let Some(first) = owners.insert(url, name) {
                    return Err(ConfigError::PeerUrlTwice {
                        url: url.clone(),
                        first: first.to_owned(),
                        second: name.clone(),
                    });
                }
            }
        }
        let Some(listed) = members.get(&self.name) else {
            return Err(ConfigError::NotInInitialCluster {
                name: self.name.clone(),
                known: members.keys().cloned().collect(),
            });
        };
        let sorted = |urls: &[String]| {
            let mut urls = urls.to_vec();
            urls.sort();
            urls
        };
        let (listed, advertised) = (sorted(listed), sorted(&self.initial_advertise_peer_urls));
        if listed != advertised {
            return Err(ConfigError::PeerUrlsDiffer {
                name: self.name.clone(),
                advertised,
                listed,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "node_config_test.rs"]
mod node_config_test;
