//! Members that live and are much slower than the others.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use raftery_e2e::kube::{Kube, RaftCluster};
use raftery_e2e::members::Onlooker;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::report::Progress;
use raftery_e2e::writer::Writer;
use raftery_e2e::{pods, wait};

use crate::{READY_LIMIT, alone};

const PUTS_PER_SECOND: u32 = 100;
/// A score of -500 takes some 70 seconds of the worst verdicts.
const SWAPPED_LIMIT: Duration = Duration::from_secs(300);
const SERVED_LIMIT: Duration = Duration::from_secs(60);

/// Slow isn't unresponsive, which has a replacement of its own.
const MANIFEST: &str = "apiVersion: raftery.dev/v1alpha1
kind: RaftCluster
metadata: { name: demo }
spec:
  replicas: 3
  storage: { size: 1Gi }
  healing: { unresponsiveAfter: 60s, failSlow: Replace }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_member_is_replaced_with_never_a_voter_less_unless_a_person_forbids_it() -> Outcome {
    let (_alone, sandbox) = alone("e2e-slow").await?;
    let progress = Progress::default();
    let kube = &sandbox.kube;
    let demo = kube.cluster("demo");
    kube.apply(MANIFEST).await?;
    demo.settled(READY_LIMIT).await?;
    let onlooker = Onlooker::start(&demo).await?;
    let writer = Writer::start(vec![demo.client_url().await?], "slow", PUTS_PER_SECOND);
    writer.served_after(Instant::now(), SERVED_LIMIT).await?;
    let ordinal = (demo.leader(READY_LIMIT).await? + 1) % 3;
    let pod = format!("demo-{ordinal}");
    let veto = format!("raftery.dev/veto-fail-slow={pod}");
    kube.kubectl(&["annotate", "raftcluster", "demo", &veto])
        .await?;
    let status = demo.status().await?;
    let old = status.member(ordinal).context("a member")?.to_owned();

    let begun = Instant::now();
    let hobbled = pods::hobble(&demo, ordinal).await?;
    let told = event(kube, "MemberSlow", &pod).await?;
    progress.say(format!("after {:.1} s: {told}", seconds(begun)));
    only_watched(&demo, &pod).await?;
    kube.kubectl(&[
        "annotate",
        "raftcluster",
        "demo",
        "raftery.dev/veto-fail-slow-",
    ])
    .await?;

    let allowed = Instant::now();
    wait::until("the slow member is out", SWAPPED_LIMIT, async || {
        let status = demo.status().await?;
        let members = &status.members;
        let votes = members.iter().any(|m| m.id == old && m.phase != "Removing");
        ensure!(!votes, "plan {:?}, members {members:?}", status.plan);
        Ok(())
    })
    .await?;
    let out = seconds(allowed);
    drop(hobbled);
    wait::until("members are where they were", SWAPPED_LIMIT, async || {
        let status = demo.status().await?;
        let members = status.members.iter();
        let places: Vec<_> = members.map(|m| (m.ordinal, m.phase.as_str())).collect();
        let as_before = [(0, "Active"), (1, "Active"), (2, "Active")];
        ensure!(places == as_before, "plan {:?}, {places:?}", status.plan);
        Ok(())
    })
    .await?;
    demo.settled(READY_LIMIT).await?;
    let whole = seconds(allowed);
    progress.say(format!(
        "once that was allowed, the slow member was out after {out:.1} s, and the cluster whole \
         after {whole:.1} s"
    ));
    for reason in ["NoteSwap", "Swap"] {
        progress.say(event(kube, reason, &format!("ordinal {ordinal}")).await?);
    }
    writer.served_after(Instant::now(), SERVED_LIMIT).await?;
    let record = writer.stop().await;
    progress.say(record.summary());
    record.check_revisions()?;
    for member in demo.status().await?.members {
        let url = demo.pod_client_url(member.ordinal).await?;
        record.check_member(&url).await?;
    }
    let history = onlooker.history();
    history.check()?;
    for (index, members) in &history.configurations {
        let voters = members.values().filter(|learns| !**learns).count();
        assert!(voters >= 3, "configuration {index} has {voters} voters");
    }
    // Three, the one that took the slow one's vote, and the one that came back to its place.
    assert_eq!(history.members().len(), 5, "{:x?}", history.members());
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

/// The operator says that it does nothing about the member, and why; and does nothing.
async fn only_watched(cluster: &RaftCluster, pod: &str) -> Result<()> {
    let (noted, _) = wait::until("the plan tells of the veto", READY_LIMIT, async || {
        let plan = cluster.status().await?.plan.context("no plan")?;
        ensure!(plan.contains("only watched"), "{plan}");
        Ok(plan)
    })
    .await?;
    ensure!(noted.contains(pod) && noted.contains("veto"), "{noted}");
    let members = cluster.status().await?.members.len();
    ensure!(members == 3, "{members} members");
    Ok(())
}

/// The note of an event that speaks of this.
async fn event(kube: &Kube, reason: &str, what: &str) -> Result<String> {
    let waited_for = format!("an event {reason} about {what}");
    let (note, _) = wait::until(&waited_for, SWAPPED_LIMIT, async || {
        let selector = format!("reason={reason}");
        let format = r#"jsonpath={range .items[*]}{.message}{"\n"}{end}"#;
        let notes = kube
            .kubectl(&[
                "get",
                "events",
                "--field-selector",
                &selector,
                "--output",
                format,
            ])
            .await?;
        let mut about = notes.lines().filter(|note| note.contains(what));
        about
            .next()
            .map(str::to_owned)
            .with_context(|| format!("events: {notes:?}"))
    })
    .await?;
    Ok(note)
}
