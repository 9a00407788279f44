//! Members that hang or lose their disks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use raftery_e2e::kube::{RaftCluster, Sandbox};
use raftery_e2e::members::Onlooker;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::report::{Figure, Progress};
use raftery_e2e::writer::Writer;
use raftery_e2e::{pods, wait};

use crate::{READY_LIMIT, REPLACED_LIMIT, alone, manifest};

const PUTS_PER_SECOND: u32 = 100;
/// While one member of three is gone, a writer may have to find the others.
const SERVED_LIMIT: Duration = Duration::from_secs(60);

/// What happens to a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// Its process stops.
    Frozen,
    /// Its volume is empty when it starts again.
    Emptied,
}

impl Fault {
    async fn strike(self, cluster: &RaftCluster, ordinal: u32) -> Result<()> {
        match self {
            Self::Frozen => pods::freeze(cluster, ordinal).await,
            Self::Emptied => pods::empty_volume(cluster, ordinal).await,
        }
    }
}

/// A cluster with a writer, and with somebody who sees who is a member.
struct Watched {
    demo: RaftCluster,
    onlooker: Onlooker,
    writer: Writer,
}

impl Watched {
    async fn start(sandbox: &Sandbox) -> Result<Self> {
        let demo = sandbox.kube.cluster("demo");
        sandbox.kube.apply(&manifest("demo", 3)).await?;
        demo.settled(READY_LIMIT).await?;
        let onlooker = Onlooker::start(&demo).await?;
        let writer = Writer::start(vec![demo.client_url().await?], "healing", PUTS_PER_SECOND);
        writer.served_after(Instant::now(), SERVED_LIMIT).await?;
        Ok(Self {
            demo,
            onlooker,
            writer,
        })
    }

    /// The writer is served to the end, every acknowledged write is on every member, and there
    /// were as many members as are named, by their IDs.
    async fn stop(self, members: usize) -> Result<()> {
        let writer = self.writer;
        writer.served_after(Instant::now(), SERVED_LIMIT).await?;
        let record = writer.stop().await;
        println!("{}", record.summary());
        record.check_revisions()?;
        for member in self.demo.status().await?.members {
            let url = self.demo.pod_client_url(member.ordinal).await?;
            record.check_member(&url).await?;
        }
        let history = self.onlooker.history();
        history.check()?;
        let seen = history.members();
        assert_eq!(seen.len(), members, "IDs: {seen:x?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_and_emptied_members_are_replaced_under_new_ids_while_a_writer_goes_on() -> Outcome {
    let (_alone, sandbox) = alone("e2e-healing").await?;
    let watched = Watched::start(&sandbox).await?;
    let Watched { demo, writer, .. } = &watched;
    let progress = Progress::default();
    let mut replaced = Figure::new("a member is replaced", Duration::from_secs(60));
    for round in 0..5 {
        let leader = demo.leader(READY_LIMIT).await?;
        let (fault, ordinal) = match round {
            0 => (Fault::Frozen, (leader + 1) % 3),
            1 => (Fault::Frozen, leader),
            2 => (Fault::Emptied, 0),
            3 => (Fault::Frozen, (leader + 2) % 3),
            _ => (Fault::Emptied, leader),
        };
        let old = demo
            .status()
            .await?
            .member(ordinal)
            .context("a member")?
            .to_owned();
        let begun = Instant::now();
        fault.strike(demo, ordinal).await?;
        let served = writer.served_after(Instant::now(), SERVED_LIMIT).await?;
        let new = replaced_by(demo, ordinal, &old).await?;
        replaced.add(begun.elapsed());
        progress.say(format!(
            "demo-{ordinal}{} {fault:?}: {old} became {new} after {:.1} s; \
             the writer was served after {:.1} s",
            if ordinal == leader { " (leader)" } else { "" },
            begun.elapsed().as_secs_f64(),
            served.as_secs_f64(),
        ));
    }
    watched.stop(3 + 5).await?;
    replaced.judge();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_in_the_middle_of_a_replacement_changes_nothing_about_it() -> Outcome {
    let (_alone, sandbox) = alone("e2e-operator").await?;
    let watched = Watched::start(&sandbox).await?;
    let demo = &watched.demo;
    let progress = Progress::default();
    let mut replaced = Figure::new(
        "a member is replaced though the operator is killed",
        Duration::from_secs(60),
    );
    for (round, moment) in ["the ID is removed", "the newcomer joins"]
        .into_iter()
        .enumerate()
    {
        let ordinal = (demo.leader(READY_LIMIT).await? + 1) % 3;
        let old = demo
            .status()
            .await?
            .member(ordinal)
            .context("a member")?
            .to_owned();
        let begun = Instant::now();
        Fault::Frozen.strike(demo, ordinal).await?;
        wait::until(moment, REPLACED_LIMIT, async || {
            let status = demo.status().await?;
            let members = &status.members;
            let is_now = match round {
                0 => !members.iter().any(|m| m.id == old && m.phase != "Removing"),
                _ => members.iter().any(|m| m.phase == "Joining"),
            };
            ensure!(is_now, "{members:?}");
            Ok(())
        })
        .await?;
        pods::kill_operator().await?;
        progress.say(format!("the operator is killed when {moment}"));
        pods::operator_runs(READY_LIMIT).await?;
        let new = replaced_by(demo, ordinal, &old).await?;
        replaced.add(begun.elapsed());
        progress.say(format!("demo-{ordinal}: {old} became {new}"));
    }
    watched.stop(3 + 2).await?;
    replaced.judge();
    Ok(())
}

/// Waits until all is well with another member in this place, and gives its ID.
async fn replaced_by(cluster: &RaftCluster, ordinal: u32, old: &str) -> Result<String> {
    let (new, _) = wait::until(
        "another member is in its place",
        REPLACED_LIMIT,
        async || {
            let status = cluster.status().await?;
            let new = status.member(ordinal).context("nobody is there")?;
            ensure!(new != old, "{old} is still there: {:?}", status.plan);
            Ok(new.to_owned())
        },
    )
    .await?;
    cluster.settled(REPLACED_LIMIT).await?;
    Ok(new)
}
