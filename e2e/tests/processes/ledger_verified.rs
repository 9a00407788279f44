//! MongoDB and leaders die in turns while batches flow, and no connection to MongoDB lasts;
//! `raftery ledger verify` is the judge.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raftery_e2e::bare::{Cluster, Node};
use raftery_e2e::mongo::{Cutter, StandIn};
use raftery_e2e::outcome::Outcome;
use raftery_e2e::ports::free_port;
use raftery_e2e::report::Progress;
use raftery_e2e::{environment, wait};
use serde_json::Value;
use tokio::process::Command;

use crate::beside_others;

const LIMIT: Duration = Duration::from_secs(60);
const EXPORT_LIMIT: Duration = Duration::from_secs(120);
const MONGODB_KILLS: u32 = 20;
const MONGODB_KILLS_SOAK: u32 = 100;
/// In every so many of those rounds a leader is killed as well.
const LEADER_KILLED_EVERY: u32 = 2;
/// A new leader judges from its second window on: some rounds have none.
const BATCHES_MIN: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn verify_agrees_after_mongodb_and_leaders_died_many_times_and_every_connection_was_cut()
-> Outcome {
    let _others = beside_others().await;
    let progress = Progress::default();
    let mut cluster = Cluster::new(3)?;
    let mut mongodb = StandIn::start(free_port(), &cluster.directory().join("mongodb")).await?;
    let cutter = Cutter::in_front_of(&mongodb).await?;
    cluster.export_to(&cutter.uri())?;
    cluster.start().await?;
    let kills = match environment::is_soak() {
        true => MONGODB_KILLS_SOAK,
        false => MONGODB_KILLS,
    };
    let mut leaders_killed = 0;
    for round in 0..kills {
        // At another place of the export in each round.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(100..1_200))).await;
        mongodb.stop();
        if round % LEADER_KILLED_EVERY == 0 {
            let (leader, _) = cluster.leader(LIMIT).await?;
            cluster.nodes[leader].kill()?;
            cluster.nodes[leader].start()?;
            leaders_killed += 1;
            progress.say(format!(
                "round {round}: MongoDB and {} killed",
                cluster.nodes[leader].name
            ));
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..1_000))).await;
        mongodb.start_again().await?;
    }
    cluster.all_caught_up(LIMIT).await?;
    let (_, status) = cluster.leader(LIMIT).await?;
    let until = status.ledger.map_or(0, |ledger| ledger.last_index);
    for node in &cluster.nodes {
        // The connections go on breaking, and a try may come only every 5 s.
        wait::until(
            "everything up to here is exported",
            EXPORT_LIMIT,
            async || {
                let ledger = node.admin()?.status().await?.ledger.unwrap_or_default();
                ensure!(
                    ledger.exported_index >= until && ledger.error.is_empty(),
                    "{ledger:?}, {until}"
                );
                Ok(())
            },
        )
        .await?;
    }
    progress.say(format!(
        "MongoDB killed {kills} times, leaders {leaders_killed} times, {} connections cut",
        cutter.cuts()
    ));
    assert!(
        cutter.cuts() >= u64::from(kills) / 4,
        "{} cuts",
        cutter.cuts()
    );
    let uri_file = cluster.directory().join("mongodb-uri-uncut");
    std::fs::write(&uri_file, mongodb.uri())?;
    for node in &cluster.nodes {
        let verified = verified(node, &uri_file).await?;
        let count = |name: &str| {
            verified[name]
                .as_u64()
                .with_context(|| format!("{name} in {verified}"))
        };
        let nothing = Value::Array(Vec::new());
        assert_eq!(verified["differences"], nothing, "{verified:#}");
        assert_eq!(verified["gaps"], nothing, "{verified:#}");
        assert!(count("batches")? >= BATCHES_MIN, "{verified:#}");
        // A verdict and an interval for each member.
        assert!(count("documents")? >= 6 * BATCHES_MIN, "{verified:#}");
        progress.say(format!(
            "{}: {} batches, {} documents, 0 differences",
            node.name,
            count("batches")?,
            count("documents")?
        ));
    }
    Ok(())
}

/// What `raftery ledger verify` says of a node, whose exit code must fit it.
async fn verified(node: &Node, uri_file: &Path) -> Result<Value> {
    let ran = Command::new(environment::raftery()?)
        .args([
            "ledger",
            "verify",
            "-o",
            "json",
            "--endpoint",
            &node.metrics_url(),
        ])
        .arg("--mongodb-uri-file")
        .arg(uri_file)
        .stderr(Stdio::inherit())
        .output()
        .await?;
    let verified: Value = serde_json::from_slice(&ran.stdout).context("verify printed no JSON")?;
    let is_right = verified["differences"]
        .as_array()
        .is_some_and(Vec::is_empty);
    ensure!(
        ran.status.success() == is_right,
        "{:?}: {verified:#}",
        ran.status
    );
    Ok(verified)
}
