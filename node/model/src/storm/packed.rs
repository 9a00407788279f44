//! A state as one number. The checker hashes tens of millions of states, and field by field that
//! would take most of its time.

use std::hash::{Hash, Hasher};

use super::state::{Member, Role, State};
use crate::Id;

/// Bits that are filled from the lowest.
#[derive(Default)]
struct Bits {
    value: u128,
    len: u32,
}

impl Bits {
    fn push(&mut self, value: u8, len: u32) {
        debug_assert!(value >> len == 0, "the field is too narrow");
        self.value |= u128::from(value) << self.len;
        self.len += len;
    }

    fn flag(&mut self, flag: bool) {
        self.push(u8::from(flag), 1);
    }

    /// 14 bits and the role.
    fn member(&mut self, member: &Member) {
        for term in [member.term, member.log, member.disk, member.owed_to] {
            self.push(term.0, 2);
        }
        self.push(member.owed, 2);
        self.push(member.wait, 2);
        self.flag(member.has_voted);
        self.flag(member.has_forgotten);
        self.role(&member.role);
    }

    /// 11 bits or fewer, of which the first two say how many.
    fn role(&mut self, role: &Role) {
        match role {
            Role::Follower { has_leader } => {
                self.push(0, 2);
                self.flag(*has_leader);
            }
            Role::Candidate {
                has_majority,
                is_asked,
            } => {
                self.push(1, 2);
                self.flag(*has_majority);
                self.flag(*is_asked);
            }
            Role::Leader {
                base,
                stored,
                has_committed,
                lease,
                is_given_up,
            } => {
                self.push(2, 2);
                self.push(base.0, 2);
                self.push(stored.bits(), 3);
                self.flag(*has_committed);
                self.push(*lease, 2);
                self.flag(*is_given_up);
            }
        }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut bits = Bits::default();
        for member in &self.members {
            bits.member(member);
        }
        for record in &self.terms {
            bits.push(record.leader.map_or(3, |Id(id)| id), 2);
            bits.push(record.told.bits(), 3);
        }
        bits.push(self.acknowledged.0, 2);
        bits.flag(self.wrong.two_leaders);
        bits.flag(self.wrong.promise_broken);
        bits.flag(self.wrong.write_lost);
        debug_assert!(bits.len <= u128::BITS, "a state doesn't fit");
        hasher.write_u128(bits.value);
    }
}
