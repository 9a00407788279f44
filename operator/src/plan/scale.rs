//! More members, or fewer, one at a time.

use super::step::{Removal, Step};
use super::view::View;
use super::{Plan, State, gate, roll};
use crate::ids::MemberId;

/// Begins to grow or to shrink by one; `None` when the size is right.
pub(super) fn plan(view: &View<'_>) -> Option<Plan> {
    shrink(view).or_else(|| grow(view))
}

fn shrink(view: &View<'_>) -> Option<Plan> {
    let voters = view.voters();
    let top = voters
        .last()
        .filter(|placed| placed.ordinal >= view.places())?;
    let (id, ordinal) = (top.member.id, top.ordinal);
    if let Err(obstacle) = gate::check(view, id) {
        return Some(Plan::wait(view, format!("waiting to shrink: {obstacle}")));
    }
    if view.is_leader(id) {
        return Some(roll::transfer_or_wait(view, ordinal));
    }
    Some(Plan::step(
        view,
        Step::NoteRemoval {
            id,
            ordinal,
            reason: Removal::Shrink,
        },
    ))
}

fn grow(view: &View<'_>) -> Option<Plan> {
    let asked = view.observed.statefulset.as_ref()?.replicas;
    if asked >= view.places() {
        return None;
    }
    // No voter is disturbed, so none is excepted: all must be well before the quorum grows.
    const NOBODY: MemberId = MemberId(0);
    // Who is to be swapped needn't keep up.
    let excepted = view.swap().map_or(NOBODY, |swap| swap.id);
    if let Err(obstacle) = gate::check(view, excepted) {
        return Some(Plan::wait(view, format!("waiting to grow: {obstacle}")));
    }
    Some(Plan {
        state: State::Working,
        step: None,
        replicas: statefulset_replicas(view) + 1,
        summary: format!("grow: make room for {}", view.desired.pod_name(asked)),
    })
}

/// Pods to ask the StatefulSet for, if nothing is to grow: never fewer than hold members, notes
/// or, before the founding, claims; and more than wanted only as long as members live there.
pub(super) fn statefulset_replicas(view: &View<'_>) -> u32 {
    let notes = &view.observed.notes;
    let noted = notes
        .members
        .iter()
        .map(|note| note.ordinal + 1)
        .max()
        .unwrap_or(0);
    let claimed = view
        .observed
        .ordinals
        .iter()
        .filter(|(_, seen)| seen.claim.is_some())
        .map(|(ordinal, _)| ordinal + 1)
        .max()
        .unwrap_or(0);
    let wanted = view.places();
    let asked = view.observed.statefulset.as_ref().map(|set| set.replicas);
    match (notes.founded, asked) {
        (false, asked) => wanted.max(claimed).max(noted).max(asked.unwrap_or(0)),
        (true, None) => claimed.max(noted).max(1),
        (true, Some(asked)) => {
            let members = view.members().last().map(|placed| placed.ordinal + 1);
            match members {
                Some(members) => members.max(asked.min(wanted)),
                None => asked.max(noted),
            }
        }
    }
}
