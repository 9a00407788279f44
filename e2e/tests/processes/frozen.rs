//! Members that hang: connections stay open and nothing answers.

use std::time::{Duration, Instant};

use anyhow::ensure;
use raftery_e2e::bare::Cluster;
use raftery_e2e::http;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::report::Figure;
use raftery_e2e::wait;

use crate::alone;

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_leader_is_replaced_and_serves_no_stale_read_when_it_thaws() -> Outcome {
    let _alone = alone().await;
    let mut replaced = Figure::new("a new leader serves after SIGSTOP", Duration::from_secs(2));
    let mut cluster = Cluster::started(3).await?;
    for round in 0..5 {
        let (old, before) = cluster.leader(LIMIT).await?;
        cluster.nodes[old]
            .client()
            .await?
            .put("round", format!("{round} old"), None)
            .await?;
        cluster.nodes[old].freeze()?;
        let frozen = Instant::now();
        let other = &cluster.nodes[(old + 1) % 3];
        // written by the new leader, while the old one believes that it leads
        wait::until("the others serve", LIMIT, async || {
            let mut client = other.client().await?;
            let put = client.put("round", format!("{round} new"), None);
            tokio::time::timeout(Duration::from_millis(500), put).await??;
            Ok(())
        })
        .await?;
        replaced.add(frozen.elapsed());

        // Reads lie in the old leader's socket when it wakes up: the worst moment for it to
        // trust its clock.
        let mut reads = Vec::new();
        for _ in 0..20 {
            let mut client = cluster.nodes[old].client().await?;
            reads.push(tokio::spawn(async move { client.get("round", None).await }));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        cluster.nodes[old].thaw()?;
        let mut answered = 0;
        for read in reads {
            // refusing is right, an old value is not
            if let Ok(answer) = read.await? {
                assert_eq!(
                    answer.kvs()[0].value_str()?,
                    format!("{round} new"),
                    "a stale read"
                );
                answered += 1;
            }
        }
        println!("round {round}: {answered} of 20 reads at the thawed leader answered");
        cluster.all_caught_up(LIMIT).await?;
        assert!(cluster.leader(LIMIT).await?.1.term > before.term);
    }
    replaced.judge();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_notices_a_frozen_follower_and_shows_it_as_inactive() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    cluster.all_caught_up(LIMIT).await?;
    let (leader, _) = cluster.leader(LIMIT).await?;
    let follower = (leader + 1) % 3;
    let id = cluster.nodes[follower].admin()?.status().await?.member_id;
    cluster.nodes[follower].freeze()?;
    let shown = async |active: bool| {
        wait::until("the leader shows it", LIMIT, async || {
            let status = cluster.nodes[leader].admin()?.status().await?;
            let member = status.members.iter().find(|member| member.id == id);
            let member = member.cloned().unwrap_or_default();
            ensure!(member.active == active, "{member:?}");
            Ok(member)
        })
        .await
    };
    let (member, took) = shown(false).await?;
    println!("shown as inactive after {took:?}");
    assert!(
        member.last_heard_ms.is_some_and(|ms| ms >= 900),
        "{member:?}"
    );
    // a penalty follows with the next window that ends, and it is said for what
    let ((), _) = wait::until("the follower is penalised", LIMIT, async || {
        let status = cluster.nodes[leader].admin()?.status().await?;
        let member = status.members.iter().find(|member| member.id == id);
        let said = member
            .map(|member| member.last_verdict.clone())
            .unwrap_or_default();
        ensure!(said.contains("unreachable"), "last verdict: {said:?}");
        Ok(())
    })
    .await?;
    cluster.nodes[follower].thaw()?;
    wait::until("it is active again", LIMIT, async || {
        cluster.all_caught_up(Duration::from_secs(1)).await
    })
    .await?;
    // it was told with the heartbeats: it logs the penalty, and its metrics show the next verdict
    let metrics = format!("{}/metrics", cluster.nodes[follower].metrics_url());
    wait::until("the follower knows its verdicts", LIMIT, async || {
        let log = cluster.nodes[follower].log();
        ensure!(log.contains("penalised by the leader"), "no penalty logged");
        let (_, page) = http::get(&metrics).await?;
        ensure!(
            page.lines().any(|line| line == "raftery_verdict_points 1"),
            "no reward shown"
        );
        Ok(())
    })
    .await?;
    Ok(())
}
