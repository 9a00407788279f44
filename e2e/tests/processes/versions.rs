//! The cluster version: raised when every member supports more, and not before.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raftery_e2e::bare::Cluster;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::peer_proxy::PeerProxies;
use raftery_e2e::wait;

use crate::alone;

/// The highest that this build supports.
const HIGHEST: u32 = 3;
const LIMIT: Duration = Duration::from_secs(20);
/// Twice the time after which a leader looks whether it can raise the version.
const LOOKS: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_version_is_raised_only_once_every_member_supports_it() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::new(3)?;
    let proxies = PeerProxies::in_front_of(&mut cluster).await?;
    for place in 0..3 {
        proxies.claim_cluster_version(place, Some(1));
    }
    cluster.start().await?;
    let (leader, _) = cluster.leader(LIMIT).await?;
    let (first, last) = ((leader + 1) % 3, (leader + 2) % 3);
    supports(&cluster, &[(first, 1), (last, 1)]).await?;
    proxies.claim_cluster_version(first, None);
    supports(&cluster, &[(first, HIGHEST), (last, 1)]).await?;
    tokio::time::sleep(LOOKS).await;
    for node in &cluster.nodes {
        let status = node.admin()?.status().await?;
        assert_eq!(status.cluster_version, 1, "{}", node.name);
        assert_eq!(status.cluster_version_max, HIGHEST);
    }

    for place in [last, leader] {
        proxies.claim_cluster_version(place, None);
    }
    goes_by_the_highest(&cluster).await?;
    // It is part of what is kept, and a member that claims less now isn't spoken to.
    for node in &mut cluster.nodes {
        node.kill()?;
        node.start()?;
    }
    cluster.all_serve(LIMIT).await?;
    goes_by_the_highest(&cluster).await?;
    let (leader, _) = cluster.leader(LIMIT).await?;
    let older = (leader + 1) % 3;
    proxies.claim_cluster_version(older, Some(1));
    let node = &cluster.nodes[leader];
    wait::until("the leader speaks to it no more", LIMIT, async || {
        let log = node.log();
        ensure!(
            log.contains("the peer supports only up to 1"),
            "not refused yet"
        );
        Ok(())
    })
    .await?;
    proxies.claim_cluster_version(older, None);
    cluster.all_caught_up(LIMIT).await?;
    Ok(())
}

async fn supports(cluster: &Cluster, expected: &[(usize, u32)]) -> Result<()> {
    wait::until("the leader knows what they support", LIMIT, async || {
        let (_, leader) = cluster.leader(LIMIT).await?;
        for (place, highest) in expected {
            let id = cluster.nodes[*place].admin()?.status().await?.member_id;
            let mut members = leader.members.iter();
            let member = members.find(|member| member.id == id);
            let told = member.context("no member")?.cluster_version_max;
            ensure!(told == *highest, "m{} supports {told}", place + 1);
        }
        Ok(())
    })
    .await?;
    Ok(())
}

async fn goes_by_the_highest(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes {
        wait::until("it goes by the highest", LIMIT, async || {
            let version = node.admin()?.status().await?.cluster_version;
            ensure!(version == HIGHEST, "{version}");
            ensure!(node.metric("raftery_cluster_version").await? == u64::from(HIGHEST));
            Ok(())
        })
        .await?;
    }
    Ok(())
}
