//! `Reconciling`: something is on its way to what the spec says.

use super::Inputs;
use super::conditions::Verdict;
use crate::plan::State;

pub(super) fn condition(inputs: &Inputs<'_>) -> Verdict {
    let summary = inputs.plan.summary.clone();
    match inputs.plan.state {
        State::Founding => Verdict::yes("Founding", summary),
        State::Working => Verdict::yes("Working", summary),
        State::Waiting => Verdict::yes("Waiting", summary),
        State::QuorumLost => Verdict::yes("QuorumLost", summary),
        State::Paused => Verdict::no("Paused", summary),
        State::Stalled => Verdict::no("Stalled", summary),
        State::Steady => Verdict::no("Steady", summary),
    }
}
