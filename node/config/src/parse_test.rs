use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::values::LogLevel;

fn run_with(args: &[&str], variables: &[(&str, &str)]) -> Result<NodeConfig, UsageError> {
    let args = std::iter::once("raftery-node")
        .chain(args.iter().copied())
        .map(OsString::from);
    let variables = variables
        .iter()
        .map(|(k, v)| (OsString::from(k), OsString::from(v)));
    match parse(args, variables)? {
        Invocation::Run(config) => Ok(*config),
        Invocation::Print(text) => panic!("printed {text}"),
    }
}

fn printed(args: &[&str]) -> String {
    let args = std::iter::once("raftery-node")
        .chain(args.iter().copied())
        .map(OsString::from);
    match parse(args, []).expect("prints") {
        Invocation::Print(text) => text,
        Invocation::Run(config) => panic!("ran {config:?}"),
    }
}

fn refused(args: &[&str], variables: &[(&str, &str)]) -> String {
    let message = run_with(args, variables)
        .expect_err("must be refused")
        .to_string();
    assert_eq!(message.lines().count(), 1, "one line: {message:?}");
    message
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

#[test]
fn flags_take_values_after_a_space_or_an_equals_sign_and_one_dash_or_two() {
    for args in [
        &["--name=a", "--heartbeat-interval=50"][..],
        &["--name", "a", "--heartbeat-interval", "50ms"],
        &["-name=a", "-heartbeat-interval", "50"],
    ] {
        let config = run_with(args, &[]).expect("valid");
        assert_eq!(config.name, "a");
        assert_eq!(config.heartbeat_interval, Duration::from_millis(50));
    }
}

#[test]
fn last_of_repeated_flags_counts() {
    assert_eq!(
        run_with(&["--name=a", "--name=b"], &[])
            .expect("valid")
            .name,
        "b"
    );
}

#[test]
fn flag_beats_variable_beats_file_beats_default() {
    let file = file("name: file\ndata-dir: /file\nlog-level: warn\nelection-timeout: 3s\n");
    let path = file.path().to_str().expect("UTF-8");
    let config = run_with(
        &["--name=flag", "--config-file", path],
        &[("ETCD_NAME", "variable"), ("ETCD_DATA_DIR", "/variable")],
    )
    .expect("valid");
    assert_eq!(config.name, "flag");
    assert_eq!(config.data_dir, PathBuf::from("/variable"));
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(config.election_timeout, Duration::from_secs(3));
    assert_eq!(config.heartbeat_interval, Duration::from_millis(100));
}

#[test]
fn file_may_be_named_by_a_variable() {
    let file = file("name: file\n");
    let path = file.path().to_str().expect("UTF-8");
    assert_eq!(
        run_with(&[], &[("ETCD_CONFIG_FILE", path)])
            .expect("valid")
            .name,
        "file"
    );
}

#[test]
fn unknown_and_empty_variables_are_ignored() {
    let config = run_with(
        &[],
        &[
            ("ETCD_ON_K8S", "yes"),
            ("ETCD_ROOT_PASSWORD", "secret"),
            ("ETCD_VERSION", "3.5.1"),
            ("ETCD_NAME", ""),
            ("PATH", "/bin"),
        ],
    );
    assert_eq!(config.expect("valid"), NodeConfig::default());
}

#[test]
fn managed_is_a_switch() {
    let with = |managed: &'static str| {
        run_with(&[managed, "--listen-admin-urls=http://127.0.0.1:2382"], &[])
            .expect("valid")
            .start
    };
    assert_eq!(with("--managed"), crate::ClusterStart::Managed);
    assert_eq!(with("--managed=true"), crate::ClusterStart::Managed);
    assert_ne!(with("--managed=false"), crate::ClusterStart::Managed);
}

#[test]
fn timers_are_adaptive_unless_switched_off() {
    let with = |flags: &[&'static str], variables| {
        run_with(flags, variables).expect("valid").adaptive_timers
    };
    assert!(with(&[], &[]));
    assert!(!with(&["--adaptive-timers=false"], &[]));
    assert!(!with(&[], &[("ETCD_ADAPTIVE_TIMERS", "false")]));
}

#[test]
fn lease_reads_are_on_unless_switched_off() {
    let with =
        |flags: &[&'static str], variables| run_with(flags, variables).expect("valid").lease_reads;
    assert!(with(&[], &[]));
    assert!(with(&["--lease-reads"], &[("ETCD_LEASE_READS", "false")]));
    assert!(!with(&["--lease-reads=false"], &[]));
    assert!(!with(&[], &[("ETCD_LEASE_READS", "false")]));
}

#[test]
fn every_flag_of_a_static_member_arrives() {
    let config = run_with(
        &[
            "--name=a",
            "--data-dir=/data",
            "--listen-client-urls=http://127.0.0.1:1,http://127.0.0.1:2",
            "--advertise-client-urls=http://node-a:1",
            "--listen-peer-urls=http://127.0.0.1:3",
            "--initial-advertise-peer-urls=http://node-a:3",
            "--initial-cluster=a=http://node-a:3,b=http://node-b:3",
            "--initial-cluster-state=existing",
            "--initial-cluster-token=t",
            "--heartbeat-interval=20",
            "--election-timeout=200",
            "--log-level=debug",
            "--log-format=console",
            "--listen-metrics-urls=http://127.0.0.1:4",
            "--listen-admin-urls=http://127.0.0.1:5",
            "--admin-token-file=/token",
            "--ledger-mongodb-uri-file=/uri",
            "--ledger-retention=720h",
        ],
        &[],
    )
    .expect("valid");
    let listens =
        |url: &crate::ListenUrl| -> String { url.to_string().split_off("http://127.0.0.1:".len()) };
    assert_eq!(
        config
            .listen_client_urls
            .iter()
            .map(listens)
            .collect::<String>(),
        "12"
    );
    assert_eq!(config.advertise_client_urls, ["http://node-a:1"]);
    assert_eq!(
        config
            .listen_peer_urls
            .iter()
            .map(listens)
            .collect::<String>(),
        "3"
    );
    assert_eq!(config.initial_advertise_peer_urls, ["http://node-a:3"]);
    assert_eq!(
        config
            .listen_metrics_urls
            .iter()
            .map(listens)
            .collect::<String>(),
        "4"
    );
    assert_eq!(
        config
            .listen_admin_urls
            .iter()
            .map(listens)
            .collect::<String>(),
        "5"
    );
    let crate::ClusterStart::Static {
        state,
        token,
        initial_cluster,
    } = config.start
    else {
        panic!("static")
    };
    assert_eq!(
        (state, token.as_str()),
        (crate::ClusterState::Existing, "t")
    );
    assert_eq!(initial_cluster["b"], ["http://node-b:3"]);
    assert_eq!(config.election_timeout, Duration::from_millis(200));
    assert_eq!(config.log_level, LogLevel::Debug);
    assert_eq!(config.log_format, crate::LogFormat::Console);
    assert_eq!(config.admin_token_file, Some("/token".into()));
    assert_eq!(config.ledger_mongodb_uri_file, Some("/uri".into()));
    let month = Duration::from_secs(720 * 3_600);
    assert_eq!(config.ledger_retention, Some(month));
}

#[test]
fn a_retention_of_0_is_none_and_one_of_minutes_is_refused() {
    let config = run_with(&["--ledger-retention=0"], &[]).expect("valid");
    assert_eq!(config.ledger_retention, None);
    let told = run_with(&["--ledger-retention=59m"], &[]).expect_err("too short");
    assert_eq!(
        told.to_string(),
        "--ledger-retention=59m must be 0 (for ever), or from 1h to 68years"
    );
}

#[test]
fn mistakes_are_told_in_one_line_that_names_flag_and_value() {
    for (args, message) in [
        (
            &["--nam=a"][..],
            "unknown flag --nam (did you mean --name?); --help lists all",
        ),
        (
            &["--snapshot-count=1"],
            "unknown flag --snapshot-count; --help lists all",
        ),
        (&["run"], "\"run\" is not a flag; --help lists all"),
        (&["--name"], "--name needs a value"),
        (
            &["--heartbeat-interval=soon"],
            "--heartbeat-interval: \"soon\" is neither a number of milliseconds (100) nor a \
             duration (100ms)",
        ),
        (
            &["--listen-client-urls=localhost:2379"],
            "--listen-client-urls: \"localhost:2379\" can't be listened on: it doesn't start \
             with http://",
        ),
        (
            &["--initial-cluster-state=old"],
            "--initial-cluster-state: \"old\" is not one of new, existing",
        ),
        (
            &["--initial-cluster="],
            "--initial-cluster: at least one URL is needed",
        ),
        (
            &["--managed=maybe"],
            "--managed: \"maybe\" is not a value for it",
        ),
        (
            &["--heartbeat-interval=300", "--election-timeout=1000"],
            "--election-timeout=1s must be at least five times --heartbeat-interval=300ms",
        ),
    ] {
        assert_eq!(refused(args, &[]), message, "{args:?}");
    }
}

#[test]
fn mistake_in_a_variable_names_the_variable() {
    assert_eq!(
        refused(&[], &[("ETCD_LOG_LEVEL", "loud")]),
        "ETCD_LOG_LEVEL: \"loud\" is not one of debug, info, warn, error"
    );
}

#[test]
fn mistake_in_the_file_names_file_and_place() {
    let file = file("name: a\nelection-timeout: soon\n");
    let path = file.path().to_str().expect("UTF-8");
    let message = refused(&["--config-file", path], &[]);
    assert!(message.starts_with(&format!("--config-file={path}: election-timeout: \"soon\"")));
    assert!(message.ends_with("at line 2 column 19"), "{message}");
    assert_eq!(
        refused(&["--config-file=/no/such/file"], &[]),
        "--config-file=/no/such/file: No such file or directory (os error 2)"
    );
}

#[test]
fn version_has_a_line_for_scripts_that_know_etcd() {
    assert_eq!(
        printed(&["--version"]),
        format!("etcd Version: {ETCD_API_VERSION}\nraftery-node Version: {VERSION}\n")
    );
    assert_eq!(printed(&["-version"]), printed(&["--version"]));
}

#[test]
fn help_teaches() {
    for flag in ["--help", "-h", "-help"] {
        let help = printed(&[flag]);
        for part in [
            "--initial-cluster-state",
            "Examples:",
            "ETCD_DATA_DIR",
            "Exit codes:",
        ] {
            assert!(help.contains(part), "{part} in\n{help}");
        }
    }
}
