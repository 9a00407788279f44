//! Members that are judged, and a cluster that acts on it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raftery_e2e::bare::{Cluster, Node};
use raftery_e2e::outcome::Outcome;
use raftery_e2e::report::Progress;
use raftery_e2e::slowfs::Fault;
use raftery_e2e::writer::Writer;
use raftery_e2e::{environment, http, wait};
use raftery_proto::admin::StatusResponse;

use crate::alone;
use crate::space::disks;

const LIMIT: Duration = Duration::from_secs(20);
/// Seven slow windows, three more, and what a busy machine adds.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(40);
/// Longer than a slow leader would take to hand over.
const WATCHED: Duration = Duration::from_secs(15);
const PUTS_PER_SECOND: u32 = 200;
/// A load that leaves a part of two cores to be idle.
const PUTS_PER_SECOND_HEALTHY: u32 = 2_000;
const HEALTHY_SOAK: Duration = Duration::from_secs(600);

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
async fn healthy_members_under_load_are_rewarded_alike_and_the_leader_stays() -> Outcome {
    let _alone = alone().await;
    let cluster = Cluster::started(3).await?;
    let progress = Progress::default();
    let (leader, before) = cluster.leader(LIMIT).await?;
    let writer = Writer::start(cluster.client_urls(), "w", PUTS_PER_SECOND_HEALTHY);
    let lasts = match environment::is_soak() {
        true => HEALTHY_SOAK,
        false => WATCHED,
    };
    tokio::time::sleep(lasts).await;
    let (still, after) = cluster.leader(LIMIT).await?;
    progress.say(writer.stop().await.summary());
    assert_eq!(
        (still, after.term),
        (leader, before.term),
        "needless election"
    );
    let (scores, _) = wait::until("all have applied the same window", LIMIT, async || {
        let mut seen = Vec::new();
        for node in &cluster.nodes {
            seen.push(scores(&node.admin()?.status().await?));
        }
        let first = seen.pop().context("no members")?;
        let at = |scores: &Scores| scores.as_of;
        ensure!(seen.iter().all(|other| at(other) == at(&first)), "{seen:?}");
        assert!(
            seen.iter().all(|other| *other == first),
            "{seen:?}, {first:?}"
        );
        Ok(first)
    })
    .await?;
    let rows = cluster.nodes[leader].admin()?.ledger().await?;
    let penalties: Vec<_> = rows.iter().filter(|row| row.points < 0).collect();
    let share = penalties.len() as f64 / rows.len() as f64;
    progress.say(format!(
        "{} verdicts, {} of them penalties ({:.2} %): {:?}; slow scores {:?}",
        rows.len(),
        penalties.len(),
        share * 100.0,
        penalties
            .iter()
            .map(|row| (row.reason.as_str(), row.points))
            .collect::<Vec<_>>(),
        scores.slow,
    ));
    assert!(!rows.is_empty(), "nobody was judged");
    if environment::is_soak() {
        assert!(share <= 0.01, "{penalties:#?}");
    }
    // A reward a window, and hardly anything has faded.
    let risen = scores.slow.values().all(|score| *score > 0);
    assert!(risen, "{scores:?}");
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

/// What a member knows of all.
#[derive(Debug, PartialEq, Eq)]
struct Scores {
    /// Raft index of the window that changed them last.
    as_of: u64,
    slow: BTreeMap<u64, i64>,
    fast: BTreeMap<u64, i64>,
}

fn scores(status: &StatusResponse) -> Scores {
    let members = || status.members.iter();
    Scores {
        as_of: status.ledger.as_ref().map_or(0, |ledger| ledger.last_index),
        slow: members().map(|member| (member.id, member.score)).collect(),
        fast: members()
            .map(|member| (member.id, member.fast_score))
            .collect(),
    }
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
