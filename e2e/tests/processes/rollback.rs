//! A disk that goes back to an earlier state.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use raftery_e2e::bare::{Cluster, Node};
use raftery_e2e::etcd;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::wait;
use raftery_proto::admin::Role;
use rustix::process::Signal;

use crate::alone;

const LIMIT: Duration = Duration::from_secs(20);
/// Two election timeouts: whoever could be elected would be.
const ELECTIONS: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_volume_was_put_back_is_told_so_and_votes_no_more_while_the_rest_goes_on()
-> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    let (leader, _) = cluster.leader(LIMIT).await?;
    let (victim, other) = ((leader + 1) % 3, (leader + 2) % 3);
    write(&cluster.nodes[leader], "before").await?;
    cluster.all_caught_up(LIMIT).await?;

    let node = &mut cluster.nodes[victim];
    stop(node).await?;
    let copy = node.data.with_extension("copy");
    copy_all(&node.data, &copy)?;
    node.start()?;
    node.serves(LIMIT).await?;
    write(&cluster.nodes[victim], "acknowledged").await?;
    cluster.all_caught_up(LIMIT).await?;
    let node = &mut cluster.nodes[victim];
    assert_eq!(node.admin()?.status().await?.rolled_back, "");
    stop(node).await?;
    std::fs::remove_dir_all(&node.data)?;
    std::fs::rename(&copy, &node.data)?;
    node.start()?;

    let node = &cluster.nodes[victim];
    let told = async || {
        let status = node.admin()?.status().await?;
        ensure!(!status.rolled_back.is_empty(), "not yet");
        Ok(status)
    };
    let (status, _) = wait::until("it is told", LIMIT, told).await?;
    println!("it says: {}", status.rolled_back);
    assert!(!status.repairing, "its log is whole, if old");
    assert!(node.log().contains("went back to an earlier state"));

    // The rest goes on, and it replicates.
    write(&cluster.nodes[leader], "after").await?;
    cluster.all_caught_up(LIMIT).await?;
    let found = etcd::read_locally(&cluster.nodes[victim].client_url(), "after").await?;
    assert_eq!(found.len(), 10);

    // Without its vote nobody is elected when the leader is gone.
    cluster.nodes[leader].kill()?;
    wait::until("the other one campaigns", LIMIT, async || {
        let status = cluster.nodes[other].admin()?.status().await?;
        ensure!(status.role() == Role::Candidate, "{:?}", status.role());
        Ok(())
    })
    .await?;
    let began = Instant::now();
    while began.elapsed() < ELECTIONS {
        for place in [victim, other] {
            let status = cluster.nodes[place].admin()?.status().await?;
            assert_ne!(
                status.role(),
                Role::Leader,
                "elected by a member that forgot"
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.nodes[leader].start()?;
    cluster.nodes[leader].serves(LIMIT).await?;
    let (now, _) = cluster.leader(LIMIT).await?;
    assert_ne!(now, victim);
    Ok(())
}

async fn write(node: &Node, prefix: &str) -> Result<()> {
    let mut client = node.client().await?;
    for number in 0..10 {
        client.put(format!("{prefix}-{number}"), "x", None).await?;
    }
    Ok(())
}

async fn stop(node: &mut Node) -> Result<()> {
    let process = node.process()?;
    process.signal(Signal::TERM)?;
    let status = process.ended(LIMIT).await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
