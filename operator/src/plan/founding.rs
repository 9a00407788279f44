//! From blank nodes to a complete cluster, once; and finding one that is already there.

use super::step::{Disk, Step};
use super::view::{Presence, View};
use super::{MemberNote, Placed, Plan, Slowness, State, in_flight};
use crate::api::MemberPhase;
use crate::observe::{Identity, OrdinalSeen};

/// Plans while `founded` isn't latched. `None`: a leader is there, and the cluster is completed
/// as any other is healed.
pub(super) fn plan(view: &View<'_>) -> Option<Plan> {
    let notes = &view.observed.notes;
    let mut identities = view.identities().peekable();
    if identities.peek().is_none()
        && notes
            .members
            .iter()
            .all(|n| n.phase != MemberPhase::Abandoned)
    {
        return Some(found(view));
    }
    if view.identities().any(|(_, identity)| identity.open) {
        // Open follows the latch, so the latch was lost, or the status was.
        let noted = notes
            .cluster_id
            .filter(|_| !view.noted_founding_came_to_nothing());
        return match (noted, view.leader) {
            (Some(_), _) => Some(Plan::step(view, Step::LatchFounded)),
            (None, Some(_)) => None,
            (None, None) => {
                let summary = "no leader with a quorum answers: nothing is touched";
                Some(Plan::hold(view, State::QuorumLost, summary))
            }
        };
    }
    if notes
        .members
        .iter()
        .any(|note| note.phase == MemberPhase::Abandoned)
    {
        return Some(wipe(view));
    }
    if view.leader.is_some() {
        // One lost disk is healed as ever. With two, each would wait for the other.
        let lost = |placed: &&Placed<'_>| view.presence(placed) == Presence::OtherDisk;
        let voters = view.voters();
        let is_hopeless = voters.iter().filter(lost).count() > 1;
        return is_hopeless.then(|| abandon(view)).flatten();
    }
    Some(abandon(view).unwrap_or_else(|| {
        Plan::hold(
            view,
            State::Founding,
            "waiting for a leader of the new cluster",
        )
    }))
}

/// Notes a cluster that is there, and members of it that aren't noted.
pub(super) fn adopt(view: &View<'_>) -> Option<Plan> {
    let leader = view.leader?;
    let notes = &view.observed.notes;
    let unknown: Vec<MemberNote> = view
        .members()
        .iter()
        .filter(|placed| notes.member(placed.member.id).is_none())
        .filter_map(|placed| note_of(view, placed))
        .collect();
    if notes.cluster_id == Some(leader.identity.cluster_id) && unknown.is_empty() {
        return None;
    }
    Some(Plan::step(
        view,
        Step::Adopt {
            cluster_id: leader.identity.cluster_id,
            members: unknown,
            founded: leader.identity.open,
        },
    ))
}

/// Latches `founded` once every wanted ordinal votes.
pub(super) fn latch(view: &View<'_>) -> Option<Plan> {
    (!view.observed.notes.founded).then(|| Plan::step(view, Step::LatchFounded))
}

/// Opens the cluster once `founded` was read back.
pub(super) fn open(view: &View<'_>) -> Option<Plan> {
    let leader = view.leader?;
    (view.observed.notes.founded && !leader.identity.open).then(|| Plan::step(view, Step::Open))
}

/// No node has data.
fn found(view: &View<'_>) -> Plan {
    let notes = &view.observed.notes;
    let founder = notes.members.iter().find(|note| note.ordinal == 0);
    if let (Some(cluster_id), Some(founder)) = (notes.cluster_id, founder)
        && view
            .node(0)
            .is_some_and(|node| node.incarnation == founder.incarnation)
    {
        return Plan::step(
            view,
            Step::Assign {
                ordinal: 0,
                incarnation: founder.incarnation,
                cluster_id,
                lineage: None,
                id: founder.id,
            },
        );
    }
    if let Some(plan) = wait_for_all(view) {
        return plan;
    }
    let disks = (0..view.desired.replicas)
        .filter_map(|ordinal| {
            Some(Disk {
                ordinal,
                incarnation: view.node(ordinal)?.incarnation,
                claim_uid: view.claim_uid(ordinal),
            })
        })
        .collect();
    Plan::step(view, Step::NoteFounding { disks })
}

/// Waits until every ordinal answers; `None` when all do.
fn wait_for_all(view: &View<'_>) -> Option<Plan> {
    let silent = ordinals(view).find(|ordinal| view.node(*ordinal).is_none())?;
    let renewed = ordinals(view).find_map(|ordinal| in_flight::renew_idle_pod(view, ordinal));
    Some(renewed.unwrap_or_else(|| {
        let name = view.desired.pod_name(silent);
        Plan::hold(
            view,
            State::Founding,
            format!("waiting for {name} to answer"),
        )
    }))
}

/// Ordinals that exist or shall.
fn ordinals(view: &View<'_>) -> impl Iterator<Item = u32> + use<> {
    let wanted = view.desired.replicas;
    let asked = view
        .observed
        .statefulset
        .as_ref()
        .map_or(0, |set| set.replicas);
    let present = view
        .observed
        .ordinals
        .keys()
        .next_back()
        .map_or(0, |last| last + 1);
    0..wanted.max(asked).max(present)
}

/// Gives a founding up that lost a disk: only if every node answers, so that none can be open,
/// and none is.
fn abandon(view: &View<'_>) -> Option<Plan> {
    if let Some(wait) = wait_for_all(view) {
        return Some(wait);
    }
    let (_, newest) = view
        .identities()
        .max_by_key(|(_, identity)| identity.config_index)?;
    if !lost_a_disk(view, newest) {
        return None;
    }
    let members = view
        .identities()
        .filter_map(|(ordinal, identity)| {
            Some(MemberNote {
                id: identity.member_id,
                ordinal,
                incarnation: view.node(ordinal)?.incarnation,
                claim_uid: view.claim_uid(ordinal),
                phase: MemberPhase::Abandoned,
                since: view.now,
                slowness: Slowness::default(),
            })
        })
        .collect();
    Some(Plan::step(
        view,
        Step::AbandonFounding {
            cluster_id: newest.cluster_id,
            members,
        },
    ))
}

fn lost_a_disk(view: &View<'_>, identity: &Identity) -> bool {
    identity.members.iter().any(|member| {
        view.desired
            .ordinal_of(&member.name)
            .is_some_and(|ordinal| {
                view.presence(&Placed { ordinal, member }) == Presence::OtherDisk
            })
    })
}

/// Wipes the disks of an abandoned founding, then begins anew.
fn wipe(view: &View<'_>) -> Plan {
    let notes = &view.observed.notes;
    for note in notes
        .members
        .iter()
        .filter(|note| note.phase == MemberPhase::Abandoned)
    {
        let Some(seen) = view.seen(note.ordinal) else {
            continue;
        };
        if let Some(plan) = wipe_ordinal(view, note, seen) {
            return plan;
        }
    }
    if let Some(plan) = wait_for_all(view) {
        return plan;
    }
    found(view)
}

fn wipe_ordinal(view: &View<'_>, note: &MemberNote, seen: &OrdinalSeen) -> Option<Plan> {
    let is_blank = seen
        .node
        .as_ref()
        .is_some_and(|node| node.identity.is_none());
    let claim = seen.claim.as_ref()?;
    if is_blank || claim.uid != note.claim_uid {
        return None;
    }
    Some(in_flight::wipe_disk(view, note.ordinal))
}

/// The note of a member that the leader knows; `None` while its disk is unknown.
fn note_of(view: &View<'_>, placed: &Placed<'_>) -> Option<MemberNote> {
    let incarnation = placed
        .member
        .incarnation
        .or_else(|| match view.presence(placed) {
            Presence::Here(_) => view.node(placed.ordinal).map(|node| node.incarnation),
            Presence::Unassigned | Presence::OtherDisk | Presence::Silent => None,
        })?;
    let phase = if placed.member.is_learner {
        MemberPhase::Joining
    } else {
        MemberPhase::Active
    };
    Some(MemberNote {
        id: placed.member.id,
        ordinal: placed.ordinal,
        incarnation,
        claim_uid: view.claim_uid(placed.ordinal),
        phase,
        since: view.now,
        slowness: Slowness::default(),
    })
}
