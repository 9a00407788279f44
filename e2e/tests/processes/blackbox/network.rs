//! Members that others don't reach.

use std::time::Duration;

use raftery_e2e::outcome::Outcome;
use raftery_e2e::proxy::Link;

use super::{LIMIT, Trial};
use crate::{alone, beside_others};

const READS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_off_from_all_others_serves_no_stale_read() -> Outcome {
    let _others = beside_others().await;
    let mut trial = Trial::start().await?;
    for link in [Link::Cut, Link::Holds, Link::Cut, Link::Holds] {
        let old = trial.leader().await?;
        trial.say(&format!("isolated ({link:?}), the leader"), old);
        trial.network.isolate(old, link);
        trial.cluster_goes_on_without(old).await?;
        // it is asked while it may still believe that it leads, and when it is back
        trial.recorder.read_at_once(old, READS).await?;
        trial.wait(0..1000).await;
        trial.network.heal();
        trial.all_serve().await?;
    }
    Ok(trial.finish().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_linearizable_while_links_are_cut_one_way() -> Outcome {
    let _others = beside_others().await;
    let mut trial = Trial::start().await?;
    for round in 0..6 {
        let leader = trial.leader().await?;
        let follower = trial.follower().await?;
        let link = match trial.rng.bool() {
            true => Link::Cut,
            false => Link::Holds,
        };
        match round {
            0 | 3 => {
                trial.say(&format!("nobody hears ({link:?}) the leader"), leader);
                trial.network.set_outbound(leader, link);
            }
            1 | 4 => {
                trial.say(&format!("hears nobody ({link:?}), the leader"), leader);
                trial.network.set_inbound(leader, link);
            }
            2 => {
                trial.say(&format!("hears nobody ({link:?}), a follower"), follower);
                trial.network.set_inbound(follower, link);
            }
            _ => {
                // each reaches the third, which reaches both
                trial.say(&format!("has no link ({link:?}) with the leader"), follower);
                trial.network.set(leader, follower, link);
                trial.network.set(follower, leader, link);
            }
        }
        trial.recorder.serves(None, LIMIT).await?;
        trial.wait(1500..3000).await;
        trial.recorder.serves(None, LIMIT).await?;
        trial.network.heal();
        trial.all_serve().await?;
    }
    Ok(trial.finish().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_follower_comes_back_without_disturbing_the_leader() -> Outcome {
    let _alone = alone().await;
    let mut trial = Trial::start().await?;
    for link in [Link::Cut, Link::Holds] {
        let (leader, before) = trial.cluster.leader(LIMIT).await?;
        let follower = trial.follower().await?;
        trial.say(&format!("isolated ({link:?}), a follower"), follower);
        trial.network.isolate(follower, link);
        // long enough to campaign several times, were it not for the pre-vote
        trial.wait(4000..5000).await;
        trial.recorder.serves(Some(leader), LIMIT).await?;
        trial.network.heal();
        trial.all_serve().await?;
        let (after, status) = trial.cluster.leader(LIMIT).await?;
        assert_eq!((after, status.term), (leader, before.term), "{link:?}");
    }
    Ok(trial.finish().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_linearizable_over_links_that_are_slow_in_different_ways() -> Outcome {
    let _others = beside_others().await;
    let mut trial = Trial::start().await?;
    for _ in 0..5 {
        for from in 0..super::MEMBERS {
            for to in (0..super::MEMBERS).filter(|to| *to != from) {
                let delay = Duration::from_millis(trial.rng.u64(0..100));
                trial.network.set(from, to, Link::delayed(delay));
            }
        }
        trial.wait(1500..2500).await;
        trial.recorder.serves(None, LIMIT).await?;
    }
    trial.network.heal();
    Ok(trial.finish().await?)
}

impl Trial {
    /// A client of one of the others is served.
    async fn cluster_goes_on_without(&self, gone: usize) -> anyhow::Result<()> {
        let others = (0..super::MEMBERS).filter(|place| *place != gone);
        for place in others {
            self.recorder.serves(Some(place), LIMIT).await?;
        }
        Ok(())
    }
}
