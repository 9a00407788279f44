//! Members that are judged, and a cluster that acts on it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raftery_e2e::bare::{Cluster, Node};
use raftery_e2e::http;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::slowfs::Fault;
use raftery_e2e::wait;
use raftery_e2e::writer::Writer;

use crate::alone;
use crate::space::disks;

const LIMIT: Duration = Duration::from_secs(20);
/// Seven slow windows, three more, and what a busy machine adds.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(40);
/// Longer than a slow leader would take to hand over.
const WATCHED: Duration = Duration::from_secs(15);
const PUTS_PER_SECOND: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_alone_is_slow_hands_over_and_the_ledger_says_why() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::new(3)?;
    let mut disks = disks(&mut cluster)?;
    cluster.start().await?;
    let writer = Writer::start(cluster.client_urls(), "w", PUTS_PER_SECOND);

    // Slow disks that all share blame nobody.
    for disk in &mut disks {
        disk.inject(Fault::SlowSyncs(Duration::from_millis(50)))?;
    }
    let (leader, before) = cluster.leader(LIMIT).await?;
    tokio::time::sleep(WATCHED).await;
    let (still, after) = cluster.leader(LIMIT).await?;
    assert_eq!(
        (still, after.term),
        (leader, before.term),
        "needless election"
    );
    let blamed = blamed(&cluster, "slow_disk").await?;
    assert!(
        blamed.is_empty(),
        "nobody is slower than the others: {blamed:?}"
    );

    // One that is slow alone isn't fit to lead.
    for disk in &mut disks {
        disk.heal()?;
    }
    disks[leader].inject(Fault::SlowSyncs(Duration::from_millis(200)))?;
    let slow = after.member_id;
    let what = "another member leads";
    let ((), took) = wait::until(what, HANDED_OVER_WITHIN, async || {
        let (now, _) = cluster.leader(LIMIT).await?;
        ensure!(now != leader, "m{} still leads", leader + 1);
        Ok(())
    })
    .await?;
    println!(
        "leadership left the slow disk after {:.1} s",
        took.as_secs_f64()
    );
    let log = cluster.nodes[leader].log();
    assert!(log.contains("this member alone is slow"), "{log}");
    let (_, status) = cluster.leader(LIMIT).await?;
    let member = status.members.iter().find(|member| member.id == slow);
    let member = member.context("the slow one isn't a member")?;
    assert!(member.fast_score >= 80, "{member:?}");
    assert_eq!(self::blamed(&cluster, "slow_disk").await?, [slow]);

    // It is slow, not dead: it keeps up, and nothing that was acknowledged is lost.
    disks[leader].heal()?;
    let record = writer.stop().await;
    assert!(!record.acknowledged.is_empty(), "nothing was written");
    cluster.all_caught_up(LIMIT).await?;
    for node in &cluster.nodes {
        record.check_member(&node.client_url()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_hangs_is_replaced_while_its_process_lives() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::new(3)?;
    let mut disks = disks(&mut cluster)?;
    cluster.start().await?;
    let writer = Writer::start(cluster.client_urls(), "w", PUTS_PER_SECOND);
    let (first, status) = cluster.leader(LIMIT).await?;
    let process = cluster.nodes[first].process()?.id();

    disks[first].inject(Fault::Frozen)?;
    let others: Vec<_> = (0..3).filter(|place| *place != first).collect();
    let ((), took) = wait::until("another leads", LIMIT, async || {
        for place in &others {
            let seen = cluster.nodes[*place].admin()?.status().await?;
            ensure!(seen.term > status.term && seen.leader_id != 0, "{seen:?}");
        }
        Ok(())
    })
    .await?;
    println!(
        "another leads {:.2} s after the disk froze",
        took.as_secs_f64()
    );
    let node = &cluster.nodes[others[0]];
    wait::until("writes go on", LIMIT, async || {
        node.client().await?.put("after", "x", None).await?;
        Ok(())
    })
    .await?;
    disks[first].heal()?;
    assert_eq!(cluster.nodes[first].process()?.id(), process);
    let record = writer.stop().await;
    cluster.all_caught_up(LIMIT).await?;
    for node in &cluster.nodes {
        record.check_member(&node.client_url()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_follow_what_is_measured_unless_they_are_fixed() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::new(3)?;
    cluster.nodes[2].set("adaptive-timers", "false");
    cluster.start().await?;
    wait::until("the timeout falls", LIMIT, async || {
        let leader = cluster.leader(LIMIT).await?.0;
        for (place, node) in cluster.nodes.iter().enumerate() {
            let timeout = election_timeout(node).await?;
            if place == 2 {
                ensure!((timeout - 1.0).abs() < 1e-9, "fixed, and it is {timeout} s");
            } else if place != leader {
                ensure!(timeout < 0.6, "{} waits {timeout} s", node.name);
            }
        }
        Ok(())
    })
    .await?;
    Ok(())
}

/// Seconds.
async fn election_timeout(node: &Node) -> Result<f64> {
    let (_, page) = http::get(&format!("{}/metrics", node.metrics_url())).await?;
    let name = "raftery_election_timeout_seconds ";
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    Ok(value.context("no such metric")?.parse()?)
}

/// Who lost points for `reason`, by ID.
async fn blamed(cluster: &Cluster, reason: &str) -> Result<Vec<u64>> {
    let rows = cluster.nodes[cluster.leader(LIMIT).await?.0]
        .admin()?
        .ledger()
        .await?;
    let mut blamed: Vec<_> = rows
        .iter()
        .filter(|row| row.reason == reason && row.points < 0)
        .map(|row| row.member_id)
        .collect();
    blamed.sort_unstable();
    blamed.dedup();
    Ok(blamed)
}
