//! Three nodes by hand, and etcd's own client.

use std::time::Duration;

use anyhow::Context;
use etcd_client::{Client, Compare, CompareOp, Error, GetOptions, PutOptions, Txn, TxnOp};
use raftery_e2e::bare::{Cluster, Node, Spelling};
use raftery_e2e::environment;
use raftery_e2e::etcd::Etcdctl;
use raftery_e2e::http;
use raftery_e2e::outcome::Outcome;

use crate::alone;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn nodes_started_with_flags_in_all_three_forms_form_a_cluster_that_etcdctl_uses() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::new(3)?;
    cluster.nodes[1].spelling = Spelling::Separate;
    cluster.nodes[2].spelling = Spelling::Environment;
    cluster.start().await?;

    for (number, node) in cluster.nodes.iter().enumerate() {
        let etcdctl = Etcdctl::new(&[node.client_url()]);
        let key = format!("key-{number}");
        assert_eq!(etcdctl.run(&["put", &key, "one"]).await?, "OK\n");
        assert_eq!(etcdctl.run(&["get", &key]).await?, format!("{key}\none\n"));
        let old = etcdctl.run(&["put", "--prev-kv", &key, "two"]).await?;
        assert_eq!(old, format!("OK\n{key}\none\n"));
        let swap = format!("value(\"{key}\") = \"two\"\n\nput {key} three\n\nput {key} lost\n\n");
        let answer = etcdctl.run_with_input(&["txn"], &swap).await?;
        assert!(answer.starts_with("SUCCESS"), "{answer}");
        assert_eq!(
            etcdctl.run(&["get", "--print-value-only", &key]).await?,
            "three\n"
        );
        let all = etcdctl
            .run(&["get", "--prefix", "--keys-only", "key-"])
            .await?;
        assert_eq!(all.split_whitespace().collect::<Vec<_>>(), [key.as_str()]);
        assert_eq!(etcdctl.run(&["del", &key]).await?, "1\n");
        assert_eq!(etcdctl.run(&["get", &key]).await?, "");

        let members = etcdctl.run(&["member", "list"]).await?;
        assert_eq!(members.lines().count(), 3, "{members}");
        for other in &cluster.nodes {
            let line = members
                .lines()
                .find(|line| line.contains(&other.peer_url()));
            let line = line.context("a member is missing")?;
            assert!(
                line.contains("started") && line.contains(&other.client_url()),
                "{line}"
            );
            assert!(line.contains(&other.name), "{line}");
        }
    }
    let healthy = cluster.etcdctl().run(&["endpoint", "health"]).await?;
    assert_eq!(healthy.matches("is healthy").count(), 3, "{healthy}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_sees_one_leader_and_moves_it_to_every_member() -> Outcome {
    let _alone = alone().await;
    let cluster = Cluster::started(3).await?;
    let (first, _) = cluster.leader(SOON).await?;
    for step in 1..=3 {
        let target = &cluster.nodes[(first + step) % 3];
        let id = target.admin()?.status().await?.member_id;
        let moved = cluster
            .etcdctl()
            .run(&["move-leader", &format!("{id:x}")])
            .await?;
        assert!(moved.contains("Leadership transferred"), "{moved}");
        let (leader, _) = cluster.leader(SOON).await?;
        assert_eq!(cluster.nodes[leader].name, target.name);

        let all = cluster.etcdctl().json(&["endpoint", "status"]).await?;
        let all = all.as_array().context("not a list")?;
        assert_eq!(all.len(), 3);
        for one in all {
            let seen = one["Status"]["leader"].as_u64();
            assert_eq!(seen, Some(id), "{one}");
            assert!(
                one["Status"]["version"]
                    .as_str()
                    .is_some_and(|v| v.starts_with("3.")),
                "{one}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_version_and_metrics_are_served_over_http() -> Outcome {
    let _alone = alone().await;
    let cluster = Cluster::started(3).await?;
    for node in &cluster.nodes {
        for base in [node.client_url(), node.metrics_url()] {
            let (status, body) = http::get(&format!("{base}/health")).await?;
            assert_eq!(
                (status, body.contains("\"health\":\"true\"")),
                (200, true),
                "{body}"
            );
            for probe in ["livez", "readyz"] {
                assert_eq!(
                    http::get(&format!("{base}/{probe}")).await?.0,
                    200,
                    "{base}/{probe}"
                );
            }
        }
        let (_, version) = http::get(&format!("{}/version", node.client_url())).await?;
        let version: serde_json::Value = serde_json::from_str(&version)?;
        assert!(version["etcdserver"].is_string() && version["etcdcluster"].is_string());
        let (status, metrics) = http::get(&format!("{}/metrics", node.metrics_url())).await?;
        assert_eq!(status, 200);
        assert!(metrics.contains("raftery_"), "{metrics}");
        let log = node.log();
        assert!(log.contains("ready to serve client requests"), "{log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_the_errors_that_etcd_gives() -> Outcome {
    let _alone = alone().await;
    let cluster = Cluster::started(3).await?;
    for node in &cluster.nodes {
        let mut client = node.client().await?;
        client.put("here", "1", None).await?;
        for (request, code, message) in bad_requests(&mut client).await {
            let status = match request {
                Err(Error::GRpcStatus(status)) => status,
                other => panic!("{message}: {other:?}"),
            };
            assert_eq!(
                (format!("{:?}", status.code()).as_str(), status.message()),
                (code, message)
            );
        }
    }
    Ok(())
}

type Refused = (Result<(), Error>, &'static str, &'static str);

async fn bad_requests(client: &mut Client) -> Vec<Refused> {
    let put = |key: &str| TxnOp::put(key, "1", None);
    let future = GetOptions::new().with_revision(1_000_000);
    let keep_value = PutOptions::new().with_ignore_value();
    let many: Vec<TxnOp> = (0..129).map(|number| put(&format!("k{number}"))).collect();
    let compare_nothing = Compare::version("", CompareOp::Equal, 1);
    let mut cluster = client.cluster_client();
    let mut maintenance = client.maintenance_client();
    vec![
        (
            client.put("", "1", None).await.map(drop),
            "InvalidArgument",
            "etcdserver: key is not provided",
        ),
        (
            client.get("", None).await.map(drop),
            "InvalidArgument",
            "etcdserver: key is not provided",
        ),
        (
            client.delete("", None).await.map(drop),
            "InvalidArgument",
            "etcdserver: key is not provided",
        ),
        (
            client.get("here", Some(future)).await.map(drop),
            "OutOfRange",
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (
            client.put("absent", "", Some(keep_value)).await.map(drop),
            "InvalidArgument",
            "etcdserver: key not found",
        ),
        (
            client
                .txn(Txn::new().and_then([put("a"), put("a")]))
                .await
                .map(drop),
            "InvalidArgument",
            "etcdserver: duplicate key given in txn request",
        ),
        (
            client.txn(Txn::new().and_then(many)).await.map(drop),
            "InvalidArgument",
            "etcdserver: too many operations in txn request",
        ),
        (
            client
                .txn(Txn::new().when([compare_nothing]))
                .await
                .map(drop),
            "InvalidArgument",
            "etcdserver: key is not provided",
        ),
        (
            client.put("big", vec![0; 1_700_000], None).await.map(drop),
            "InvalidArgument",
            "etcdserver: request is too large",
        ),
        (
            cluster.member_remove(12345).await.map(drop),
            "NotFound",
            "etcdserver: member not found",
        ),
        (
            cluster.member_promote(12345).await.map(drop),
            "NotFound",
            "etcdserver: member not found",
        ),
        (
            cluster
                .member_add(["not a url".to_owned()], None)
                .await
                .map(drop),
            "InvalidArgument",
            "etcdserver: given member URLs are invalid",
        ),
        (
            maintenance.move_leader(12345).await.map(drop),
            "FailedPrecondition",
            // a member that doesn't lead refuses for that reason before it looks at the target
            if leads(&mut maintenance).await {
                "etcdserver: bad leader transferee"
            } else {
                "etcdserver: not leader"
            },
        ),
    ]
}

async fn leads(maintenance: &mut etcd_client::MaintenanceClient) -> bool {
    let status = maintenance.status().await.expect("status is always served");
    status.header().map(|header| header.member_id()) == Some(status.leader())
}

#[tokio::test]
async fn a_bad_flag_ends_the_node_with_code_2_and_one_clear_line() -> Outcome {
    let directory = tempfile::tempdir()?;
    for (flag, value, words) in [
        (
            "election-timeout",
            "300",
            ["--election-timeout=300ms", "--heartbeat-interval=100ms"],
        ),
        (
            "heartbeat-interval",
            "soon",
            ["--heartbeat-interval", "\"soon\""],
        ),
        (
            "listen-client-urls",
            "nonsense",
            ["--listen-client-urls", "nonsense"],
        ),
        (
            "initial-cluster-state",
            "old",
            ["--initial-cluster-state", "new, existing"],
        ),
        (
            "initial-cluster",
            "other=http://127.0.0.1:1",
            ["--name=\"m1\"", "--initial-cluster"],
        ),
        (
            "electoin-timeout",
            "1000",
            ["--electoin-timeout", "--election-timeout"],
        ),
    ] {
        let mut node = Node::new(directory.path(), "m1");
        node.set(flag, value);
        let command = node
            .settings
            .iter()
            .map(|(flag, value)| format!("--{flag}={value}"));
        let output = std::process::Command::new(environment::node()?)
            .args(command)
            .env_clear()
            .output()?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{flag}={value}: {said}");
        assert_eq!(said.lines().count(), 1, "{flag}={value}: {said}");
        for word in words {
            assert!(said.contains(word), "{flag}={value}: no {word} in {said}");
        }
        assert!(
            !node.data.exists(),
            "{flag}={value}: a data directory was made"
        );
    }
    Ok(())
}
