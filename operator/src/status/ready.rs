//! `Ready`: all wanted members vote and are ready, and one of them leads. MongoDB isn't asked.

use super::Inputs;
use super::conditions::Verdict;

pub(super) fn condition(inputs: &Inputs<'_>) -> Verdict {
    let view = &inputs.view;
    let wanted = view.desired.replicas;
    let Some(leader) = view.leader else {
        return if view.observed.notes.founded {
            Verdict::no("NoLeader", "no leader with a quorum answers")
        } else {
            Verdict::no("Founding", "the cluster isn't complete yet")
        };
    };
    if !leader.identity.open {
        return Verdict::no("Founding", "the cluster isn't open to clients yet");
    }
    let voters = view.voters();
    if voters.len() != wanted as usize {
        let message = format!("{} members vote, {wanted} are wanted", voters.len());
        return Verdict::no("WrongSize", message);
    }
    let unready = voters
        .iter()
        .find(|placed| !view.pod(placed.ordinal).is_some_and(|pod| pod.ready));
    if let Some(placed) = unready {
        let name = view.desired.pod_name(placed.ordinal);
        return Verdict::no("PodNotReady", format!("pod {name} isn't ready"));
    }
    Verdict::yes("AllMembersReady", "all members vote and are ready")
}
