//! The ledger, where MongoDB is not what it should be.

use anyhow::{Context, ensure};
use raftery_e2e::etcd::Etcdctl;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::{http, kube, wait};

use crate::{READY_LIMIT, alone, manifest};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_mongodb_address_leaves_the_cluster_serving_and_is_a_condition() -> Outcome {
    let (_alone, sandbox) = alone("e2e-ledger").await?;
    let demo = sandbox.kube.cluster("demo");
    let secret =
        "--from-literal=uri=mongodb://nowhere.invalid:27017/?serverSelectionTimeoutMS=2000";
    sandbox
        .kube
        .kubectl(&["create", "secret", "generic", "wrong", secret])
        .await?;
    let ledger = "  ledger: { mongodb: { uriSecretRef: { name: wrong, key: uri } } }\n";
    sandbox.kube.apply(&(manifest("demo", 3) + ledger)).await?;
    demo.settled(READY_LIMIT).await?;
    let (exported, _) = wait::until("the condition says why", READY_LIMIT, async || {
        let status = demo.status().await?;
        let exported = status
            .condition("LedgerExported")
            .context("no LedgerExported")?
            .clone();
        ensure!(exported.status == "False", "{exported:?}");
        ensure!(exported.message.contains("nowhere.invalid"), "{exported:?}");
        Ok(exported)
    })
    .await?;
    println!(
        "LedgerExported=False, {}: {}",
        exported.reason, exported.message
    );

    let etcdctl = Etcdctl::new(&[demo.client_url().await?]);
    assert_eq!(etcdctl.run(&["put", "a", "b"]).await?, "OK\n");
    let ready = demo.status().await?;
    assert_eq!(
        ready.condition("Ready").map(|ready| ready.status.as_str()),
        Some("True")
    );
    // what isn't exported is kept, and can be read
    let pod = demo.pod(0).await?;
    let (status, page) =
        http::get(&format!("http://{}:2381/ledger?limit=3", kube::ip(&pod)?)).await?;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("acknowledged"), "{page}");
    Ok(())
}
