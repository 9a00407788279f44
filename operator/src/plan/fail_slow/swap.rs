//! Replacing a slow but living member without ever having one voter fewer.
//!
//! ```text
//! voters 0 1s 2        NoteSwap
//! voters 0 1s 2  (3)   one ordinal more, where a learner joins and catches up
//! voters 0 2 3         Swap: in one step the learner votes and the slow ID is out, for ever
//! voters 0 2 3  (1)    the slow disk is wiped, its ordinal joins under a new ID
//! voters 0 1 2 3       it votes; then the extra ordinal goes, as with any shrinking
//! voters 0 1 2
//! ```
//!
//! The note holds until the slow ID is out of the configuration. Until then the spec's size has
//! one more place, and whatever speaks against the swap ends it: the note goes, and the extra
//! ordinal with it. From then on only what heals and shrinks any cluster is at work.

use super::{Evidence, Failing, failing, forbidden, has_recovered, new_leader, with_reason};
use crate::api::FailSlow;
use crate::ids::Incarnation;
use crate::plan::step::{Disk, Step};
use crate::plan::view::{Placed, Presence, View};
use crate::plan::{Plan, SwapNote, gate, replace, roll};

/// From here on the cluster changes several members in one step.
const SEVERAL_CHANGES: u32 = 2;
/// Stands for the life of a disk that nobody has read yet.
const UNREAD: Incarnation = Incarnation(u64::MAX);

/// Begins to replace the worst member that fails slowly; `None` if there is none, or something
/// speaks against it.
pub(in crate::plan) fn begin(view: &View<'_>) -> Option<Plan> {
    let slow = failing(view)
        .into_iter()
        .find(|slow| obstacle(view, slow).is_none())?;
    Some(Plan::step(
        view,
        Step::NoteSwap {
            id: slow.placed.member.id,
            ordinal: slow.placed.ordinal,
            extra: view.desired.replicas,
            because: Evidence::of(view, &slow.placed).to_string(),
        },
    ))
}

/// What speaks against beginning to replace a member that fails slowly.
pub(super) fn obstacle(view: &View<'_>, slow: &Failing<'_>) -> Option<String> {
    if let Some(forbidden) = forbidden(view, slow.placed.ordinal) {
        return Some(forbidden.to_owned());
    }
    match view.desired.fail_slow {
        FailSlow::Observe | FailSlow::Transfer => {
            return Some("spec.healing.failSlow isn't Replace".to_owned());
        }
        FailSlow::Replace => {}
    }
    if view.observed.notes.swap.is_some() {
        return Some("a replacement is under way".to_owned());
    }
    if view.is_leader(slow.placed.member.id) {
        return Some("it leads, and has to hand over first".to_owned());
    }
    // Who is slow is a comparison: it takes a majority to compare with.
    if failing(view).len() * 2 >= view.voters().len() {
        return Some("too few members aren't slow to say who is to blame".to_owned());
    }
    let cluster_version = view.leader?.identity.cluster_version;
    if cluster_version < SEVERAL_CHANGES {
        return Some(format!(
            "replacing it needs cluster version {SEVERAL_CHANGES}, and the cluster goes by \
             {cluster_version}: update every node"
        ));
    }
    if replace::is_budget_spent(view) {
        return Some(replace::BUDGET_SPENT.to_owned());
    }
    gate::check(view, slow.placed.member.id).err()
}

/// Ends a swap that something speaks against; or finishes one that has two voters already.
/// `None` if it goes on, or there is none.
pub(in crate::plan) fn finish_or_cancel(view: &View<'_>) -> Option<Plan> {
    let swap = view.observed.notes.swap.as_ref()?;
    if view.is_swapped_out(swap.id) {
        return None;
    }
    let voters = view.voters();
    let Some(slow) = voters.iter().find(|placed| placed.member.id == swap.id) else {
        return Some(cancel(view, swap, "it doesn't vote".to_owned()));
    };
    if voters.iter().any(|placed| placed.ordinal == swap.extra) {
        return remove(view, slow);
    }
    let why = why_not(view, swap, slow)?;
    Some(cancel(view, swap, why))
}

/// Lets the learner that has caught up vote instead of the slow member.
pub(in crate::plan) fn swap(view: &View<'_>, swap: &SwapNote, stand_in: &Placed<'_>) -> Plan {
    let name = view.desired.pod_name(swap.ordinal);
    let promote = stand_in.member.id;
    let Some(slow) = failing(view)
        .into_iter()
        .find(|slow| slow.placed.member.id == swap.id)
    else {
        let summary = format!("waiting for a settled leader to say whether {name} is still slow");
        return Plan::wait(view, summary);
    };
    if let Err(obstacle) = gate::check_beside(view, swap.id, Some(promote)) {
        return Plan::wait(view, format!("waiting to replace slow {name}: {obstacle}"));
    }
    if view.is_leader(swap.id) {
        return new_leader(view, &slow.placed).map_or_else(
            || {
                Plan::wait(
                    view,
                    format!("waiting for a voter to lead instead of {name}"),
                )
            },
            |next| with_reason(view, &slow.placed, &next),
        );
    }
    Plan::step(
        view,
        Step::Swap {
            id: swap.id,
            ordinal: swap.ordinal,
            promote,
            config_index: config_index(view),
            because: Evidence::of(view, &slow.placed).to_string(),
        },
    )
}

/// Both vote: while the joint step is being left, when a removal is refused; or because somebody
/// let the other one vote, when the removal is what is left to do. `None` while it is unsafe.
fn remove(view: &View<'_>, slow: &Placed<'_>) -> Option<Plan> {
    let (id, ordinal) = (slow.member.id, slow.ordinal);
    gate::check(view, id).ok()?;
    if view.is_leader(id) {
        return Some(roll::transfer_or_wait(view, ordinal));
    }
    let config_index = config_index(view);
    Some(Plan::step(
        view,
        Step::Remove {
            id,
            ordinal,
            config_index,
        },
    ))
}

/// Why a swap that is under way shall not be.
fn why_not(view: &View<'_>, swap: &SwapNote, slow: &Placed<'_>) -> Option<String> {
    if view.desired.replicas != swap.extra {
        return Some("spec.replicas was changed".to_owned());
    }
    if view.desired.fail_slow != FailSlow::Replace {
        return Some("spec.healing.failSlow isn't Replace any more".to_owned());
    }
    if let Some(forbidden) = forbidden(view, swap.ordinal) {
        return Some(forbidden.to_owned());
    }
    let noted = view.observed.notes.member(swap.id);
    let fails = noted.is_some_and(|note| note.slowness.since.is_some());
    let mut living = view.living_voters().into_iter();
    let lives = living.any(|placed| placed.member.id == swap.id);
    if !fails || (lives && has_recovered(slow.member.standing())) {
        return Some("it isn't slow any more".to_owned());
    }
    let voters = view.voters();
    let mut broken = voters
        .iter()
        .filter(|placed| replace::why_broken(view, placed).is_some());
    if let Some(broken) = broken.next() {
        let name = view.desired.pod_name(broken.ordinal);
        return Some(format!("{name} has to be replaced first"));
    }
    let mut pods = voters.iter().filter_map(|placed| view.pod(placed.ordinal));
    if pods.any(|pod| view.is_outdated(pod)) {
        return Some("the pods have to be rolled first".to_owned());
    }
    let learners = view.learners();
    let stand_in = learners
        .iter()
        .find(|placed| placed.ordinal == swap.extra)?;
    let is_broken =
        view.presence(stand_in) == Presence::OtherDisk || view.is_unresponsive(stand_in);
    is_broken.then(|| "the member that was to take its place is broken".to_owned())
}

fn cancel(view: &View<'_>, swap: &SwapNote, because: String) -> Plan {
    Plan::step(
        view,
        Step::CancelSwap {
            id: swap.id,
            ordinal: swap.ordinal,
            extra: idle_disk(view, swap.extra),
            because,
        },
    )
}

/// The disk that was made for a swap, if no member lives on it and none is meant to.
fn idle_disk(view: &View<'_>, ordinal: u32) -> Option<Disk> {
    let claim_uid = view.claim_uid(ordinal);
    let is_idle = view
        .members()
        .iter()
        .all(|placed| placed.ordinal != ordinal);
    let has_place = ordinal < view.desired.replicas;
    (is_idle && !has_place && !claim_uid.is_empty()).then(|| Disk {
        ordinal,
        incarnation: view.node(ordinal).map_or(UNREAD, |node| node.incarnation),
        claim_uid,
    })
}

fn config_index(view: &View<'_>) -> u64 {
    view.leader.map_or(0, |leader| leader.identity.config_index)
}

#[cfg(test)]
#[path = "swap_test.rs"]
mod tests;
