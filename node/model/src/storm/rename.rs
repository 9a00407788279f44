//! States that differ by the members' names alone.

use super::state::{Member, Role, State};
use crate::{Id, MEMBERS, Set};

const ORDERS: [[u8; MEMBERS]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// The one of them whose members are in order; the least, if several are.
pub(super) fn representative(state: &State) -> State {
    let keys = state.members.map(|member| nameless(&member));
    let is_sorted = |order: &&[u8; MEMBERS]| {
        let mut sorted = [keys[0]; MEMBERS];
        for (key, to) in keys.iter().zip(*order) {
            sorted[usize::from(*to)] = *key;
        }
        sorted.is_sorted()
    };
    let renamed = ORDERS.iter().filter(is_sorted);
    let least = renamed.map(|order| rename(state, order)).min();
    least.expect("one order sorts them")
}

/// The member without what names others.
fn nameless(member: &Member) -> Member {
    let mut nameless = *member;
    if let Role::Leader { stored, .. } = &mut nameless.role {
        *stored = Set::default();
    }
    nameless
}

/// The same with member `i` called `order[i]`.
fn rename(state: &State, order: &[u8; MEMBERS]) -> State {
    let name = |id: Id| Id(order[id.at()]);
    let mut to = *state;
    if order.is_sorted() {
        return to;
    }
    for record in &mut to.terms {
        record.leader = record.leader.map(name);
        record.told = record.told.renamed(name);
    }
    for id in Id::all() {
        let mut member = *state.of(id);
        if let Role::Leader { stored, .. } = &mut member.role {
            *stored = stored.renamed(name);
        }
        *to.of_mut(name(id)) = member;
    }
    to
}
