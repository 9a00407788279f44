//! `Stalled`: only a person can go on from here.

use super::Inputs;
use super::conditions::Verdict;
use crate::plan::State;

pub(super) fn condition(inputs: &Inputs<'_>) -> Verdict {
    if let Some(refused) = inputs.refused {
        return Verdict::yes("Refused", refused);
    }
    match inputs.plan.state {
        State::Stalled => Verdict::yes("ClusterConflict", inputs.plan.summary.clone()),
        State::Paused
        | State::QuorumLost
        | State::Founding
        | State::Working
        | State::Waiting
        | State::Steady => Verdict::no("NotStalled", "nothing needs a person"),
    }
}
