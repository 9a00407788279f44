//! Changes that restart pods.

use std::time::Instant;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use raftery_e2e::kube::RaftCluster;
use raftery_e2e::members::Onlooker;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::report::Progress;
use raftery_e2e::wait;
use raftery_e2e::writer::Writer;

use crate::{READY_LIMIT, alone, manifest};

/// The same node under another digest.
const NEXT_IMAGE: &str = "localhost/raftery-node:next";
const PUTS_PER_SECOND: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_interval_and_a_changed_image_roll_followers_first_and_the_leader_last() -> Outcome
{
    let (_alone, sandbox) = alone("e2e-rolling").await?;
    let progress = Progress::default();
    let demo = sandbox.kube.cluster("demo");
    sandbox.kube.apply(&manifest("demo", 3)).await?;
    demo.settled(READY_LIMIT).await?;
    let members: Vec<String> = ids(&demo).await?;
    let writer = Writer::start(vec![demo.client_url().await?], "rolling", PUTS_PER_SECOND);

    for patch in [
        r#"{"spec":{"raft":{"heartbeatInterval":"150ms"}}}"#.to_owned(),
        format!(r#"{{"spec":{{"image":"{NEXT_IMAGE}"}}}}"#),
    ] {
        let leader = demo.leader(READY_LIMIT).await?;
        let onlooker = Onlooker::start(&demo).await?;
        let begun = Instant::now();
        let arguments = [
            "patch",
            "raftcluster",
            "demo",
            "--type=merge",
            "--patch",
            &patch,
        ];
        sandbox.kube.kubectl(&arguments).await?;
        wait::until("all three pods are new", READY_LIMIT, async || {
            let ended = onlooker.history().ended;
            ensure!(
                ended.len() == 3,
                "rolled so far: {ended:?}, {:?}",
                demo.status().await?.plan
            );
            // The last one may still be ending, and the status not know of it yet.
            let pods = demo.pods().await?;
            let is_new = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
            ensure!(
                pods.len() == 3 && pods.iter().all(is_new),
                "an old pod is ending"
            );
            Ok(())
        })
        .await?;
        demo.settled(READY_LIMIT).await?;
        let history = onlooker.history();
        history.check()?;
        let order: Vec<&str> = history
            .ended
            .iter()
            .map(|ended| ended.pod.as_str())
            .collect();
        progress.say(format!(
            "{patch}: {order:?} in {:.1} s, demo-{leader} led at first",
            begun.elapsed().as_secs_f64(),
        ));
        assert_eq!(order.len(), 3, "each pod once");
        assert_eq!(order[2], format!("demo-{leader}"), "the leader comes last");
        assert!(
            history.ended.iter().all(|ended| !ended.led),
            "{:?}",
            history.ended
        );
        assert_eq!(ids(&demo).await?, members, "a roll replaces nobody");
    }
    for pod in demo.pods().await? {
        let spec = pod.spec.context("a pod has a spec")?;
        assert_eq!(spec.containers[0].image.as_deref(), Some(NEXT_IMAGE));
    }
    let record = writer.stop().await;
    progress.say(record.summary());
    for ordinal in 0..3 {
        record
            .check_member(&demo.pod_client_url(ordinal).await?)
            .await?;
    }
    Ok(())
}

async fn ids(cluster: &RaftCluster) -> anyhow::Result<Vec<String>> {
    let members = cluster.status().await?.members;
    Ok(members.into_iter().map(|member| member.id).collect())
}
