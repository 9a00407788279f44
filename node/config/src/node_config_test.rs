use super::*;
use crate::values::Interval;

fn refused(said: Options) -> String {
    NodeConfig::from_options(said)
        .expect_err("must be refused")
        .to_string()
}

fn list<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> Option<T> {
    Some(text.parse().expect("parses"))
}

fn millis(millis: u64) -> Option<Interval> {
    Some(Interval(Duration::from_millis(millis)))
}

fn managed() -> Options {
    Options {
        managed: Some(true),
        listen_admin_urls: list("http://0.0.0.0:2382"),
        admin_token_file: Some("/admin/token".into()),
        ..Options::default()
    }
}

#[test]
fn nothing_said_is_the_default_and_valid() {
    let config = NodeConfig::from_options(Options::default()).expect("valid");
    assert_eq!(config, NodeConfig::default());
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn name_decides_the_data_directory_and_the_lonely_cluster() {
    let said = Options {
        name: Some("a".into()),
        listen_peer_urls: list("http://127.0.0.1:1"),
        initial_advertise_peer_urls: list("http://127.0.0.1:1"),
        ..Options::default()
    };
    let config = NodeConfig::from_options(said).expect("valid");
    assert_eq!(config.data_dir, PathBuf::from("a.etcd"));
    let ClusterStart::Static {
        initial_cluster,
        state,
        token,
    } = config.start
    else {
        panic!("static")
    };
    assert_eq!(
        initial_cluster,
        BTreeMap::from([("a".into(), vec!["http://127.0.0.1:1".into()])])
    );
    assert_eq!((state, token.as_str()), (ClusterState::New, "etcd-cluster"));
}

#[test]
fn timers_that_do_not_fit_are_refused_with_both_values() {
    let said = Options {
        heartbeat_interval: millis(300),
        election_timeout: millis(1_000),
        ..Options::default()
    };
    assert_eq!(
        refused(said),
        "--election-timeout=1s must be at least five times --heartbeat-interval=300ms"
    );
    let said = Options {
        election_timeout: millis(60_000),
        ..Options::default()
    };
    assert_eq!(refused(said), "--election-timeout=1m must be at most 50s");
    let said = Options {
        heartbeat_interval: millis(0),
        ..Options::default()
    };
    assert_eq!(
        refused(said),
        "--heartbeat-interval=0s must be at least 1ms"
    );
    let exactly_five = Options {
        heartbeat_interval: millis(100),
        election_timeout: millis(500),
        ..Options::default()
    };
    assert!(NodeConfig::from_options(exactly_five).is_ok());
}

#[test]
fn name_must_be_in_the_initial_cluster() {
    let said = Options {
        name: Some("c".into()),
        initial_cluster: list("a=http://a:1,b=http://b:1"),
        ..Options::default()
    };
    assert_eq!(
        refused(said),
        "--name=\"c\" is not in --initial-cluster (which has [\"a\", \"b\"])"
    );
}

#[test]
fn advertised_peer_urls_must_be_those_of_the_initial_cluster() {
    let said = Options {
        name: Some("a".into()),
        initial_advertise_peer_urls: list("http://a:1,http://a:2"),
        initial_cluster: list("a=http://a:1,b=http://b:1"),
        ..Options::default()
    };
    assert_eq!(
        refused(said.clone()),
        "--initial-advertise-peer-urls=http://a:1,http://a:2 differs from a's entry in \
         --initial-cluster, http://a:1"
    );
    let in_another_order = Options {
        initial_cluster: list("a=http://a:2,b=http://b:1,a=http://a:1"),
        ..said
    };
    assert!(NodeConfig::from_options(in_another_order).is_ok());
}

#[test]
fn one_peer_url_belongs_to_one_member() {
    let said = Options {
        name: Some("a".into()),
        initial_advertise_peer_urls: list("http://a:1"),
        initial_cluster: list("a=http://a:1,b=http://a:1"),
        ..Options::default()
    };
    assert_eq!(
        refused(said),
        "--initial-cluster gives http://a:1 to \"a\" and to \"b\""
    );
}

#[test]
fn client_urls_to_listen_on_need_urls_to_advertise() {
    let said = Options {
        listen_client_urls: list("http://0.0.0.0:2379"),
        ..Options::default()
    };
    assert_eq!(
        refused(said),
        "--advertise-client-urls is required when --listen-client-urls is set"
    );
}

#[test]
fn one_address_is_listened_on_once() {
    let said = Options {
        listen_metrics_urls: list("http://127.0.0.1:2379"),
        ..Options::default()
    };
    assert_eq!(
        refused(said),
        "--listen-client-urls and --listen-metrics-urls both listen on http://127.0.0.1:2379"
    );
    let chosen_by_the_system = Options {
        listen_metrics_urls: list("http://127.0.0.1:0"),
        listen_admin_urls: list("http://127.0.0.1:0"),
        ..Options::default()
    };
    assert!(NodeConfig::from_options(chosen_by_the_system).is_ok());
}

#[test]
fn managed_node_needs_its_admin_service_and_nothing_static() {
    let config = NodeConfig::from_options(managed()).expect("valid");
    assert_eq!(config.start, ClusterStart::Managed);
    assert_eq!(
        refused(Options {
            listen_admin_urls: None,
            ..managed()
        }),
        "--managed needs --listen-admin-urls: the operator assigns the identity there"
    );
    assert_eq!(
        refused(Options {
            initial_cluster_token: Some("t".into()),
            ..managed()
        }),
        "--managed and --initial-cluster-token exclude each other: the operator forms the cluster"
    );
}

#[test]
fn admin_service_within_reach_needs_a_token() {
    assert_eq!(
        refused(Options {
            admin_token_file: None,
            ..managed()
        }),
        "--listen-admin-urls=http://0.0.0.0:2382 can be reached from outside: \
         --admin-token-file is needed"
    );
    let on_loopback = Options {
        admin_token_file: None,
        listen_admin_urls: list("http://127.0.0.1:2382"),
        ..managed()
    };
    assert!(NodeConfig::from_options(on_loopback).is_ok());
}

#[test]
fn names_that_could_not_stand_in_the_initial_cluster_are_refused() {
    for name in ["", "a=b", "a,b", "a b"] {
        let said = Options {
            name: Some(name.into()),
            ..managed()
        };
        assert_eq!(
            refused(said),
            format!("--name={name:?} must not be empty nor contain '=', ',' or white space")
        );
    }
}
