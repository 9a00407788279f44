//! `QuorumHealthy`: a leader hears a quorum.

use super::Inputs;
use super::conditions::Verdict;

pub(super) fn condition(inputs: &Inputs<'_>) -> Verdict {
    let view = &inputs.view;
    let Some(leader) = view.leader else {
        return if view.observed.notes.founded {
            Verdict::no("NoLeader", "no leader with a quorum answers")
        } else {
            Verdict::unknown("Founding", "the cluster isn't complete yet")
        };
    };
    let unheard: Vec<String> = view
        .voters()
        .iter()
        .filter(|placed| !placed.member.active && placed.member.id != leader.identity.member_id)
        .map(|placed| view.desired.pod_name(placed.ordinal))
        .collect();
    if unheard.is_empty() {
        Verdict::yes("AllVotersHeard", "the leader hears every voter")
    } else {
        let message = format!("the leader hears a quorum, but not {}", unheard.join(", "));
        Verdict::yes("SomeVotersUnheard", message)
    }
}
