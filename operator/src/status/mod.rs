//! The status, computed from one observation and the plan made of it.
//!
//! Each condition is one pure function in one file. The status is written on transitions;
//! numbers that change all the time ride along, and by themselves are written rarely.

mod conditions;
mod ledger_exported;
mod node_lost;
mod notes;
mod quorum_healthy;
mod ready;
mod reconciling;
mod stalled;

#[cfg(test)]
mod status_test;

use std::time::Duration;

use crate::api::{Desired, MemberRole, MemberStatus, RaftClusterStatus};
use crate::observe::{Now, Observed};
use crate::plan::{Notes, Plan, View};
use crate::resources::{COMPONENT_NODE, selector_text};

pub use conditions::{Verdict, has_become, is_true};
pub use notes::notes_of;

/// How rarely numbers alone are written.
pub const NUMBERS_INTERVAL: Duration = Duration::from_secs(30);

/// What a status is computed from.
pub(crate) struct Inputs<'a> {
    pub(crate) view: View<'a>,
    pub(crate) plan: &'a Plan,
    /// What Kubernetes refused, and will refuse until somebody edits something.
    pub(crate) refused: Option<&'a str>,
}

/// The status to report. `refused` says what of the plan Kubernetes refused to take.
pub fn compute(
    desired: &Desired,
    observed: &Observed,
    plan: &Plan,
    notes: &Notes,
    refused: Option<&str>,
    previous: &RaftClusterStatus,
    now: Now,
) -> RaftClusterStatus {
    let inputs = Inputs {
        view: View::new(desired, "", observed, now),
        plan,
        refused,
    };
    let view = &inputs.view;
    let conditions = [
        Some(("Ready", ready::condition(&inputs))),
        Some(("Reconciling", reconciling::condition(&inputs))),
        Some(("Stalled", stalled::condition(&inputs))),
        Some(("QuorumHealthy", quorum_healthy::condition(&inputs))),
        ledger_exported::condition(&inputs).map(|verdict| ("LedgerExported", verdict)),
        node_lost::condition(&inputs).map(|verdict| ("NodeLost", verdict)),
    ];
    let (voters, ready) = count(view, previous);
    let mut status = RaftClusterStatus {
        observed_generation: Some(desired.generation),
        leader: view.leader.map(|leader| desired.pod_name(leader.ordinal)),
        term: view
            .identities()
            .map(|(_, identity)| identity.term)
            .max()
            .and_then(|term| i64::try_from(term).ok())
            .or(previous.term),
        replicas: voters,
        ready_replicas: ready,
        selector: Some(selector_text(&desired.name, COMPONENT_NODE)),
        image: Some(desired.image.clone()),
        members: members(view, notes, previous),
        ledger_windows_lost: view
            .leader
            .and_then(|leader| i64::try_from(leader.identity.ledger.lost).ok())
            .filter(|lost| *lost > 0)
            .or(previous.ledger_windows_lost),
        plan: Some(plan.summary.clone()),
        conditions: conditions::merge(
            &previous.conditions,
            conditions.into_iter().flatten(),
            desired.generation,
            now,
        ),
        ..RaftClusterStatus::default()
    };
    notes::write(notes, &mut status);
    status
}

/// The status of a cluster whose spec makes no sense: everything else stays as it was.
pub fn invalid(
    previous: &RaftClusterStatus,
    generation: i64,
    message: String,
    now: Now,
) -> RaftClusterStatus {
    let stalled = Verdict {
        is_true: Some(true),
        reason: "InvalidSpec",
        message: message.clone(),
    };
    let kept = previous
        .conditions
        .iter()
        .filter(|known| known.type_ != "Stalled")
        .cloned();
    let mut conditions: Vec<_> = kept.collect();
    conditions.extend(conditions::merge(
        &previous.conditions,
        [("Stalled", stalled)],
        generation,
        now,
    ));
    RaftClusterStatus {
        observed_generation: Some(generation),
        conditions,
        plan: Some(message),
        ..previous.clone()
    }
}

/// Whether a status is worth writing: always if more than numbers changed.
pub fn is_worth_writing(
    previous: &RaftClusterStatus,
    next: &RaftClusterStatus,
    since_numbers: Duration,
) -> bool {
    let without_numbers = |status: &RaftClusterStatus| {
        let mut status = status.clone();
        // That some are lost is no number.
        status.ledger_windows_lost = status.ledger_windows_lost.map(|_| 0);
        for member in &mut status.members {
            member.score = None;
            member.fast_score = None;
            member.rank = None;
            member.last_verdict = None;
            // That it fails slowly, or doesn't any more, is no number.
            member.slow = member.slow.take().filter(|slow| slow.since.is_some());
            if let Some(slow) = &mut member.slow {
                slow.minutes.clear();
                slow.until = None;
            }
        }
        status
    };
    previous != next
        && (since_numbers >= NUMBERS_INTERVAL || without_numbers(previous) != without_numbers(next))
}

/// Voters, and those of them whose pod is ready. Without a leader, the voters last known.
fn count(view: &View<'_>, previous: &RaftClusterStatus) -> (i32, i32) {
    let is_ready = |ordinal: u32| view.pod(ordinal).is_some_and(|pod| pod.ready);
    let size = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    if view.leader.is_some() {
        let voters = view.voters();
        let ready = voters
            .iter()
            .filter(|placed| is_ready(placed.ordinal))
            .count();
        return (size(voters.len()), size(ready));
    }
    let voting = previous
        .members
        .iter()
        .filter(|member| matches!(member.role, Some(MemberRole::Follower | MemberRole::Leader)));
    let ready = voting
        .filter(|member| u32::try_from(member.ordinal).is_ok_and(is_ready))
        .count();
    (previous.replicas, size(ready))
}

fn members(view: &View<'_>, notes: &Notes, previous: &RaftClusterStatus) -> Vec<MemberStatus> {
    let placed = view.members();
    let ranks = view.ranks();
    notes
        .members
        .iter()
        .map(|note| {
            let id = note.id.to_string();
            let known = previous.members.iter().find(|member| member.id == id);
            let member = placed.iter().find(|placed| placed.member.id == note.id);
            let role = match member {
                Some(placed) if view.is_leader(placed.member.id) => Some(MemberRole::Leader),
                Some(placed) if placed.member.is_learner => Some(MemberRole::Learner),
                Some(_) => Some(MemberRole::Follower),
                None if view.leader.is_some() => None,
                None => known.and_then(|known| known.role).map(|role| match role {
                    MemberRole::Leader | MemberRole::Follower => MemberRole::Follower,
                    MemberRole::Learner => MemberRole::Learner,
                }),
            };
            let verdict = member.map(|placed| placed.member.last_verdict.clone());
            MemberStatus {
                id,
                ordinal: i32::try_from(note.ordinal).unwrap_or(i32::MAX),
                incarnation: note.incarnation.to_string(),
                claim_uid: note.claim_uid.clone(),
                role,
                phase: note.phase,
                phase_since: Some(note.since.into()),
                score: member
                    .map(|placed| placed.member.score)
                    .or(known.and_then(|known| known.score)),
                fast_score: match member {
                    Some(placed) => placed.member.fast_score,
                    None => known.and_then(|known| known.fast_score),
                },
                rank: match view.leader {
                    Some(_) => ranks
                        .get(&note.id)
                        .and_then(|rank| i32::try_from(*rank).ok()),
                    None => known.and_then(|known| known.rank),
                },
                last_verdict: verdict
                    .filter(|verdict| !verdict.is_empty())
                    .or(known.and_then(|known| known.last_verdict.clone())),
                slow: notes::slow_status(&note.slowness),
            }
        })
        .collect()
}
