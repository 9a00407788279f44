//! Members without room: a full disk, and the quota.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{CompactionOptions, DeleteOptions, Error};
use raftery_e2e::bare::{Cluster, Node};
use raftery_e2e::environment::slowfs;
use raftery_e2e::etcd;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::slowfs::{Fault, SlowFs};
use raftery_e2e::wait;

use crate::alone;

const LIMIT: Duration = Duration::from_secs(20);
/// A write that should get through, or be refused, at once.
const SOON: Duration = Duration::from_secs(5);
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_full_disk_hands_over_to_one_with_room_and_recovers_without_a_restart()
-> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::new(3)?;
    let mut disks = disks(&mut cluster)?;
    cluster.start().await?;
    let (first, _) = cluster.leader(LIMIT).await?;
    let processes = processes(&mut cluster)?;

    // Full alone: another leads, and clients of the full one are served by it.
    disks[first].inject(Fault::Full)?;
    leads(&cluster, |leader| leader != first).await?;
    for (place, node) in cluster.nodes.iter().enumerate() {
        put(node, &format!("one-is-full-{place}")).await?;
    }
    assert!(cluster.nodes[first].log().contains("the disk is full"));

    // All are full: nobody takes writes, and what is there can be read.
    for disk in &mut disks {
        disk.inject(Fault::Full)?;
    }
    for node in &cluster.nodes {
        refused(node, NO_SPACE).await?;
        let read = node.client().await?.get("one-is-full-0", None).await?;
        assert_eq!(read.kvs().len(), 1);
    }
    let alarms = cluster.etcdctl().run(&["alarm", "list"]).await?;
    assert!(alarms.contains("alarm:NOSPACE"), "{alarms:?}");

    // Room for one: it is handed leadership, and writes go on.
    let (full, _) = cluster.leader(LIMIT).await?;
    let with_room = (full + 1) % 3;
    disks[with_room].heal()?;
    leads(&cluster, |leader| leader == with_room).await?;
    for (place, node) in cluster.nodes.iter().enumerate() {
        put(node, &format!("one-has-room-{place}")).await?;
    }

    // Room for all: they go on where they were.
    for disk in &mut disks {
        disk.heal()?;
    }
    cluster.all_caught_up(LIMIT).await?;
    for node in &cluster.nodes {
        put(node, "all-have-room").await?;
        wait::until("it has room again", LIMIT, async || {
            let log = node.log();
            let was_full = log.rfind("the disk is full");
            ensure!(log.rfind("the disk has room again") >= was_full, "full");
            Ok(())
        })
        .await?;
        let found = etcd::read_locally(&node.client_url(), "one-").await?;
        assert_eq!(found.len(), 6, "{found:?}");
    }
    assert_eq!(self::processes(&mut cluster)?, processes, "restarted");

    // And what they took meanwhile is on their disks.
    for node in &mut cluster.nodes {
        node.kill()?;
        node.start()?;
    }
    cluster.all_serve(LIMIT).await?;
    for node in &cluster.nodes {
        let found = etcd::read_locally(&node.client_url(), "one-").await?;
        assert_eq!(found.len(), 6, "{found:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reached_quota_refuses_puts_and_clears_by_itself_after_deletes_and_a_compaction()
-> Outcome {
    const QUOTA_BYTES: usize = 1 << 20;
    const VALUE_BYTES: usize = 64 << 10;
    let _alone = alone().await;
    let mut cluster = Cluster::new(3)?;
    for node in &mut cluster.nodes {
        node.set("quota-backend-bytes", &QUOTA_BYTES.to_string());
    }
    cluster.start().await?;
    let etcdctl = cluster.etcdctl();
    assert_eq!(etcdctl.run(&["alarm", "list"]).await?, "");

    let mut client = cluster.nodes[0].client().await?;
    let value = "x".repeat(VALUE_BYTES);
    let mut taken = 0;
    let error = loop {
        match client.put(format!("big-{taken}"), &*value, None).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken <= QUOTA_BYTES / VALUE_BYTES, "no quota");
    };
    assert_eq!(message(&error)?, NO_SPACE);
    for node in &cluster.nodes {
        refused(node, NO_SPACE).await?;
    }
    let alarms = etcdctl.run(&["alarm", "list"]).await?;
    assert!(alarms.contains("alarm:NOSPACE"), "{alarms:?}");
    assert_eq!(client.get("big-0", None).await?.kvs().len(), 1);

    let deleted = client
        .delete("big-", Some(DeleteOptions::new().with_prefix()))
        .await?;
    assert_eq!(usize::try_from(deleted.deleted())?, taken);
    // The history still weighs.
    refused(&cluster.nodes[0], NO_SPACE).await?;
    let revision = deleted.header().context("no header")?.revision();
    let physically = CompactionOptions::new().with_physical();
    client.compact(revision, Some(physically)).await?;
    for node in &cluster.nodes {
        put(node, "small").await?;
    }
    let none = async || {
        let alarms = etcdctl.run(&["alarm", "list"]).await?;
        ensure!(alarms.is_empty(), "{alarms:?}");
        Ok(())
    };
    wait::until("no alarm is left", SOON, none).await?;
    Ok(())
}

pub(crate) fn disks(cluster: &mut Cluster) -> Result<Vec<SlowFs>> {
    let directory = cluster.directory().to_owned();
    let mut disks = Vec::new();
    for node in &mut cluster.nodes {
        let disk = SlowFs::mount(&slowfs()?, &directory, &node.name)?;
        node.keep_data_in(disk.directory());
        disks.push(disk);
    }
    Ok(disks)
}

fn processes(cluster: &mut Cluster) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for node in &mut cluster.nodes {
        let process = node.process()?;
        ensure!(process.exit_status()?.is_none(), "a node ended");
        ids.push(process.id());
    }
    Ok(ids)
}

async fn leads(cluster: &Cluster, is_right: impl Fn(usize) -> bool) -> Result<()> {
    wait::until("the right one leads", LIMIT, async || {
        let (leader, _) = cluster.leader(Duration::from_secs(1)).await?;
        ensure!(is_right(leader), "m{} leads", leader + 1);
        Ok(())
    })
    .await?;
    Ok(())
}

/// A put gets through; until the disk's state has spread, it may be refused.
async fn put(node: &Node, key: &str) -> Result<()> {
    let what = format!("{} takes {key}", node.name);
    wait::until(&what, LIMIT, async || {
        node.client().await?.put(key, "x", None).await?;
        Ok(())
    })
    .await?;
    Ok(())
}

/// A put is refused for this reason; until the state has spread, it may be taken.
async fn refused(node: &Node, reason: &str) -> Result<()> {
    let what = format!("{} refuses: {reason}", node.name);
    wait::until(&what, LIMIT, async || {
        match node.client().await?.put("refused?", "x", None).await {
            Ok(_) => bail!("it was taken"),
            Err(error) => ensure!(message(&error)? == reason, "{error}"),
        }
        Ok(())
    })
    .await?;
    Ok(())
}

fn message(error: &Error) -> Result<&str> {
    match error {
        Error::GRpcStatus(status) => Ok(status.message()),
        other => bail!("not an answer: {other}"),
    }
}
