//! The operator's notes, in the status and out of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::{MemberStatus, RaftClusterStatus, SlowStatus, SwapStatus};
use crate::plan::{Leadership, MemberNote, Notes, Slowness, SwapNote};

/// Reads notes. What makes no sense is dropped: the members are asked anyway.
pub fn notes_of(status: &RaftClusterStatus) -> Notes {
    Notes {
        founded: status.founded,
        cluster_id: status.cluster_id.as_deref().and_then(|id| id.parse().ok()),
        members: status.members.iter().filter_map(note_of).collect(),
        replacements: status.replacements.iter().map(|at| at.0).collect(),
        leadership: leadership_of(status),
        swap: status.swap.as_ref().and_then(swap_of),
    }
}

/// Writes notes; of members only what [`super::compute`] doesn't write itself.
pub(super) fn write(notes: &Notes, status: &mut RaftClusterStatus) {
    status.founded = notes.founded;
    status.cluster_id = notes.cluster_id.map(|id| id.to_string());
    status.replacements = notes.replacements.iter().copied().map(Time).collect();
    status.swap = notes.swap.as_ref().map(|swap| SwapStatus {
        id: swap.id.to_string(),
        ordinal: i32::try_from(swap.ordinal).unwrap_or(i32::MAX),
        extra: i32::try_from(swap.extra).unwrap_or(i32::MAX),
        since: Time(swap.since),
    });
    status.leader_since = notes
        .leadership
        .as_ref()
        .map(|leadership| Time(leadership.since));
}

fn note_of(member: &MemberStatus) -> Option<MemberNote> {
    Some(MemberNote {
        id: member.id.parse().ok()?,
        ordinal: u32::try_from(member.ordinal).ok()?,
        incarnation: member.incarnation.parse().ok()?,
        claim_uid: member.claim_uid.clone(),
        phase: member.phase,
        since: member
            .phase_since
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |since| since.0),
        slowness: member.slow.as_ref().map(slowness_of).unwrap_or_default(),
    })
}

fn slowness_of(slow: &SlowStatus) -> Slowness {
    let minutes = slow.minutes.parse().unwrap_or_default();
    let until = slow.until.as_ref().map(|until| until.0.as_second() / 60);
    Slowness::noted(minutes, until, slow.since.as_ref().map(|since| since.0))
}

/// `None` for a member that wasn't seen slow.
pub(super) fn slow_status(slowness: &Slowness) -> Option<SlowStatus> {
    if *slowness == Slowness::default() {
        return None;
    }
    let until = slowness.until();
    Some(SlowStatus {
        since: slowness.since.map(Time),
        minutes: until
            .map(|_| slowness.minutes.to_string())
            .unwrap_or_default(),
        until: until.map(Time),
    })
}

fn swap_of(swap: &SwapStatus) -> Option<SwapNote> {
    Some(SwapNote {
        id: swap.id.parse().ok()?,
        ordinal: u32::try_from(swap.ordinal).ok()?,
        extra: u32::try_from(swap.extra).ok()?,
        since: swap.since.0,
    })
}

fn leadership_of(status: &RaftClusterStatus) -> Option<Leadership> {
    Some(Leadership {
        pod: status.leader.clone()?,
        term: u64::try_from(status.term?).ok()?,
        since: status.leader_since.as_ref()?.0,
    })
}
