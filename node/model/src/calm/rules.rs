//! The rules of a calm: beats, timers and campaigns.

use super::Patience;
use super::state::{Member, State};
use crate::{Defect, PROMISE_MAX, QUORUM, Term};

/// The shortest stall that is too long. Twice the longer timeout here, as 1 s is for 500 ms.
pub const STALL_MIN: u8 = 6;

/// How often tolerance doubles at most (6 in the product).
pub const PATIENCE_MAX: u8 = 3;

/// Time passes, then the leader's heartbeats arrive.
pub(super) fn tick(state: &mut State) {
    state.left -= 1;
    if let Some(stall) = &mut state.stall {
        *stall += 1;
    }
    let stall = state.stall;
    for member in &mut state.members {
        member.timer = member.timer.saturating_sub(1);
        member.hears = member.hears.saturating_sub(1);
        member.bound = member.bound.saturating_sub(1);
        if stall.is_some_and(|stall| counts(member, stall)) {
            member.timer = member.span;
            member.hears = member.timeout;
            member.bound = member.bound.max(member.timeout.min(PROMISE_MAX));
        }
    }
}

/// Whether the member counts a heartbeat of a leader that has stalled for this long.
fn counts(member: &Member, stall: u8) -> bool {
    stall <= STALL_MIN.max(2 * member.timeout) << member.patience
}

/// The member asks the others for their pre-votes. With a majority of them it asks for the votes:
/// as no time passes in between, who granted the one grants the other.
pub(super) fn fire(
    state: &mut State,
    at: usize,
    span: u8,
    patience: Patience,
    defect: Option<Defect>,
) {
    let is_by_stall = state.stall.is_some();
    let me = &mut state.members[at];
    me.span = span;
    me.timer = span;
    me.hears = 0;
    if is_by_stall && patience == Patience::GrowsDuringStall {
        me.patience = PATIENCE_MAX.min(me.patience + 1);
    }
    let me = *me;
    let mut others: Vec<_> = state.members.clone();
    others.remove(at);
    let granted = others
        .iter()
        .filter(|other| grants(other, &me, defect))
        .count();
    // A leader grants nothing and answers nothing.
    if granted + 1 >= QUORUM as usize {
        state.is_elected = true;
        return;
    }
    // Who refuses tells its term, and the next question is about a later one.
    let answers = others.iter().filter(|other| answers(other, &me));
    let told = answers.map(|other| other.term).max().unwrap_or(me.term);
    state.members[at].term = me.term.max(told);
}

fn grants(voter: &Member, candidate: &Member, defect: Option<Defect>) -> bool {
    let is_ranked_behind = candidate.rank > voter.rank;
    voter.hears == 0
        && voter.bound == 0
        && candidate.term.next() > voter.term
        && candidate.log >= voter.log
        && !(is_ranked_behind && defect == Some(Defect::RankVetoes))
}

/// Who hears a leader or is bound stays silent, unless the question is of a term that is over.
fn answers(voter: &Member, candidate: &Member) -> bool {
    let asked: Term = candidate.term.next();
    (voter.hears == 0 && voter.bound == 0) || voter.term > asked
}
