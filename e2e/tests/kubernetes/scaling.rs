//! Growing and shrinking.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use raftery_e2e::members::Onlooker;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::report::Progress;
use raftery_e2e::wait;
use raftery_e2e::writer::Writer;

use crate::{READY_LIMIT, alone, manifest};

const PUTS_PER_SECOND: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn scaling_to_5_3_5_3_loses_no_write_and_brings_no_removed_member_back() -> Outcome {
    let (_alone, sandbox) = alone("e2e-scaling").await?;
    let progress = Progress::default();
    let kube = &sandbox.kube;
    let demo = kube.cluster("demo");
    kube.apply(&manifest("demo", 3)).await?;
    demo.settled(READY_LIMIT).await?;
    let onlooker = Onlooker::start(&demo).await?;
    let writer = Writer::start(vec![demo.client_url().await?], "scaling", PUTS_PER_SECOND);

    for size in [5, 3, 5, 3] {
        if size == 3 {
            demo.lead(4).await?;
            progress.say("demo-4 leads");
        }
        let begun = Instant::now();
        kube.kubectl(&[
            "scale",
            "raftcluster",
            "demo",
            &format!("--replicas={size}"),
        ])
        .await?;
        demo.settled(READY_LIMIT).await?;
        progress.say(format!(
            "{size} members after {:.1} s, {} puts acknowledged",
            begun.elapsed().as_secs_f64(),
            writer.acknowledged(),
        ));
        wait::until("claims are as many", READY_LIMIT, async || {
            let claims = kube.objects::<PersistentVolumeClaim>();
            let claims = claims.list(&ListParams::default()).await?.items.len();
            ensure!(claims == size, "{claims} claims");
            Ok(())
        })
        .await?;
    }
    writer
        .served_after(Instant::now(), Duration::from_secs(30))
        .await?;
    let record = writer.stop().await;
    progress.say(record.summary());
    record.check_revisions()?;
    for ordinal in 0..3 {
        record
            .check_member(&demo.pod_client_url(ordinal).await?)
            .await?;
    }
    let history = onlooker.history();
    history.check()?;
    // three at first, and twice two more
    assert_eq!(history.members().len(), 7, "{:x?}", history.members());
    assert_eq!(history.ended.len(), 4, "{:?}", history.ended);
    for ended in &history.ended {
        assert!(!ended.led, "{} still led when its pod went", ended.pod);
    }
    let removed = demo.admin(0).await?.status().await?.removed_ids;
    assert_eq!(removed.len(), 4, "{removed:x?}");
    demo.status().await?.leader.context("nobody leads")?;
    Ok(())
}
