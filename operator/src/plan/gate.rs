//! The one gate before everything that disturbs a voter.

use super::view::{Presence, View};
use crate::api::MemberPhase;
use crate::ids::MemberId;

/// Whether the voter `disturbed` may be disturbed now: all other voters answer, are heard by the
/// leader and are caught up, no other step is in flight, and no machine is lost. `Err` says what
/// is in the way.
pub(super) fn check(view: &View<'_>, disturbed: MemberId) -> Result<(), String> {
    check_beside(view, disturbed, None)
}

/// The same while the learner `joining` is there to take the place of `disturbed`.
pub(super) fn check_beside(
    view: &View<'_>,
    disturbed: MemberId,
    joining: Option<MemberId>,
) -> Result<(), String> {
    if let Some(pod) = view.lost_pod() {
        return Err(format!("{pod} can't end because its machine is lost"));
    }
    let mut learners = view.learners().into_iter();
    if let Some(learner) = learners.find(|learner| Some(learner.member.id) != joining) {
        return Err(format!(
            "{} is still joining",
            view.desired.pod_name(learner.ordinal)
        ));
    }
    let in_flight = view
        .observed
        .notes
        .members
        .iter()
        .find(|note| note.phase == MemberPhase::Removing && note.id != disturbed);
    if let Some(note) = in_flight {
        return Err(format!(
            "{} is still being removed",
            view.desired.pod_name(note.ordinal)
        ));
    }
    for placed in view
        .voters()
        .iter()
        .filter(|placed| placed.member.id != disturbed)
    {
        let name = view.desired.pod_name(placed.ordinal);
        if !matches!(view.presence(placed), Presence::Here(_)) {
            return Err(format!("{name} doesn't answer as the member it should be"));
        }
        // It still answers, and is about to stop.
        if view.pod(placed.ordinal).is_none_or(|pod| pod.terminating) {
            return Err(format!("the pod of {name} is ending"));
        }
        if view.is_leader(placed.member.id) {
            continue;
        }
        if !placed.member.active {
            return Err(format!("the leader doesn't hear {name}"));
        }
        if !placed.member.caught_up {
            return Err(format!("{name} isn't caught up"));
        }
    }
    Ok(())
}
