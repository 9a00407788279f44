//! SIGSTOP and SIGCONT: a process that sleeps doesn't know that time passes.

use raftery_e2e::outcome::Outcome;

use super::{LIMIT, Trial};
use crate::beside_others;

/// Reads that wait in the socket of a member that sleeps.
const READS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_until_another_led_serves_no_stale_read() -> Outcome {
    let _others = beside_others().await;
    sleeps_until_another_leads(Trial::start().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leases_a_leader_that_slept_serves_no_stale_read_either() -> Outcome {
    let _others = beside_others().await;
    sleeps_until_another_leads(Trial::without_leases().await?).await
}

async fn sleeps_until_another_leads(mut trial: Trial) -> Outcome {
    for _ in 0..5 {
        let old = trial.leader().await?;
        trial.say("frozen, the leader", old);
        trial.cluster.nodes[old].freeze()?;
        // The others have written by now: what the sleeper has is old.
        trial.recorder.serves(None, LIMIT).await?;
        trial.wait(0..500).await;
        trial.recorder.read_at_once(old, READS).await?;
        trial.cluster.nodes[old].thaw()?;
        trial.recorder.serves(Some(old), LIMIT).await?;
    }
    Ok(trial.finish().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_linearizable_while_members_sleep_about_as_long_as_a_lease_lasts() -> Outcome
{
    let _others = beside_others().await;
    let mut trial = Trial::start().await?;
    for round in 0..14 {
        let sleeper = match round % 3 {
            2 => trial.follower().await?,
            _ => trial.leader().await?,
        };
        trial.cluster.nodes[sleeper].freeze()?;
        // around the election timeout of 1 s, and the time that promises last, 1 to 2 s
        trial.wait(600..2200).await;
        trial.recorder.read_at_once(sleeper, READS).await?;
        trial.cluster.nodes[sleeper].thaw()?;
        trial.wait(0..300).await;
    }
    Ok(trial.finish().await?)
}
