//! What may happen next.

use super::state::{Role, State, TERM_MAX};
use crate::{Id, PROMISE_MAX, Term};

/// A step of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A tick of time passes, for everyone.
    Tick,
    /// The member's process ends and starts again. A process that is down is one that takes no
    /// steps, so this is the moment of its start.
    Restart(Id),
    /// The election timer fires, whatever its length and whatever delayed it.
    Campaign(Id),
    /// The candidate's request reaches the voter.
    AskForVote {
        /// Who asks.
        candidate: Id,
        /// Who is asked.
        voter: Id,
    },
    /// The candidate learns that a majority voted for it.
    Win(Id),
    /// The entry of the term's leader reaches a member, which writes it to its disk.
    Append {
        /// The leader's term.
        term: Term,
        /// The receiver.
        to: Id,
    },
    /// The leader's own disk finishes the write of its entry.
    Sync(Id),
    /// The leader learns that a majority has its entry, and acknowledges the write.
    Commit(Id),
    /// A heartbeat reaches a member, which counts it.
    Beat {
        /// The leader's term.
        term: Term,
        /// The receiver.
        to: Id,
        /// What the receiver promises: its timeout at this moment, at most [`PROMISE_MAX`].
        promise: u8,
    },
    /// A heartbeat reaches a member, which follows its sender but doesn't count it, for whatever
    /// reason: it promises nothing.
    BeatUncounted {
        /// The leader's term.
        term: Term,
        /// The receiver.
        to: Id,
    },
    /// The leader tells a member to campaign and goes on leading, as long as nobody takes over.
    HandOver {
        /// Who leads.
        leader: Id,
        /// Who shall.
        to: Id,
    },
    /// The leader tells a member to campaign and leads no more.
    Resign {
        /// Who led.
        leader: Id,
        /// Who shall.
        to: Id,
    },
    /// What the term's leader told this member reaches it.
    TakeOver {
        /// The term of the leader that asks.
        term: Term,
        /// Who is told.
        id: Id,
    },
    /// The leader gives up, for instance because it hears no majority.
    StepDown(Id),
}

/// Whatever might be possible; the rules refuse the rest.
pub(super) fn collect(state: &State, actions: &mut Vec<Action>) {
    actions.push(Action::Tick);
    for id in Id::all() {
        actions.push(Action::Restart(id));
        actions.push(Action::Sync(id));
        match state.of(id).role {
            Role::Follower { .. } => actions.push(Action::Campaign(id)),
            Role::Candidate { .. } => {
                actions.extend([Action::Campaign(id), Action::Win(id)]);
                actions.extend(id.others().map(|voter| Action::AskForVote {
                    candidate: id,
                    voter,
                }));
            }
            Role::Leader { .. } => {
                actions.extend([Action::Commit(id), Action::StepDown(id)]);
                for to in id.others() {
                    actions.push(Action::HandOver { leader: id, to });
                    actions.push(Action::Resign { leader: id, to });
                }
            }
        }
    }
    for term in (1..=TERM_MAX.0).map(Term) {
        if let Some(leader) = state.terms[term.at()].leader {
            for to in leader.others() {
                from_leader(term, to, actions);
            }
        }
    }
}

/// What a leader of this term may have sent to `to`.
fn from_leader(term: Term, to: Id, actions: &mut Vec<Action>) {
    actions.push(Action::Append { term, to });
    actions.push(Action::BeatUncounted { term, to });
    actions.push(Action::TakeOver { term, id: to });
    actions.extend((1..=PROMISE_MAX).map(|promise| Action::Beat { term, to, promise }));
}
