//! Members that live and are much slower than the others: a ladder of what is done about them.
//!
//! Who fails slowly is noted ([`Slowness`]) and told of; then it doesn't lead ([`transfer`]); then
//! another member takes its place ([`begin`]). What goes beyond telling hangs on the word of the
//! leader that answers now, on the spec, on the veto of a person, and on the gate.

mod evidence;
mod slowness;
mod swap;

use std::cmp::Reverse;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::step::Step;
use super::view::{Placed, View};
use super::{Plan, State, gate};
use crate::api::FailSlow;
use slowness::has_recovered;

pub(crate) use evidence::Evidence;
pub use slowness::{SlowMinutes, Slowness};
pub(super) use swap::{begin, finish_or_cancel, swap};

/// How long a leader that fails slowly may take to hand over by itself.
const HANDS_OVER: Duration = Duration::from_secs(60);

/// Moves leadership off a leader that fails slowly and hasn't handed over by itself; `None` if
/// there is none, or nobody to lead instead.
pub(super) fn transfer(view: &View<'_>) -> Option<Plan> {
    let slow = failing(view)
        .into_iter()
        .find(|slow| view.is_leader(slow.placed.member.id))?;
    let lasts = Duration::try_from(view.now.duration_since(slow.since)).unwrap_or_default();
    if lasts < HANDS_OVER || forbidden(view, slow.placed.ordinal).is_some() {
        return None;
    }
    gate::check(view, slow.placed.member.id).ok()?;
    let next = new_leader(view, &slow.placed)?;
    Some(with_reason(view, &slow.placed, &next))
}

/// What a steady plan says of members that fail slowly.
pub(super) fn steady(view: &View<'_>) -> Plan {
    let watched = failing(view).into_iter().map(|slow| {
        let name = view.desired.pod_name(slow.placed.ordinal);
        let obstacle = swap::obstacle(view, &slow).unwrap_or_default();
        format!("{name} fails slowly and is only watched: {obstacle}")
    });
    let watched: Vec<String> = watched.collect();
    if watched.is_empty() {
        return Plan::hold(view, State::Steady, "all is as it shall be");
    }
    Plan::hold(view, State::Steady, watched.join("; "))
}

/// A voter that fails slowly.
struct Failing<'a> {
    placed: Placed<'a>,
    since: Timestamp,
}

/// Living voters that were noted as failing slowly, and of which the leader that answers now says
/// nothing better; the worst first. None while that leader is young.
fn failing<'a>(view: &View<'a>) -> Vec<Failing<'a>> {
    if !view.leader_is_settled() {
        return Vec::new();
    }
    let ranks = view.ranks();
    let failing = view.living_voters().into_iter().filter_map(|placed| {
        let note = view.observed.notes.member(placed.member.id)?;
        let since = note.slowness.since?;
        (!has_recovered(placed.member.standing())).then_some(Failing { placed, since })
    });
    let mut failing: Vec<Failing<'_>> = failing.collect();
    failing.sort_by_key(|slow| Reverse(ranks.get(&slow.placed.member.id).copied()));
    failing
}

/// Who or what forbids to do anything about the member at an ordinal.
fn forbidden(view: &View<'_>, ordinal: u32) -> Option<&'static str> {
    if view.desired.fail_slow == FailSlow::Observe {
        return Some("spec.healing.failSlow is Observe");
    }
    let name = view.desired.pod_name(ordinal);
    view.desired
        .fail_slow_veto
        .covers(&name)
        .then_some("the annotation raftery.dev/veto-fail-slow covers it")
}

/// The best ranked voter that could lead at once and isn't slow itself.
fn new_leader<'a>(view: &View<'a>, slow: &Placed<'_>) -> Option<Placed<'a>> {
    let ranks = view.ranks();
    let ill = failing(view);
    view.living_voters()
        .into_iter()
        .filter(|placed| placed.member.id != slow.member.id)
        .filter(|placed| {
            ill.iter()
                .all(|ill| ill.placed.member.id != placed.member.id)
        })
        .filter(|placed| placed.member.caught_up && placed.member.standing().is_fit())
        .min_by_key(|placed| ranks.get(&placed.member.id).copied())
}

/// A transfer that says why.
fn with_reason(view: &View<'_>, slow: &Placed<'_>, next: &Placed<'_>) -> Plan {
    Plan::step(
        view,
        Step::Transfer {
            from: slow.ordinal,
            to: next.ordinal,
            id: next.member.id,
            because: Some(Evidence::of(view, slow).to_string()),
        },
    )
}

#[cfg(test)]
#[path = "fail_slow_test.rs"]
mod tests;
