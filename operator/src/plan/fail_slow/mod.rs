//! Members that live and are much slower than the others: a ladder of what is done about them.
//!
//! Who fails slowly is noted ([`Slowness`]) and told of. What goes beyond that hangs on the word
//! of the leader that answers now, on the spec, on the veto of a person, and on the gate.

mod evidence;
mod slowness;

use std::cmp::Reverse;
use std::time::Duration;

use super::step::Step;
use super::view::{Placed, View};
use super::{Plan, State, gate};
use crate::api::FailSlow;
use slowness::has_recovered;

pub(crate) use evidence::Evidence;
pub use slowness::{SlowMinutes, Slowness};

/// How long a leader that fails slowly may take to hand over by itself.
const HANDS_OVER: Duration = Duration::from_secs(60);

/// Moves leadership off a leader that fails slowly and hasn't handed over by itself; `None` if
/// there is none, or nobody to lead instead.
pub(super) fn transfer(view: &View<'_>) -> Option<Plan> {
    let slow = failing(view)
        .into_iter()
        .find(|slow| view.is_leader(slow.placed.member.id))?;
    let lasts = Duration::try_from(view.now.duration_since(slow.since)).unwrap_or_default();
    let is_due = lasts >= HANDS_OVER && obstacle(view, &slow).is_none();
    is_due.then(|| hand_over(view, &slow)).flatten()
}

/// What a steady plan says of members that fail slowly.
pub(super) fn steady(view: &View<'_>) -> Plan {
    let watched = failing(view).into_iter().map(|slow| {
        let name = view.desired.pod_name(slow.placed.ordinal);
        match obstacle(view, &slow) {
            None => format!("{name} fails slowly and is watched"),
            Some(obstacle) => format!("{name} fails slowly and is only watched: {obstacle}"),
        }
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
    since: k8s_openapi::jiff::Timestamp,
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

/// What forbids to do anything about it.
fn obstacle(view: &View<'_>, slow: &Failing<'_>) -> Option<&'static str> {
    if view.desired.fail_slow == FailSlow::Observe {
        return Some("spec.healing.failSlow is Observe");
    }
    let name = view.desired.pod_name(slow.placed.ordinal);
    view.desired
        .fail_slow_veto
        .covers(&name)
        .then_some("the annotation raftery.dev/veto-fail-slow covers it")
}

/// To the best ranked voter that could lead at once and isn't slow itself.
fn hand_over(view: &View<'_>, slow: &Failing<'_>) -> Option<Plan> {
    let (id, from) = (slow.placed.member.id, slow.placed.ordinal);
    gate::check(view, id).ok()?;
    let ranks = view.ranks();
    let ill = failing(view);
    let next = view
        .living_voters()
        .into_iter()
        .filter(|placed| {
            ill.iter()
                .all(|ill| ill.placed.member.id != placed.member.id)
        })
        .filter(|placed| placed.member.caught_up && placed.member.standing().is_fit())
        .min_by_key(|placed| ranks.get(&placed.member.id).copied())?;
    let evidence = Evidence::of(view, &slow.placed);
    Some(Plan::step(
        view,
        Step::Transfer {
            from,
            to: next.ordinal,
            id: next.member.id,
            because: Some(evidence.to_string()),
        },
    ))
}

#[cfg(test)]
#[path = "fail_slow_test.rs"]
mod tests;
