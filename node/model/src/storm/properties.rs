//! What must hold in every state, and what must be reachable for that to mean something.

use stateright::Property;

use super::Storm;
use super::state::{Member, Role, State, TERM_MAX};
use crate::Term;

/// No term has two leaders (election safety).
pub const ONE_LEADER: &str = "at most one leader a term";
/// No read served on a lease misses a write that was acknowledged before it began.
pub const NO_STALE_READ: &str = "no stale read on a lease";
/// A promise is kept until its time is over, except for a vote that its own leader asked for.
pub const PROMISES_KEPT: &str = "promises are kept";
/// A leader has every write that was acknowledged in an earlier term (leader completeness).
pub const NO_WRITE_LOST: &str = "no acknowledged write is lost";

/// A leader of the last term reads on its lease.
pub const LATE_LEASE: &str = "the last term's leader has a lease";
/// Two members lead at the same time, the earlier on a lease that didn't last.
pub const RIVALS: &str = "two terms have leaders at a time";
/// A hand-over overrides promises.
pub const EXEMPTION: &str = "a leader is elected while a majority owes promises";

pub(super) fn all() -> Vec<Property<Storm>> {
    vec![
        Property::always(ONE_LEADER, |_, state: &State| !state.wrong.two_leaders),
        Property::always(NO_STALE_READ, |_, state: &State| !has_stale_read(state)),
        Property::always(PROMISES_KEPT, |_, state: &State| {
            !state.wrong.promise_broken
        }),
        Property::always(NO_WRITE_LOST, |_, state: &State| !state.wrong.write_lost),
        Property::sometimes(LATE_LEASE, |_, state: &State| {
            lease_terms(state).any(|term| term == TERM_MAX)
        }),
        Property::sometimes(RIVALS, |_, state: &State| leaders(state).count() > 1),
        Property::sometimes(EXEMPTION, |_, state: &State| {
            let owing = state.members.iter().filter(|member| member.owed > 0);
            owing.count() > 1 && leaders(state).any(|leader| leader.owed > 0)
        }),
    ]
}

fn leaders(state: &State) -> impl Iterator<Item = &Member> {
    let is_leader = |member: &&Member| matches!(member.role, Role::Leader { .. });
    state.members.iter().filter(is_leader)
}

/// Terms whose leaders would serve a read at once. Its own entry is committed, and so, by leader
/// completeness, all of earlier terms.
fn lease_terms(state: &State) -> impl Iterator<Item = Term> {
    leaders(state).filter_map(|member| match member.role {
        Role::Leader {
            has_committed,
            lease,
            ..
        } => (has_committed && lease > 0).then_some(member.term),
        Role::Follower { .. } | Role::Candidate { .. } => None,
    })
}

fn has_stale_read(state: &State) -> bool {
    lease_terms(state).any(|term| state.acknowledged > term)
}
