//! From `kubectl apply` to a cluster that serves, and to its deletion.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use raftery_e2e::etcd::Etcdctl;
use raftery_e2e::kube::example;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::report::Figure;
use raftery_e2e::{mongo, wait};

use crate::{READY_LIMIT, alone, manifest_that_heals_after};

#[tokio::test(flavor = "multi_thread")]
async fn the_example_becomes_ready_serves_fills_mongodb_and_goes_without_a_trace() -> Outcome {
    let (_alone, sandbox) = alone("e2e-beginning").await?;
    let kube = &sandbox.kube;
    let (path, _) = example("demo.yaml")?;
    let path = path.display().to_string();
    let demo = kube.cluster("demo");
    let mut figure = Figure::new("kubectl apply to Ready", Duration::from_secs(30));
    let begun = std::time::Instant::now();
    kube.kubectl(&["apply", "--filename", &path]).await?;
    demo.settled(READY_LIMIT).await?;
    figure.add(begun.elapsed());

    let table = kube.kubectl(&["get", "raftcluster"]).await?;
    let (head, row) = table.split_once('\n').context("no row")?;
    let head: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(head, ["NAME", "SIZE", "READY", "LEADER", "TERM", "AGE"]);
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row[..3], ["demo", "3", "3"]);
    assert!(
        row[3].starts_with("demo-") && row[4].parse::<u64>()? >= 1,
        "{row:?}"
    );

    let etcdctl = Etcdctl::new(&[demo.client_url().await?]);
    assert_eq!(etcdctl.run(&["put", "kept", "yes"]).await?, "OK\n");
    let refused = etcdctl
        .run(&["member", "add", "x", "--peer-urls=http://10.0.0.1:1"])
        .await;
    let refused = format!(
        "{:#}",
        refused.err().context("a managed cluster took a member")?
    );
    assert!(
        refused.contains("operator"),
        "the refusal doesn't say why: {refused}"
    );
    let members = etcdctl.run(&["member", "list"]).await?;
    assert_eq!(members.lines().count(), 3, "{members}");

    let uri = demo.secret("demo-mongodb", "uri").await?;
    for collection in ["rewards", "intervals"] {
        let ((), took) = wait::until("rows arrive in MongoDB", READY_LIMIT, async || {
            let rows = mongo::rows(&uri, collection).await?;
            ensure!(rows.len() >= 4, "{} rows in {collection}", rows.len());
            Ok(())
        })
        .await?;
        println!(
            "rows in {collection} after {:.1} s more",
            took.as_secs_f64()
        );
    }
    wait::until("the export is shown", READY_LIMIT, async || {
        let status = demo.status().await?;
        let exported = status
            .condition("LedgerExported")
            .context("no LedgerExported")?;
        ensure!(exported.status == "True", "{exported:?}");
        Ok(())
    })
    .await?;

    // The example says whenDeleted: Delete.
    kube.kubectl(&["delete", "raftcluster", "demo"]).await?;
    wait::until("nothing of it is left", READY_LIMIT, async || {
        let pods = kube
            .objects::<Pod>()
            .list(&ListParams::default())
            .await?
            .items;
        let claims = kube
            .objects::<PersistentVolumeClaim>()
            .list(&ListParams::default())
            .await?;
        let left = (pods.len(), claims.items.len());
        ensure!(left == (0, 0), "{left:?} pods and claims are left");
        Ok(())
    })
    .await?;
    figure.judge();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_kept_and_a_cluster_of_the_same_name_finds_its_data_again() -> Outcome {
    let (_alone, sandbox) = alone("e2e-again").await?;
    let kube = &sandbox.kube;
    let demo = kube.cluster("demo");
    // A kubelet that may not read a claim yet tries again after up to 16 s: no member is to be
    // replaced for that here.
    let manifest = manifest_that_heals_after("1m", "demo", 3);
    kube.apply(&manifest).await?;
    demo.settled(READY_LIMIT).await?;
    Etcdctl::new(&[demo.client_url().await?])
        .run(&["put", "kept", "yes"])
        .await?;
    let before = demo.status().await?;

    kube.kubectl(&["delete", "raftcluster", "demo"]).await?;
    wait::until("its pods are gone", READY_LIMIT, async || {
        let left = demo.pods().await?.len();
        ensure!(left == 0, "{left} pods are left");
        Ok(())
    })
    .await?;
    let claims = kube
        .objects::<PersistentVolumeClaim>()
        .list(&ListParams::default())
        .await?;
    assert_eq!(claims.items.len(), 3, "whenDeleted is Retain by default");

    kube.apply(&manifest).await?;
    demo.settled(READY_LIMIT).await?;
    let etcdctl = Etcdctl::new(&[demo.client_url().await?]);
    assert_eq!(
        etcdctl.run(&["get", "--print-value-only", "kept"]).await?,
        "yes\n"
    );
    let after = demo.status().await?;
    assert_eq!(after.cluster_id, before.cluster_id);
    for ordinal in 0..3 {
        assert_eq!(
            after.member(ordinal),
            before.member(ordinal),
            "demo-{ordinal}"
        );
    }
    Ok(())
}
