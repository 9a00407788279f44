//! Members that can't be helped make way for new ones.

use super::step::{Removal, Step};
use super::view::{Placed, Presence, View};
use super::{Plan, State, gate};

/// What to say when no replacement may begin now.
pub(super) const BUDGET_SPENT: &str =
    "spec.healing.maxReplacementsPerHour were begun within the hour";

/// Begins to replace a voter that lost its disk, is about to, has an older one than it had, or is
/// unresponsive; `None` if all are well.
pub(super) fn plan(view: &View<'_>) -> Option<Plan> {
    let voters = view.voters();
    let broken = voters
        .iter()
        .find_map(|placed| Some((placed, why_broken(view, placed)?)))?;
    let (placed, reason) = broken;
    let reason = if placed.ordinal >= view.places() {
        Removal::Shrink
    } else {
        reason
    };
    if let Err(obstacle) = gate::check(view, placed.member.id) {
        let name = view.desired.pod_name(placed.ordinal);
        return Some(Plan::wait(
            view,
            format!("waiting to replace {name}: {obstacle}"),
        ));
    }
    Some(begin(view, placed, reason))
}

/// Notes a removal, if the hourly budget allows it.
pub(super) fn begin(view: &View<'_>, placed: &Placed<'_>, reason: Removal) -> Plan {
    let (id, ordinal) = (placed.member.id, placed.ordinal);
    if reason.is_replacement() && is_budget_spent(view) {
        let name = view.desired.pod_name(ordinal);
        let summary = format!("waiting to replace {name}: {BUDGET_SPENT}");
        return Plan::hold(view, State::Waiting, summary);
    }
    Plan::step(
        view,
        Step::NoteRemoval {
            id,
            ordinal,
            reason,
        },
    )
}

/// Whether as many replacements were begun within the hour as may be.
pub(super) fn is_budget_spent(view: &View<'_>) -> bool {
    let begun = view.observed.notes.replacements_within_the_hour(view.now);
    begun >= view.desired.replacements_per_hour_max
}

/// Why a voter can't be helped; `None` if it can, or is well.
pub(super) fn why_broken(view: &View<'_>, placed: &Placed<'_>) -> Option<Removal> {
    match view.presence(placed) {
        Presence::OtherDisk => Some(Removal::LostDisk),
        Presence::Silent | Presence::Unassigned => view
            .is_unresponsive(placed)
            .then_some(Removal::Unresponsive),
        // The only member's disk has nobody to take its place: it must not be touched.
        Presence::Here(_) if view.voters().len() == 1 => None,
        Presence::Here(_) if view.is_doomed(placed) => Some(Removal::DoomedDisk),
        Presence::Here(identity) => identity.rolled_back.then_some(Removal::RolledBack),
    }
}
