//! Members that come and go, outside Kubernetes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raftery_e2e::bare::{Cluster, Node};
use raftery_e2e::etcd::{self, Etcdctl};
use raftery_e2e::outcome::Outcome;
use raftery_e2e::wait;

use crate::alone;

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_added_and_removed_with_etcdctl_and_a_removed_one_ends() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    let etcdctl = cluster.etcdctl();
    etcdctl.run(&["put", "before", "it came"]).await?;
    let mut newcomer = Node::new(cluster.directory(), "m4");
    let peer_urls = format!("--peer-urls={}", newcomer.peer_url());
    let added = etcdctl.run(&["member", "add", "m4", &peer_urls]).await?;
    let members = setting(&added, "ETCD_INITIAL_CLUSTER")?;
    assert_eq!(setting(&added, "ETCD_INITIAL_CLUSTER_STATE")?, "existing");
    newcomer.set("initial-cluster", &members);
    newcomer.set("initial-cluster-state", "existing");
    newcomer.set("initial-cluster-token", "e2e");
    newcomer.start()?;
    newcomer.serves(LIMIT).await?;
    let id = newcomer.admin()?.status().await?.member_id;
    wait::until("it votes", LIMIT, async || {
        let (_, leader) = cluster.leader(LIMIT).await?;
        let member = leader.members.iter().find(|member| member.id == id);
        ensure!(
            member.is_some_and(|member| !member.is_learner),
            "{member:?}"
        );
        Ok(())
    })
    .await?;
    let own = etcd::read_locally(&newcomer.client_url(), "before").await?;
    assert_eq!(own["before"], "it came");

    // It survives a crash as who it is.
    newcomer.kill()?;
    newcomer.start()?;
    newcomer.serves(LIMIT).await?;
    assert_eq!(newcomer.admin()?.status().await?.member_id, id);

    etcdctl
        .run(&["member", "remove", &format!("{id:x}")])
        .await?;
    let status = newcomer.process()?.ended(LIMIT).await?;
    let code = status.code().context("it was killed")?;
    assert!(code > 2, "a code of its own, not {code}");
    // Its data says who it was: it never comes back.
    newcomer.start()?;
    let again = newcomer.process()?.ended(LIMIT).await?;
    assert_eq!(again.code(), Some(code));
    let members = etcdctl.run(&["member", "list"]).await?;
    assert_eq!(members.lines().count(), 3, "{members}");
    for node in &mut cluster.nodes {
        node.serves(LIMIT).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_leader_hands_over_and_the_rest_goes_on() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    cluster.all_published(LIMIT).await?;
    let (leader, status) = cluster.leader(LIMIT).await?;
    let id = format!("{:x}", status.member_id);
    cluster.etcdctl().run(&["member", "remove", &id]).await?;
    let mut removed = cluster.nodes.remove(leader);
    removed.process()?.ended(LIMIT).await?;
    cluster.all_serve(LIMIT).await?;
    let etcdctl = Etcdctl::new(&cluster.client_urls());
    etcdctl.run(&["put", "after", "it left"]).await?;
    assert_eq!(etcdctl.run(&["member", "list"]).await?.lines().count(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_an_emptied_data_directory_is_refused_by_the_cluster_it_founded() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    let (leader, before) = cluster.leader(LIMIT).await?;
    cluster.all_caught_up(LIMIT).await?;
    let node = &mut cluster.nodes[(leader + 1) % 3];
    node.kill()?;
    std::fs::remove_dir_all(&node.data)?;
    node.start()?;
    let status = node.process()?.ended(LIMIT).await?;
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    let log = node.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.contains("incarnation") || last.contains("member"),
        "not clear: {last}"
    );
    println!("it said: {last}");

    let (_, after) = cluster.leader(LIMIT).await?;
    assert_eq!(after.cluster_id, before.cluster_id);
    assert_eq!(after.members.len(), 3);
    Ok(())
}

/// The value of `NAME="value"` in what etcdctl prints.
fn setting(printed: &str, name: &str) -> Result<String> {
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}=")));
    let line = line.with_context(|| format!("no {name} in: {printed}"))?;
    Ok(line.trim_matches('"').to_owned())
}
