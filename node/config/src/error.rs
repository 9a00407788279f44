//! What can be wrong with a configuration. Every message fits one line and names the values.

use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;

/// A value that doesn't parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a URL of the form that is needed.
    #[error("{url:?} is not of the form http://host:port: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not a URL to listen on.
    #[error("{url:?} can't be listened on: {why}")]
    ListenUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An empty list.
    #[error("at least one URL is needed")]
    NoUrl,
    /// A part of `--initial-cluster` without a name.
    #[error("{0:?} is not of the form name=http://host:port")]
    InitialMember(String),
    /// Not a length of time.
    #[error("{0:?} is neither a number of milliseconds (100) nor a duration (100ms)")]
    Interval(String),
    /// Not one of the words that are known.
    #[error("{given:?} is not one of {known}")]
    Choice {
        /// What was given.
        given: String,
        /// The words that are known.
        known: &'static str,
    },
}

/// Values that don't go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A name that couldn't stand in `--initial-cluster`.
    #[error("--name={0:?} must not be empty nor contain '=', ',' or white space")]
    Name(String),
    /// A list without a URL.
    #[error("--{flag} needs at least one URL")]
    NoUrl {
        /// The flag.
        flag: &'static str,
    },
    /// A heartbeat interval of less than a millisecond.
    #[error("--heartbeat-interval={} must be at least 1ms", format_duration(*.0))]
    HeartbeatTooShort(Duration),
    /// Fewer than five heartbeats fit into the election timeout: a lost one would cost the
    /// leader its place.
    #[error(
        "--election-timeout={} must be at least five times --heartbeat-interval={}",
        format_duration(*.election), format_duration(*.heartbeat)
    )]
    ElectionTimeoutTooShort {
        /// `--election-timeout`.
        election: Duration,
        /// `--heartbeat-interval`.
        heartbeat: Duration,
    },
    /// Nobody wants to wait that long for a leader; etcd has the same limit.
    #[error("--election-timeout={} must be at most 50s", format_duration(*.0))]
    ElectionTimeoutTooLong(Duration),
    /// Too short to be of use, or longer than MongoDB can count.
    #[error("--ledger-retention={} must be 0 (for ever), or from 1h to 68years", format_duration(*.0))]
    Retention(Duration),
    /// Others would be told to connect to a default that isn't listened on.
    #[error("--advertise-client-urls is required when --listen-client-urls is set")]
    AdvertiseClientUrlsMissing,
    /// This node isn't part of the cluster that it should found or join.
    #[error("--name={name:?} is not in --initial-cluster (which has {known:?})")]
    NotInInitialCluster {
        /// `--name`.
        name: String,
        /// The names in `--initial-cluster`.
        known: Vec<String>,
    },
    /// The others would look for this node where it isn't.
    #[error(
        "--initial-advertise-peer-urls={} differs from {name}'s entry in --initial-cluster, {}",
        .advertised.join(","), .listed.join(",")
    )]
    PeerUrlsDiffer {
        /// `--name`.
        name: String,
        /// `--initial-advertise-peer-urls`.
        advertised: Vec<String>,
        /// What `--initial-cluster` says.
        listed: Vec<String>,
    },
    /// Two members can't have one URL.
    #[error("--initial-cluster gives {url} to {first:?} and to {second:?}")]
    PeerUrlTwice {
        /// The URL.
        url: String,
        /// Who has it first.
        first: String,
        /// Who has it again.
        second: String,
    },
    /// One address can be listened on once.
    #[error("--{first} and --{second} both listen on {url}")]
    ListenUrlTwice {
        /// The URL.
        url: String,
        /// A flag.
        first: &'static str,
        /// Another flag, or the same again.
        second: &'static str,
    },
    /// A managed node gets its identity by its admin service.
    #[error("--managed needs --listen-admin-urls: the operator assigns the identity there")]
    ManagedWithoutAdmin,
    /// A managed node doesn't found clusters by itself.
    #[error("--managed and --{flag} exclude each other: the operator forms the cluster")]
    ManagedAndStatic {
        /// The flag.
        flag: &'static str,
    },
    /// Whoever reaches the admin service may remove members.
    #[error("--listen-admin-urls={url} can be reached from outside: --admin-token-file is needed")]
    AdminWithoutToken {
        /// The URL.
        url: String,
    },
}

/// Why the node can't start with what it was told. The process ends with code 2 then.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// A flag that doesn't exist.
    #[error("unknown flag {flag}{}; --help lists all", .like.as_ref().map(|l| format!(" (did you mean {l}?)")).unwrap_or_default())]
    UnknownFlag {
        /// As given.
        flag: String,
        /// A flag that looks like it.
        like: Option<String>,
    },
    /// An argument where a flag was expected.
    #[error("{0:?} is not a flag; --help lists all")]
    NotAFlag(String),
    /// A flag at the end, or an empty value.
    #[error("{origin} needs a value")]
    MissingValue {
        /// The flag or variable.
        origin: String,
    },
    /// A value that doesn't parse.
    #[error("{origin}: {why}")]
    BadValue {
        /// The flag or variable.
        origin: String,
        /// What is wrong, naming the value.
        why: String,
    },
    /// The file of `--config-file` can't be read.
    #[error("--config-file={}: {source}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of `--config-file` doesn't parse.
    #[error("--config-file={}: {source}", path.display())]
    ParseFile {
        /// The file.
        path: PathBuf,
        /// Field, line and column.
        source: serde_yaml::Error,
    },
    /// Values that don't go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
