//! Members killed while a writer writes.

use std::time::{Duration, Instant};

use raftery_e2e::bare::Cluster;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::report::{Figure, Progress};
use raftery_e2e::writer::Writer;

use crate::alone;

const KILLS: usize = 20;
/// Of these kills so many hit the leader, and come first.
const KILLS_OF_LEADERS: usize = 14;
const PUTS_PER_SECOND: u32 = 200;
const ACKNOWLEDGED_MIN: usize = 2000;
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_while_members_are_killed_20_times() -> Outcome {
    let _alone = alone().await;
    let progress = Progress::default();
    let mut new_leader = Figure::new("a new leader serves after SIGKILL", Duration::from_secs(2));
    let mut cluster = Cluster::started(3).await?;
    let writer = Writer::start(cluster.client_urls(), "crash", PUTS_PER_SECOND);
    writer.served_after(Instant::now(), LIMIT).await?;

    for kill in 0..KILLS {
        let (leader, status) = cluster.leader(LIMIT).await?;
        let is_leader = kill < KILLS_OF_LEADERS;
        let victim = if is_leader {
            leader
        } else {
            (leader + 1 + kill % 2) % 3
        };
        let before = writer.acknowledged();
        cluster.nodes[victim].kill()?;
        let killed = Instant::now();
        let served = writer.served_after(killed, LIMIT).await?;
        if is_leader {
            new_leader.add(served);
            let (_, now) = cluster.leader(LIMIT).await?;
            assert!(
                now.term > status.term,
                "a leader of term {} was killed",
                status.term
            );
        }
        progress.say(format!(
            "kill {} of {KILLS}: {} ({}), served again after {:.2} s, {} acknowledged",
            kill + 1,
            cluster.nodes[victim].name,
            if is_leader { "leader" } else { "follower" },
            served.as_secs_f64(),
            writer.acknowledged(),
        ));
        cluster.nodes[victim].start()?;
        cluster.all_caught_up(LIMIT).await?;
        // with all three again, at least as many as one kill may cost
        writer.served_after(Instant::now(), LIMIT).await?;
        assert!(writer.acknowledged() > before);
    }
    while writer.acknowledged() < ACKNOWLEDGED_MIN {
        writer.served_after(Instant::now(), LIMIT).await?;
    }
    let record = writer.stop().await;
    progress.say(record.summary());
    record.check_revisions()?;
    for node in &cluster.nodes {
        record.check_member(&node.client_url()).await?;
    }
    new_leader.judge();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_killed_at_once_resume_with_all_data() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    let id = cluster.leader(LIMIT).await?.1.cluster_id;
    for round in 0..3 {
        let writer = Writer::start(
            cluster.client_urls(),
            &format!("round-{round}"),
            PUTS_PER_SECOND,
        );
        while writer.acknowledged() < 200 {
            writer.served_after(Instant::now(), LIMIT).await?;
        }
        for node in &mut cluster.nodes {
            node.kill()?;
        }
        let record = writer.stop().await;
        for node in &mut cluster.nodes {
            node.start()?;
        }
        cluster.all_serve(LIMIT).await?;
        for node in &cluster.nodes {
            record.check_member(&node.client_url()).await?;
            assert_eq!(node.admin()?.status().await?.cluster_id, id);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_cleanly_on_sigterm() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    for node in &mut cluster.nodes {
        let process = node.process()?;
        process.signal(rustix::process::Signal::TERM)?;
        let status = process.ended(LIMIT).await?;
        assert_eq!(status.code(), Some(0), "{status}");
    }
    Ok(())
}
