//! Clients that record everything, on all members, while something goes wrong; then the history
//! is checked for linearizability.
//!
//! `SEED=N` repeats a run's choices: what clients ask, what goes wrong, and when. What processes
//! and threads make of it differs from run to run, so a failure keeps its history as well.

mod disks;
mod kills;
mod mixed;
mod network;
mod pauses;

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use raftery_e2e::bare::Cluster;
use raftery_e2e::environment::slowfs;
use raftery_e2e::etcd;
use raftery_e2e::linear::{self, Answer, History};
use raftery_e2e::proxy::Network;
use raftery_e2e::recorder::{self, Recorder};
use raftery_e2e::report::Progress;
use raftery_e2e::slowfs::SlowFs;

/// Whatever should happen happens well within this.
const LIMIT: Duration = Duration::from_secs(20);
/// For the search on one key.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
/// Answers without which a run proves nothing.
const ANSWERS_MIN: usize = 500;
const MEMBERS: usize = 3;

/// A cluster with recording clients, and all that can be done to it.
struct Trial {
    rng: Rng,
    progress: Progress,
    recorder: Recorder,
    /// Of the members, in their order, if asked for. Before the cluster: a process that waits
    /// for a frozen disk ends only when that is gone.
    disks: Vec<SlowFs>,
    network: Network,
    cluster: Cluster,
}

impl Trial {
    /// With ordinary disks.
    async fn start() -> Result<Self> {
        Self::with(Vec::new(), Cluster::new(MEMBERS)?).await
    }

    /// With members that ask a majority before each read.
    async fn without_leases() -> Result<Self> {
        let mut cluster = Cluster::new(MEMBERS)?;
        for node in &mut cluster.nodes {
            node.set("lease-reads", "false");
        }
        Self::with(Vec::new(), cluster).await
    }

    /// With a disk for each member that fails when it is told to.
    async fn with_disks() -> Result<Self> {
        let mut cluster = Cluster::new(MEMBERS)?;
        let directory = cluster.directory().to_owned();
        let mut disks = Vec::new();
        for node in &mut cluster.nodes {
            let disk = SlowFs::mount(&slowfs()?, &directory, &node.name)?;
            node.keep_data_in(disk.directory());
            disks.push(disk);
        }
        Self::with(disks, cluster).await
    }

    async fn with(disks: Vec<SlowFs>, mut cluster: Cluster) -> Result<Self> {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().context("SEED is a number")?,
            Err(_) => fastrand::u64(..),
        };
        println!("SEED={seed}");
        let mut rng = Rng::with_seed(seed);
        let (network, doors) = Network::between(cluster.whereabouts()).await?;
        cluster.advertise(&doors);
        cluster.start().await?;
        let recorder = Recorder::start(cluster.client_urls(), &mut rng).await?;
        let trial = Self {
            rng,
            progress: Progress::default(),
            recorder,
            disks,
            network,
            cluster,
        };
        trial.all_serve().await?;
        Ok(trial)
    }

    /// The place of the leader.
    async fn leader(&self) -> Result<usize> {
        Ok(self.cluster.leader(LIMIT).await?.0)
    }

    /// The place of a member that follows, by chance.
    async fn follower(&mut self) -> Result<usize> {
        Ok((self.leader().await? + self.rng.usize(1..MEMBERS)) % MEMBERS)
    }

    /// So many milliseconds, by chance, pass.
    async fn wait(&mut self, ms: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(ms))).await;
    }

    /// Clients of every member are served.
    async fn all_serve(&self) -> Result<()> {
        for place in 0..MEMBERS {
            self.recorder.serves(Some(place), LIMIT).await?;
        }
        Ok(())
    }

    /// Says what is done to whom.
    fn say(&self, what: &str, place: usize) {
        let name = &self.cluster.nodes[place].name;
        self.progress.say(format!("{what}: {name}"));
    }

    /// With everything healed, all members serve and hold the same; and all that clients ever
    /// saw was right.
    async fn finish(self) -> Result<()> {
        self.all_serve().await?;
        let history = self.recorder.stop().await;
        self.cluster.all_caught_up(LIMIT).await?;
        let mut contents = Vec::new();
        for url in self.cluster.client_urls() {
            // what is asked of the quorum first is there when it is read locally
            etcd::client(&[&url]).await?.get("caught up?", None).await?;
            contents.push(etcd::read_locally(&url, recorder::PREFIX).await?);
        }
        ensure!(
            contents.iter().all(|content| *content == contents[0]),
            "members hold different things: {contents:?}"
        );
        self.progress.say(summary(&history));
        ensure!(history.answered() >= ANSWERS_MIN, "too few answers");
        let file = self.cluster.directory().join("history.txt");
        std::fs::write(&file, shown(&history))?;
        linear::check(&history, CHECK_LIMIT)
            .with_context(|| format!("the history is in {}", file.display()))?;
        self.progress.say("linearizable");
        Ok(())
    }
}

fn summary(history: &History) -> String {
    let count = |is: fn(&Answer) -> bool| {
        let answers = history.operations.iter().map(|one| &one.answer);
        answers.filter(|answer| is(answer)).count()
    };
    format!(
        "{} operations: {} reads, {} writes, {} comparisons that failed, {} without an answer",
        history.operations.len(),
        count(|answer| matches!(answer, Answer::Got { .. })),
        count(|answer| matches!(answer, Answer::Written { .. })),
        count(|answer| matches!(answer, Answer::Differed { .. })),
        count(|answer| *answer == Answer::Unknown),
    )
}

fn shown(history: &History) -> String {
    let mut operations: Vec<_> = history.operations.iter().collect();
    operations.sort_by_key(|operation| operation.invoked);
    let mut text = String::new();
    for operation in operations {
        writeln!(text, "{operation}").expect("a string takes everything");
    }
    text
}
