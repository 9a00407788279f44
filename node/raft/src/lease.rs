//! A leader's lease: for how long no other leader can have been elected.
//!
//! Each heartbeat round has a number and a time at which it was sent. A follower's answer names
//! the round and promises `g` from its receipt, so the promise holds at least until `g` after the
//! sending, on the follower's clock; the leader shortens `g` by the drift between two clocks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::limits::{LEASE_ROUNDS_MAX, MAX_CLOCK_DRIFT_PERCENT};
use crate::{Instant, MemberId};

/// What a leader was promised in its term.
///
/// Invariants: numbers and times of `rounds` grow; there are at most `LEASE_ROUNDS_MAX`.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// The last rounds and when each was sent.
    rounds: VecDeque<(u64, Instant)>,
    /// Until when each member's promise surely holds.
    promised: BTreeMap<MemberId, Instant>,
    /// Someone was told to campaign. Its election breaks the promises rightly, and the message
    /// may arrive at any time: for the rest of the term there is no lease.
    is_given_up: bool,
}

impl Lease {
    pub(crate) fn round_sent(&mut self, number: u64, now: Instant) {
        if self.rounds.len() == LEASE_ROUNDS_MAX {
            self.rounds.pop_front();
        }
        self.rounds.push_back((number, now));
    }

    /// `from` answered round `number` and promised `length` from its receipt.
    pub(crate) fn promised(&mut self, from: MemberId, number: u64, length: Duration) {
        // An answer to a round that is forgotten by now comes too late to be worth anything.
        let Ok(found) = self.rounds.binary_search_by_key(&number, |round| round.0) else {
            return;
        };
        let until = self.rounds[found].1 + length * (100 - MAX_CLOCK_DRIFT_PERCENT) / 100;
        let known = self.promised.entry(from).or_insert(until);
        *known = until.max(*known);
    }

    /// Until when the promise of `id` holds; time zero without one.
    pub(crate) fn of(&self, id: MemberId) -> Instant {
        self.promised.get(&id).copied().unwrap_or_default()
    }

    pub(crate) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.rounds.len() <= LEASE_ROUNDS_MAX, "too many rounds");
        assert!(
            self.rounds
                .iter()
                .is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant(Duration::from_millis(millis))
    }

    #[test]
    fn a_promise_counts_from_the_sending_and_is_shortened_by_the_drift() {
        let mut lease = Lease::default();
        let member = MemberId(2);
        lease.round_sent(1, at(100));
        lease.round_sent(2, at(200));
        lease.promised(member, 2, Duration::from_secs(1));
        assert_eq!(lease.of(member), at(1190));
        lease.promised(member, 1, Duration::from_secs(1));
        assert_eq!(lease.of(member), at(1190), "an older answer came late");
        assert_eq!(lease.of(MemberId(3)), at(0));
    }

    #[test]
    fn answers_to_rounds_that_are_forgotten_or_were_never_sent_promise_nothing() {
        let mut lease = Lease::default();
        let last = LEASE_ROUNDS_MAX as u64 + 1;
        for number in 1..=last {
            lease.round_sent(number, at(number));
            lease.check_invariants();
        }
        for number in [0, 1, last + 1] {
            lease.promised(MemberId(2), number, Duration::from_secs(1));
            assert_eq!(lease.of(MemberId(2)), at(0));
        }
        lease.promised(MemberId(2), 2, Duration::from_secs(1));
        assert_eq!(lease.of(MemberId(2)), at(992));
    }
}
