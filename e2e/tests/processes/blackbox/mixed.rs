//! Everything at once.

use std::time::Duration;

use anyhow::Result;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::proxy::Link;
use raftery_e2e::slowfs::Fault;

use super::{LIMIT, MEMBERS, Trial};
use crate::beside_others;

const LASTS: Duration = Duration::from_secs(35);
const READS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_linearizable_while_anything_happens_to_anyone() -> Outcome {
    let _others = beside_others().await;
    let mut trial = Trial::with_disks().await?;
    while trial.progress.elapsed() < LASTS {
        // up to three at a time: quorum may go, but not for good
        for _ in 0..trial.rng.usize(1..=3) {
            trial.something().await?;
            trial.wait(0..400).await;
        }
        trial.wait(0..1500).await;
        trial.heal().await?;
        trial.recorder.serves(None, LIMIT).await?;
    }
    Ok(trial.finish().await?)
}

impl Trial {
    /// One more thing goes wrong, most often for the leader, where there is one.
    async fn something(&mut self) -> Result<()> {
        let victim = match self.rng.bool() {
            true => self.rng.usize(0..MEMBERS),
            false => {
                let leader = self.cluster.leader(Duration::from_millis(200)).await;
                leader.map_or(0, |(place, _)| place)
            }
        };
        let other = (victim + self.rng.usize(1..MEMBERS)) % MEMBERS;
        let link = match self.rng.u8(0..3) {
            0 => Link::Cut,
            1 => Link::Holds,
            _ => Link::delayed(Duration::from_millis(self.rng.u64(10..500))),
        };
        match self.rng.u8(0..8) {
            0 => {
                self.say("killed", victim);
                self.cluster.nodes[victim].kill()?;
            }
            1 | 2 => {
                self.say("frozen", victim);
                self.cluster.nodes[victim].freeze()?;
            }
            3 => {
                self.say(&format!("isolated ({link:?})"), victim);
                self.network.isolate(victim, link);
            }
            4 => {
                self.say(&format!("heard by nobody ({link:?})"), victim);
                self.network.set_outbound(victim, link);
            }
            5 => {
                self.say(&format!("link to another ({link:?})"), victim);
                self.network.set(victim, other, link);
            }
            6 => {
                let delay = Duration::from_millis(self.rng.u64(10..300));
                self.say(&format!("syncs take {delay:?} more"), victim);
                self.disks[victim].inject(Fault::SlowSyncs(delay))?;
            }
            _ => {
                self.say("syncs fail", victim);
                self.disks[victim].inject(Fault::FailingSyncs)?;
            }
        }
        Ok(())
    }

    /// Everything is well again, and who sleeps is asked a lot while it wakes up.
    async fn heal(&mut self) -> Result<()> {
        for place in 0..MEMBERS {
            self.recorder.read_at_once(place, READS).await?;
        }
        self.network.heal();
        for disk in &mut self.disks {
            disk.heal()?;
        }
        for node in &mut self.cluster.nodes {
            node.thaw()?;
        }
        // A moment to notice that a sync had failed, and to end.
        self.wait(100..300).await;
        for node in &mut self.cluster.nodes {
            if node.process()?.exit_status()?.is_some() {
                node.start()?;
            }
        }
        Ok(())
    }
}
