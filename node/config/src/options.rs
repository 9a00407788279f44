//! Everything that may be said about a node; nothing has to be.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::url::{InitialCluster, ListenUrls, Urls};
use crate::values::{ClusterState, Interval, LogFormat, LogLevel};

// Headings of --help, which is printed from the fields' comments.
const MEMBER: &str = "Member";
const ADDRESSES: &str = "Addresses (http://host:port, separated by commas)";
const FORMING: &str = "Forming a cluster (looked at only while there is no data)";
const ADMIN: &str = "Admin and ledger";
const LOG: &str = "Log (on standard error)";

/// What was said, by flags, by variables or in a file; the fields have the flags' names in
/// all three. What wasn't said is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Name of this member, unique in the cluster [default: default].
    #[arg(long, value_name = "NAME", help_heading = MEMBER)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Directory of its data [default: NAME.etcd].
    #[arg(long, value_name = "DIR", help_heading = MEMBER)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,

    /// Time between a leader's heartbeats, in milliseconds or as 100ms [default: 100ms].
    #[arg(long, value_name = "TIME", help_heading = MEMBER)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval: Option<Interval>,

    /// Time without a leader before an election, at least five heartbeats [default: 1s].
    #[arg(long, value_name = "TIME", help_heading = MEMBER)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub election_timeout: Option<Interval>,

    /// Let both follow the round trips, delays and syncs that are measured, between 200ms and what
    /// is configured, so that a lost leader is replaced sooner; otherwise they stay as they are
    /// [default: true].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, help_heading = MEMBER)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_timers: Option<bool>,

    /// Serve reads at a leader whose followers have promised not to vote, without asking them for
    /// each; otherwise a majority confirms each read. Clocks may drift by 1 % [default: true].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, help_heading = MEMBER)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_reads: Option<bool>,

    /// Bytes of keys and values, history included, from which writes that add more are refused
    /// until deletes and compaction have made room; 0 means the default [default: 2147483648].
    #[arg(long, value_name = "BYTES", help_heading = MEMBER)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_backend_bytes: Option<u64>,

    /// Where to listen for clients (gRPC and HTTP) [default: http://localhost:2379].
    #[arg(
        long,
        value_name = "URLS",
        help_heading = ADDRESSES
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_client_urls: Option<ListenUrls>,

    /// Where clients reach this member; needed if --listen-client-urls is given
    /// [default: http://localhost:2379].
    #[arg(
        long,
        value_name = "URLS",
        help_heading = ADDRESSES
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_client_urls: Option<Urls>,

    /// Where to listen for other members [default: http://localhost:2380].
    #[arg(
        long,
        value_name = "URLS",
        help_heading = ADDRESSES
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_peer_urls: Option<ListenUrls>,

    /// Where other members reach this one [default: http://localhost:2380].
    #[arg(
        long,
        value_name = "URLS",
        help_heading = ADDRESSES
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_advertise_peer_urls: Option<Urls>,

    /// Where to listen for probes, metrics and the ledger [default: nowhere].
    #[arg(
        long,
        value_name = "URLS",
        help_heading = ADDRESSES
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_metrics_urls: Option<ListenUrls>,

    /// Where to listen for the admin service [default: nowhere].
    #[arg(
        long,
        value_name = "URLS",
        help_heading = ADDRESSES
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_admin_urls: Option<ListenUrls>,

    /// The members to begin with, NAME=URL,NAME=URL with their peer URLs
    /// [default: this member alone].
    #[arg(
        long,
        value_name = "MEMBERS",
        help_heading = FORMING
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_cluster: Option<InitialCluster>,

    /// "new" to found the cluster together, "existing" to join one that has added this
    /// member [default: new].
    #[arg(
        long,
        value_name = "STATE",
        help_heading = FORMING
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_cluster_state: Option<ClusterState>,

    /// Keeps apart clusters founded with the same addresses [default: etcd-cluster].
    #[arg(
        long,
        value_name = "TOKEN",
        help_heading = FORMING
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_cluster_token: Option<String>,

    /// An operator forms the cluster: wait for it on the admin service, and refuse changes
    /// of membership from clients.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, help_heading = FORMING)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<bool>,

    /// File with the bearer token that the admin service wants; needed if it can be reached
    /// from outside.
    #[arg(long, value_name = "FILE", help_heading = ADMIN)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token_file: Option<PathBuf>,

    /// File with the URI of the MongoDB that the ledger is exported to [default: not
    /// exported].
    #[arg(long, value_name = "FILE", help_heading = ADMIN)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger_mongodb_uri_file: Option<PathBuf>,

    /// How long verdicts and measured intervals stay in MongoDB, as 720h and at least 1h; 0 means
    /// for ever [default: 0].
    #[arg(long, value_name = "TIME", help_heading = ADMIN)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger_retention: Option<Interval>,

    /// debug, info, warn or error [default: info].
    #[arg(long, value_name = "LEVEL", help_heading = LOG)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,

    /// json or console [default: json].
    #[arg(long, value_name = "FORMAT", help_heading = LOG)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
}

impl Options {
    /// What was said here, and where nothing was, what `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        macro_rules! or {
            ($($field:ident),* $(,)?) => { Self { $($field: self.$field.or(other.$field),)* } };
        }
        or!(
            name,
            data_dir,
            heartbeat_interval,
            election_timeout,
            adaptive_timers,
            lease_reads,
            quota_backend_bytes,
            listen_client_urls,
            advertise_client_urls,
            listen_peer_urls,
            initial_advertise_peer_urls,
            listen_metrics_urls,
            listen_admin_urls,
            initial_cluster,
            initial_cluster_state,
            initial_cluster_token,
            managed,
            admin_token_file,
            ledger_mongodb_uri_file,
            ledger_retention,
            log_level,
            log_format,
        )
    }

    /// The file that says the same. Fields come in a fixed order: equal options give equal
    /// text.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("text, numbers and booleans always serialise")
    }

    /// Reads a file's text. A file without a field is fine.
    pub fn from_yaml(text: &str) -> Result<Self, serde_yaml::Error> {
        Ok(serde_yaml::from_str::<Option<Self>>(text)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::url::ListenUrl;

    fn rendered() -> Options {
        Options {
            data_dir: Some("/data".into()),
            heartbeat_interval: Some(Interval(Duration::from_millis(100))),
            election_timeout: Some(Interval(Duration::from_secs(1))),
            listen_client_urls: Some(ListenUrls(vec![ListenUrl::any(2379)])),
            managed: Some(true),
            admin_token_file: Some("/admin/token".into()),
            ..Options::default()
        }
    }

    #[test]
    fn yaml_has_the_flags_names_and_only_what_was_said() {
        assert_eq!(
            rendered().to_yaml(),
            "data-dir: /data\n\
             heartbeat-interval: 100ms\n\
             election-timeout: 1s\n\
             listen-client-urls: http://0.0.0.0:2379\n\
             managed: true\n\
             admin-token-file: /admin/token\n"
        );
    }

    #[test]
    fn yaml_that_was_written_reads_the_same() {
        assert_eq!(
            Options::from_yaml(&rendered().to_yaml()).expect("own words"),
            rendered()
        );
        let nothing = Options::default();
        assert_eq!(
            Options::from_yaml(&nothing.to_yaml()).expect("own words"),
            nothing
        );
    }

    #[test]
    fn empty_yaml_says_nothing() {
        for text in ["", "\n", "# nothing yet\n", "{}"] {
            assert_eq!(
                Options::from_yaml(text).expect("empty"),
                Options::default(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn yaml_takes_milliseconds_as_numbers() {
        let options = Options::from_yaml("heartbeat-interval: 100\nelection-timeout: '2000'");
        let options = options.expect("valid");
        assert_eq!(
            options.heartbeat_interval,
            Some(Interval(Duration::from_millis(100)))
        );
        assert_eq!(
            options.election_timeout,
            Some(Interval(Duration::from_secs(2)))
        );
    }

    #[test]
    fn yaml_errors_name_the_field_and_the_place() {
        let refused = |text| Options::from_yaml(text).expect_err("bad").to_string();
        assert!(refused("hartbeat: 1").starts_with("unknown field `hartbeat`, expected one of"));
        assert_eq!(
            refused("name: a\nelection-timeout: soon"),
            "election-timeout: \"soon\" is neither a number of milliseconds (100) nor a \
             duration (100ms) at line 2 column 19"
        );
        assert_eq!(
            refused("initial-cluster-state: old"),
            "initial-cluster-state: \"old\" is not one of new, existing at line 1 column 24"
        );
    }
}
