//! Finishing what was begun: removals, learners, joins.

use super::step::{Disk, Removal, Step};
use super::view::{Placed, Presence, View};
use super::{MemberNote, Plan, fail_slow, gate, replace, roll};
use crate::api::MemberPhase;
use crate::observe::NodeReport;

/// Seconds a pod gets to end whose disk is being thrown away. Never 0: that would be a forced
/// deletion, after which two pods of one name may run.
const WIPED_POD_GRACE_SECONDS: u32 = 1;

/// Plans the next part of whatever is in flight; `None` if nothing is.
pub(super) fn plan(view: &View<'_>) -> Option<Plan> {
    let notes = &view.observed.notes.members;
    let removal = notes
        .iter()
        .filter(|note| note.phase == MemberPhase::Removing || view.is_swapped_out(note.id))
        .find_map(|note| finish_removal(view, note));
    removal
        .or_else(|| notes.iter().find_map(|note| forget_removed(view, note)))
        .or_else(|| {
            view.learners()
                .first()
                .map(|learner| finish_learner(view, learner))
        })
        .or_else(|| {
            let joining =
                |note: &&MemberNote| note.phase == MemberPhase::Joining && !view.is_member(note.id);
            notes
                .iter()
                .filter(joining)
                .find_map(|note| finish_join(view, note))
        })
        .or_else(|| unclaimed(view).find_map(|ordinal| begin_join(view, ordinal)))
}

/// Waits for wanted ordinals that have a pod to come and no member yet. Comes after replacement:
/// such an ordinal must not keep a broken voter from being healed.
pub(super) fn missing(view: &View<'_>) -> Option<Plan> {
    let members = view.members();
    let ordinal = (0..existing(view))
        .find(|ordinal| members.iter().all(|placed| placed.ordinal != *ordinal))?;
    let name = view.desired.pod_name(ordinal);
    Some(Plan::wait(view, format!("waiting for {name} to answer")))
}

/// Waits for voters that don't answer or aren't ready: there may be nothing to do for them, but
/// all isn't as it shall be.
pub(super) fn unwell(view: &View<'_>) -> Option<Plan> {
    view.voters().into_iter().find_map(|placed| {
        let name = view.desired.pod_name(placed.ordinal);
        if !matches!(view.presence(&placed), Presence::Here(_)) {
            return Some(Plan::wait(view, format!("waiting for {name} to answer")));
        }
        let is_ready = view.pod(placed.ordinal).is_some_and(|pod| pod.ready);
        (!is_ready).then(|| Plan::wait(view, format!("waiting for {name} to be ready")))
    })
}

/// Deletes the claim at an ordinal, then its pod: the claim stays until the pod is gone, and the
/// StatefulSet makes neither anew before.
pub(super) fn wipe_disk(view: &View<'_>, ordinal: u32) -> Plan {
    let name = view.desired.pod_name(ordinal);
    let claim = view.seen(ordinal).and_then(|seen| seen.claim.as_ref());
    if let Some(claim) = claim.filter(|claim| !claim.terminating) {
        return Plan::step(
            view,
            Step::DeleteClaim {
                ordinal,
                uid: claim.uid.clone(),
            },
        );
    }
    match view.pod(ordinal) {
        Some(pod) if !pod.terminating => Plan::step(
            view,
            Step::DeletePod {
                ordinal,
                uid: pod.uid.clone(),
                grace_seconds: Some(WIPED_POD_GRACE_SECONDS),
            },
        ),
        Some(_) => Plan::wait(view, format!("waiting for pod {name} to end")),
        None => Plan::wait(
            view,
            format!("waiting for the volume claim of {name} to go"),
        ),
    }
}

/// Deletes a pod that carries no member, doesn't answer, and was made from an old template:
/// nothing else would get it out of, say, an image that can't be pulled.
pub(super) fn renew_idle_pod(view: &View<'_>, ordinal: u32) -> Option<Plan> {
    let pod = view.pod(ordinal)?;
    let is_stuck = view.node(ordinal).is_none() && view.is_outdated(pod) && !pod.terminating;
    (is_stuck && view.template_is_settled())
        .then(|| Plan::step(view, roll::delete_pod(ordinal, pod)))
}

/// Wanted ordinals that the StatefulSet has a pod for.
fn existing(view: &View<'_>) -> u32 {
    let asked = view
        .observed
        .statefulset
        .as_ref()
        .map_or(0, |set| set.replicas);
    asked.min(view.places())
}

/// Ordinals that have neither member nor note.
fn unclaimed(view: &View<'_>) -> impl Iterator<Item = u32> {
    let members = view.members();
    let notes = &view.observed.notes.members;
    (0..existing(view)).filter(move |ordinal| {
        members.iter().all(|placed| placed.ordinal != *ordinal)
            && notes.iter().all(|note| note.ordinal != *ordinal)
    })
}

fn finish_removal(view: &View<'_>, note: &MemberNote) -> Option<Plan> {
    let members = view.members();
    match members.iter().find(|placed| placed.member.id == note.id) {
        Some(placed) => Some(remove(view, placed)),
        None => Some(clean_up(view, note)),
    }
}

/// The ID is still in the configuration.
fn remove(view: &View<'_>, placed: &Placed<'_>) -> Plan {
    let (id, ordinal) = (placed.member.id, placed.ordinal);
    let is_surplus = ordinal >= view.places();
    let is_back = match view.presence(placed) {
        Presence::Here(identity) => !view.is_doomed(placed) && !identity.rolled_back,
        Presence::Silent | Presence::Unassigned => placed.member.active,
        Presence::OtherDisk => false,
    };
    if is_back && !is_surplus {
        return Plan::step(view, Step::CancelRemoval { id, ordinal });
    }
    if !placed.member.is_learner {
        if let Err(obstacle) = gate::check(view, id) {
            if is_back {
                // Nothing was done yet, and somebody else needs help first.
                return Plan::step(view, Step::CancelRemoval { id, ordinal });
            }
            let name = view.desired.pod_name(ordinal);
            return Plan::wait(view, format!("waiting to remove {name}: {obstacle}"));
        }
        if view.is_leader(id) {
            return roll::transfer_or_wait(view, ordinal);
        }
    }
    let config_index = view.leader.map_or(0, |leader| leader.identity.config_index);
    Plan::step(
        view,
        Step::Remove {
            id,
            ordinal,
            config_index,
        },
    )
}

/// The ID is out of the configuration: its disk must go before its note does.
fn clean_up(view: &View<'_>, note: &MemberNote) -> Plan {
    let ordinal = note.ordinal;
    let forget = || {
        Plan::step(
            view,
            Step::Forget {
                id: note.id,
                ordinal,
            },
        )
    };
    let Some(seen) = view.seen(ordinal) else {
        return forget();
    };
    let holds_old_disk = seen
        .claim
        .as_ref()
        .is_some_and(|claim| claim.uid == note.claim_uid);
    let is_blank = seen
        .node
        .as_ref()
        .is_some_and(|node| node.identity.is_none());
    if !holds_old_disk {
        return forget();
    }
    let has_place = ordinal
        < view
            .observed
            .statefulset
            .as_ref()
            .map_or(0, |set| set.replicas);
    if is_blank && ordinal < view.places() {
        // The volume was emptied: there is nothing left to wipe.
        return forget();
    }
    if !has_place && seen.pod.is_some() {
        let name = view.desired.pod_name(ordinal);
        return Plan::wait(view, format!("waiting for pod {name} to end"));
    }
    let shrinks = view.observed.notes.founded && is_top(view, ordinal);
    if has_place && ordinal >= view.places() && shrinks {
        // The StatefulSet shrinks first; its pod then ends in peace.
        let name = view.desired.pod_name(ordinal);
        return Plan::wait(
            view,
            format!("waiting for the StatefulSet to give {name} up"),
        );
    }
    wipe_disk(view, ordinal)
}

/// No member lives above this ordinal, so the StatefulSet can shrink past it.
fn is_top(view: &View<'_>, ordinal: u32) -> bool {
    view.members().iter().all(|placed| placed.ordinal < ordinal)
}

/// Drops notes of members that were removed behind the operator's back.
fn forget_removed(view: &View<'_>, note: &MemberNote) -> Option<Plan> {
    let is_removed = view.leader?.identity.removed.contains(&note.id);
    let left = matches!(note.phase, MemberPhase::Active | MemberPhase::Unreachable)
        && !view.is_member(note.id);
    (is_removed || left)
        .then(|| {
            Plan::step(
                view,
                Step::Forget {
                    id: note.id,
                    ordinal: note.ordinal,
                },
            )
        })
        .filter(|_| note.phase != MemberPhase::Removing)
}

fn finish_learner(view: &View<'_>, placed: &Placed<'_>) -> Plan {
    let (id, ordinal) = (placed.member.id, placed.ordinal);
    let name = view.desired.pod_name(ordinal);
    if ordinal >= view.places() {
        return Plan::step(
            view,
            Step::NoteRemoval {
                id,
                ordinal,
                reason: Removal::Shrink,
            },
        );
    }
    match view.presence(placed) {
        Presence::Unassigned => assign(view, placed),
        Presence::Here(_) if placed.member.caught_up && placed.member.active => {
            if let Some(swap) = view.swap().filter(|swap| swap.extra == ordinal) {
                return fail_slow::swap(view, swap, placed);
            }
            let config_index = view.leader.map_or(0, |leader| leader.identity.config_index);
            Plan::step(
                view,
                Step::Promote {
                    id,
                    ordinal,
                    config_index,
                },
            )
        }
        Presence::Here(_) => Plan::wait(view, format!("waiting for {name} to catch up")),
        Presence::OtherDisk => replace::begin(view, placed, Removal::LostDisk),
        Presence::Silent if view.is_unresponsive(placed) => {
            replace::begin(view, placed, Removal::Unresponsive)
        }
        Presence::Silent => renew_idle_pod(view, ordinal)
            .unwrap_or_else(|| Plan::wait(view, format!("waiting for {name} to answer"))),
    }
}

fn assign(view: &View<'_>, placed: &Placed<'_>) -> Plan {
    let (Some(leader), Some(node)) = (view.leader, view.node(placed.ordinal)) else {
        return Plan::wait(view, "waiting for a leader");
    };
    Plan::step(
        view,
        Step::Assign {
            ordinal: placed.ordinal,
            incarnation: node.incarnation,
            cluster_id: leader.identity.cluster_id,
            lineage: Some(leader.identity.lineage),
            id: placed.member.id,
        },
    )
}

/// An intent that isn't in the configuration. `None`: nothing can be done for it now.
fn finish_join(view: &View<'_>, note: &MemberNote) -> Option<Plan> {
    let ordinal = note.ordinal;
    let forget = || {
        Plan::step(
            view,
            Step::Forget {
                id: note.id,
                ordinal,
            },
        )
    };
    let is_taken = view
        .members()
        .iter()
        .any(|placed| placed.ordinal == ordinal);
    if ordinal >= view.places() || is_taken {
        return Some(forget());
    }
    let Some(NodeReport {
        incarnation,
        identity,
    }) = view.node(ordinal)
    else {
        return renew_idle_pod(view, ordinal);
    };
    if identity.is_some() || *incarnation != note.incarnation {
        return Some(forget());
    }
    let config_index = view.leader?.identity.config_index;
    let incarnation = *incarnation;
    Some(Plan::step(
        view,
        Step::AddLearner {
            id: note.id,
            ordinal,
            incarnation,
            config_index,
        },
    ))
}

/// A wanted ordinal that nothing is known of. `None`: its node must answer first.
fn begin_join(view: &View<'_>, ordinal: u32) -> Option<Plan> {
    let seen = view.seen(ordinal)?;
    let is_leftover = match &seen.node {
        Some(NodeReport {
            incarnation,
            identity: None,
        }) => {
            let claim_uid = view.claim_uid(ordinal);
            let disk = Disk {
                ordinal,
                incarnation: *incarnation,
                claim_uid,
            };
            let claim_goes = seen.claim.as_ref().is_some_and(|claim| claim.terminating);
            if !claim_goes {
                return Some(Plan::step(view, Step::NoteJoin { disk }));
            }
            true
        }
        // An identity that the leader doesn't know as member was removed.
        Some(NodeReport {
            identity: Some(_), ..
        }) => true,
        None => {
            let ended = seen.pod.as_ref().is_some_and(|pod| pod.ended_as_removed);
            let claim_goes = seen.claim.as_ref().is_some_and(|claim| claim.terminating);
            ended || (claim_goes && seen.pod.is_some())
        }
    };
    if is_leftover {
        return Some(wipe_disk(view, ordinal));
    }
    renew_idle_pod(view, ordinal)
}
