//! The rules: what a step does, or that it can't be taken. Named after what they draw in
//! `raftery-raft`.

use super::action::Action;
use super::state::{Member, Role, State, TERM_MAX};
use crate::{Defect, Id, PROMISE_MAX, QUORUM, Set, Term};

/// The timeout that leaders are configured with; a follower's own may be shorter. Only a defect
/// looks at it.
const CONFIGURED_TIMEOUT: u8 = PROMISE_MAX;

/// The state after the step. `None`: the rules don't allow it, or nothing comes of it.
pub(super) fn apply(state: &State, action: Action, defect: Option<Defect>) -> Option<State> {
    let mut next = *state;
    match action {
        Action::Tick => tick(&mut next),
        Action::Restart(id) => restart(next.of_mut(id), defect),
        Action::Campaign(id) => campaign(&mut next, id, false)?,
        Action::AskForVote { candidate, voter } => {
            ask_for_vote(&mut next, candidate, voter, defect)?;
        }
        Action::Win(id) => win(&mut next, id)?,
        Action::Append { term, to } => append(&mut next, term, to)?,
        Action::Sync(id) => {
            let member = next.of_mut(id);
            member.disk = member.log;
        }
        Action::Commit(id) => commit(&mut next, id)?,
        Action::Beat { term, to, promise } => {
            follow(next.of_mut(to), term)?;
            owe(next.of_mut(to), promise, term);
            let rests_on = match defect {
                Some(Defect::LeaseOnConfiguredTimeout) => CONFIGURED_TIMEOUT,
                _ => promise,
            };
            extend_lease(&mut next, term, rests_on);
        }
        Action::BeatUncounted { term, to } => {
            follow(next.of_mut(to), term)?;
            if defect == Some(Defect::UncountedExtendsLease) {
                extend_lease(&mut next, term, PROMISE_MAX);
            }
        }
        Action::HandOver { leader, to } => tell(&mut next, leader, to, defect)?,
        Action::Resign { leader, to } => {
            tell(&mut next, leader, to, defect)?;
            next.of_mut(leader).role = Role::ALONE;
        }
        Action::TakeOver { term, id } => take_over(&mut next, term, id)?,
        Action::StepDown(id) => next.of_mut(id).role = Role::ALONE,
    }
    Some(next)
}

fn tick(state: &mut State) {
    for member in &mut state.members {
        member.owed = member.owed.saturating_sub(1);
        member.wait = member.wait.saturating_sub(1);
        if let Role::Leader { lease, .. } = &mut member.role {
            *lease = lease.saturating_sub(1);
        }
    }
}

/// What was in memory is gone. What was promised is unknown, so all of it might have been.
fn restart(member: &mut Member, defect: Option<Defect>) {
    member.role = Role::ALONE;
    member.log = member.disk;
    member.has_forgotten = true;
    member.wait = match defect {
        Some(Defect::NoWaitAfterStart) => 0,
        _ => PROMISE_MAX,
    };
    if defect == Some(Defect::ForgetsVote) {
        member.has_voted = false;
    }
}

/// Whether the election of `term`, asked for by the leader of the term before, is one that this
/// member's own leader asked for: it promised to that leader last, or follows it now, or is it.
fn is_asked_by_own_leader(member: &Member, term: Term) -> bool {
    let follows = match member.role {
        Role::Follower { has_leader } => has_leader,
        Role::Candidate { .. } => false,
        Role::Leader { .. } => true,
    };
    let promised = member.owed_to.next() == term && !member.has_forgotten;
    promised || (member.term.next() == term && follows)
}

/// Whether the member, by what it knows, may neither campaign nor vote.
fn is_bound(member: &Member, is_exempt: bool) -> bool {
    member.wait > 0 || (member.owed > 0 && !member.has_forgotten && !is_exempt)
}

fn campaign(state: &mut State, id: Id, is_asked: bool) -> Option<()> {
    let member = state.of_mut(id);
    let term = member.term.next();
    let is_exempt = is_asked && is_asked_by_own_leader(member, term);
    if term > TERM_MAX || is_bound(member, is_exempt) {
        return None;
    }
    let breaks_promise = member.owed > 0 && !is_exempt;
    member.term = term;
    member.has_voted = true;
    member.role = Role::Candidate {
        has_majority: false,
        is_asked,
    };
    state.wrong.promise_broken |= breaks_promise;
    Some(())
}

fn ask_for_vote(state: &mut State, candidate: Id, voter: Id, defect: Option<Defect>) -> Option<()> {
    let Member { term, log, .. } = *state.of(candidate);
    let Role::Candidate { is_asked, .. } = state.of(candidate).role else {
        return None;
    };
    let member = state.of_mut(voter);
    let is_exempt = is_asked && is_asked_by_own_leader(member, term);
    let is_ignored = is_bound(member, is_exempt) && defect != Some(Defect::GrantDespitePromise);
    if member.term > term || is_ignored {
        return None;
    }
    let breaks_promise = member.owed > 0 && !is_exempt;
    enter(member, term);
    let is_free = !member.has_voted && member.role == Role::ALONE;
    let is_up_to_date = log >= member.log || defect == Some(Defect::VotesForStaleLog);
    if is_free && is_up_to_date {
        member.has_voted = true;
        if let Role::Candidate { has_majority, .. } = &mut state.of_mut(candidate).role {
            *has_majority = true;
        }
        state.wrong.promise_broken |= breaks_promise;
    }
    Some(())
}

/// A later term begins for this member.
fn enter(member: &mut Member, term: Term) {
    if member.term < term {
        member.term = term;
        member.has_voted = false;
        member.role = Role::ALONE;
    }
}

fn win(state: &mut State, id: Id) -> Option<()> {
    let acknowledged = state.acknowledged;
    let member = state.of_mut(id);
    let Role::Candidate {
        has_majority: true, ..
    } = member.role
    else {
        return None;
    };
    let term = member.term;
    let lacks_write = acknowledged < term && member.log < acknowledged;
    member.role = Role::Leader {
        base: member.log,
        stored: Set::default(),
        has_committed: false,
        lease: 0,
        is_given_up: false,
    };
    member.log = term;
    state.wrong.write_lost |= lacks_write;
    let known = state.terms[term.at()].leader.replace(id);
    state.wrong.two_leaders |= known.is_some();
    Some(())
}

/// The member takes the term's leader for its own.
fn follow(member: &mut Member, term: Term) -> Option<()> {
    if member.term > term {
        return None;
    }
    enter(member, term);
    member.role = Role::Follower { has_leader: true };
    Some(())
}

fn append(state: &mut State, term: Term, to: Id) -> Option<()> {
    let member = state.of_mut(to);
    follow(member, term)?;
    member.log = term;
    member.disk = term;
    if let Some(Role::Leader { stored, .. }) = leading(state, term) {
        *stored = stored.with(to);
    }
    Some(())
}

/// The role of the term's leader, while it leads.
fn leading(state: &mut State, term: Term) -> Option<&mut Role> {
    let id = state.terms[term.at()].leader?;
    let member = state.of_mut(id);
    (member.term == term).then_some(&mut member.role)
}

fn commit(state: &mut State, id: Id) -> Option<()> {
    let member = state.of_mut(id);
    let (term, has_own) = (member.term, member.disk == member.term);
    let Role::Leader {
        stored,
        has_committed,
        ..
    } = &mut member.role
    else {
        return None;
    };
    if stored.len() + u32::from(has_own) < QUORUM {
        return None;
    }
    *has_committed = true;
    state.acknowledged = state.acknowledged.max(term);
    state.wrong.write_lost |= state.members.iter().any(
        |other| matches!(other.role, Role::Leader { base, .. } if other.term > term && base < term),
    );
    Some(())
}

/// A later, shorter promise ends no longer one.
fn owe(member: &mut Member, promise: u8, term: Term) {
    member.has_forgotten &= member.owed > promise;
    member.owed = member.owed.max(promise);
    member.owed_to = term;
}

fn extend_lease(state: &mut State, term: Term, left: u8) {
    if let Some(Role::Leader {
        lease, is_given_up, ..
    }) = leading(state, term)
        && !*is_given_up
    {
        *lease = left.max(*lease);
    }
}

/// Sends TimeoutNow. Before that the lease is given up for the rest of the term.
fn tell(state: &mut State, leader: Id, to: Id, defect: Option<Defect>) -> Option<()> {
    let member = state.of_mut(leader);
    let term = member.term;
    let Role::Leader {
        lease, is_given_up, ..
    } = &mut member.role
    else {
        return None;
    };
    if defect != Some(Defect::LeaseAfterTimeoutNow) {
        *is_given_up = true;
        *lease = 0;
    }
    let told = &mut state.terms[term.at()].told;
    *told = told.with(to);
    Some(())
}

/// TimeoutNow arrives: campaign at once.
fn take_over(state: &mut State, term: Term, id: Id) -> Option<()> {
    let is_told = state.terms[term.at()].told.has(id);
    let member = state.of_mut(id);
    if !is_told || member.term > term {
        return None;
    }
    if member.term < term {
        follow(member, term)?;
    }
    match member.role {
        Role::Follower { .. } => campaign(state, id, true),
        Role::Candidate { .. } | Role::Leader { .. } => None,
    }
}
