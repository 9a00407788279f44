//! What to do next: a pure function of spec and observation.
//!
//! The order is the same in every plan, and the first part that has something to say ends it:
//!
//! 1. paused: nothing
//! 2. two clusters among the nodes: nothing, and say so
//! 3. founding, while no cluster has been complete yet
//! 4. quorum lost: nothing
//! 5. finish the step in flight (removal, learner, join)
//! 6. replace a member that is unresponsive or lost its disk
//! 7. move leadership off a member that fails slowly
//! 8. scale
//! 9. what members share, then roll pods whose template changed
//! 10. begin to replace a member that fails slowly
//!
//! A plan holds at most one step, and a step is one write: the next plan sees what came of it.
//! Whatever disturbs a voter passes [`gate`](gate::check).

mod fail_slow;
mod founding;
mod gate;
mod in_flight;
mod notes;
mod replace;
mod roll;
mod scale;
mod step;
mod view;

#[cfg(test)]
pub(crate) mod model_test;
#[cfg(test)]
mod plan_test;
#[cfg(test)]
mod walk_test;

use std::fmt;

use crate::api::Desired;
use crate::observe::{Now, Observed};

pub(crate) use fail_slow::Evidence;
pub use fail_slow::{SlowMinutes, Slowness};
pub use notes::{Leadership, MemberNote, Notes, SwapNote};
pub use step::{Disk, Removal, Step};
pub(crate) use view::{Placed, View};

/// What a plan amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The spec says to touch nothing.
    Paused,
    /// Only a person can go on from here.
    Stalled,
    /// No leader with a quorum answers; nothing is touched.
    QuorumLost,
    /// The cluster isn't complete yet for the first time.
    Founding,
    /// There is a step to take.
    Working,
    /// Something must happen elsewhere first.
    Waiting,
    /// All is as it shall be.
    Steady,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the plan amounts to.
    pub state: State,
    /// The step to take.
    pub step: Option<Step>,
    /// Pods to ask the StatefulSet for.
    pub replicas: u32,
    /// The plan in words, without numbers that change all the time.
    pub summary: String,
}

impl Plan {
    fn step(view: &View<'_>, step: Step) -> Self {
        let state = if view.observed.notes.founded {
            State::Working
        } else {
            State::Founding
        };
        let summary = step.to_string();
        Self {
            state,
            step: Some(step),
            replicas: scale::statefulset_replicas(view),
            summary,
        }
    }

    fn hold(view: &View<'_>, state: State, summary: impl Into<String>) -> Self {
        let replicas = scale::statefulset_replicas(view);
        Self {
            state,
            step: None,
            replicas,
            summary: summary.into(),
        }
    }

    /// Waits: as part of the founding before the cluster is complete.
    fn wait(view: &View<'_>, summary: impl Into<String>) -> Self {
        let founded = view.observed.notes.founded;
        Self::hold(
            view,
            if founded {
                State::Waiting
            } else {
                State::Founding
            },
            summary,
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.state, self.summary)
    }
}

/// Plans the next step. `template_hash` is the hash of the pod template that the spec asks for.
pub fn plan(desired: &Desired, template_hash: &str, observed: &Observed, now: Now) -> Plan {
    let view = View::new(desired, template_hash, observed, now);
    if desired.paused {
        return Plan::hold(&view, State::Paused, "paused: nothing is touched");
    }
    if let Some(conflict) = view.conflict() {
        return Plan::hold(&view, State::Stalled, conflict);
    }
    if !observed.notes.founded
        && let Some(plan) = founding::plan(&view)
    {
        return plan;
    }
    if view.leader.is_none() {
        let summary = "no leader with a quorum answers: nothing is touched";
        return Plan::hold(&view, State::QuorumLost, summary);
    }
    founding::adopt(&view)
        .or_else(|| fail_slow::finish_or_cancel(&view))
        .or_else(|| in_flight::plan(&view))
        .or_else(|| founding::open(&view))
        .or_else(|| replace::plan(&view))
        .or_else(|| fail_slow::transfer(&view))
        .or_else(|| in_flight::missing(&view))
        .or_else(|| founding::latch(&view))
        .or_else(|| scale::plan(&view))
        .or_else(|| roll::configure(&view))
        .or_else(|| roll::plan(&view))
        .or_else(|| in_flight::unwell(&view))
        .or_else(|| fail_slow::begin(&view))
        .unwrap_or_else(|| fail_slow::steady(&view))
}

/// How many members vote, as the leader has it; 0 without one.
pub fn voters(desired: &Desired, observed: &Observed) -> u32 {
    // The time plays no part in it.
    let now = Now::UNIX_EPOCH;
    let voters = View::new(desired, "", observed, now).voters().len();
    u32::try_from(voters).unwrap_or(u32::MAX)
}

/// The notes brought up to what is seen: who answers, who leads, since when.
pub fn refresh(desired: &Desired, observed: &Observed, now: Now) -> Notes {
    View::new(desired, "", observed, now).refreshed_notes()
}
