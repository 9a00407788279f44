//! SIGKILL.

use raftery_e2e::outcome::Outcome;

use super::{LIMIT, MEMBERS, Trial};
use crate::beside_others;

const ROUNDS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_linearizable_while_members_are_killed_and_restarted() -> Outcome {
    let _others = beside_others().await;
    let mut trial = Trial::start().await?;
    for round in 0..ROUNDS {
        // leaders more often than others, and now and then a majority
        let leader = trial.leader().await?;
        let mut victims = vec![match trial.rng.bool() {
            true => leader,
            false => trial.rng.usize(0..MEMBERS),
        }];
        if round % 4 == 3 {
            victims.push((victims[0] + 1) % MEMBERS);
        }
        for victim in &victims {
            trial.say("killed", *victim);
            trial.cluster.nodes[*victim].kill()?;
        }
        trial.wait(0..1500).await;
        if victims.len() == 1 {
            trial.recorder.serves(None, LIMIT).await?;
        }
        for victim in victims {
            trial.cluster.nodes[victim].start()?;
        }
        trial.recorder.serves(None, LIMIT).await?;
        if trial.rng.bool() {
            trial.all_serve().await?;
        }
    }
    Ok(trial.finish().await?)
}
