//! Pods whose template changed, one at a time: broken ones first, then followers, most lagging
//! first, the leader last and after it handed leadership over.

use super::step::Step;
use super::view::{Placed, Presence, View};
use super::{Plan, gate};
use crate::observe::PodSeen;

/// Sets what all members share to what the spec says.
pub(super) fn configure(view: &View<'_>) -> Option<Plan> {
    let scoring = view.desired.scoring;
    (view.leader?.identity.scoring != scoring)
        .then(|| Plan::step(view, Step::Configure { scoring }))
}

/// Deletes the next pod with an old template; `None` when there is none.
pub(super) fn plan(view: &View<'_>) -> Option<Plan> {
    let voters = view.voters();
    let mut outdated: Vec<(&Placed<'_>, &PodSeen)> = voters
        .iter()
        .filter_map(|placed| Some((placed, view.pod(placed.ordinal)?)))
        .filter(|(_, pod)| view.is_outdated(pod))
        .collect();
    outdated.sort_by_key(|(placed, pod)| {
        let is_leader = view.is_leader(placed.member.id);
        let is_well = pod.ready && matches!(view.presence(placed), Presence::Here(_));
        (
            is_leader,
            is_well,
            placed.member.match_index,
            placed.ordinal,
        )
    });
    let (placed, pod) = *outdated.first()?;
    let name = view.desired.pod_name(placed.ordinal);
    if !view.template_is_settled() {
        let summary = "waiting for the StatefulSet to take note of its new template";
        return Some(Plan::wait(view, summary));
    }
    if pod.terminating {
        return Some(Plan::wait(view, format!("waiting for pod {name} to end")));
    }
    if view.is_doomed(placed) {
        let summary =
            format!("not rolling {name}: its volume claim is being deleted, and would go");
        return Some(Plan::wait(view, summary));
    }
    let obstacle = gate::check(view, placed.member.id).and_then(|()| others_ready(view, placed));
    if let Err(obstacle) = obstacle {
        return Some(Plan::wait(
            view,
            format!("waiting to roll {name}: {obstacle}"),
        ));
    }
    if view.is_leader(placed.member.id) && voters.len() > 1 {
        return Some(transfer_or_wait(view, placed.ordinal));
    }
    Some(Plan::step(view, delete_pod(placed.ordinal, pod)))
}

/// Deletes a pod as its template says: gracefully.
pub(super) fn delete_pod(ordinal: u32, pod: &PodSeen) -> Step {
    Step::DeletePod {
        ordinal,
        uid: pod.uid.clone(),
        grace_seconds: None,
    }
}

/// Moves leadership off an ordinal, to the voter that stays, is up to date and lags least.
pub(super) fn transfer_or_wait(view: &View<'_>, from: u32) -> Plan {
    let next = view
        .voters()
        .into_iter()
        .filter(|placed| placed.ordinal != from)
        .filter(|placed| matches!(view.presence(placed), Presence::Here(_)))
        .filter(|placed| placed.member.active && placed.member.caught_up)
        .max_by_key(|placed| {
            let stays = placed.ordinal < view.desired.replicas;
            let is_new = view
                .pod(placed.ordinal)
                .is_some_and(|pod| !view.is_outdated(pod));
            (
                stays,
                is_new,
                placed.member.match_index,
                std::cmp::Reverse(placed.ordinal),
            )
        });
    match next {
        Some(placed) => Plan::step(
            view,
            Step::Transfer {
                from,
                to: placed.ordinal,
                id: placed.member.id,
                because: None,
            },
        ),
        None => Plan::wait(view, "waiting for a voter that could lead"),
    }
}

/// Clients of the other members must find them: the client service knows ready pods only.
fn others_ready(view: &View<'_>, disturbed: &Placed<'_>) -> Result<(), String> {
    let unready = view
        .voters()
        .into_iter()
        .filter(|placed| placed.ordinal != disturbed.ordinal)
        .find(|placed| !view.pod(placed.ordinal).is_some_and(|pod| pod.ready));
    match unready {
        Some(placed) => Err(format!(
            "{} isn't ready",
            view.desired.pod_name(placed.ordinal)
        )),
        None => Ok(()),
    }
}
