//! What a member has promised: neither to campaign nor to vote for a while.
//!
//! A leader may serve reads without asking anyone for as long as a quorum keeps such promises,
//! because a later leader needs the vote of someone in that quorum (module `lease`). So a promise
//! binds whatever happens meanwhile: a new term, another role, another configuration. Only time
//! ends it.
//!
//! **What its own leader asks for is exempt.** A leader L of term T that hands over has given up
//! its lease for the rest of T before it asks. Every outstanding promise of a member that takes L
//! for its leader went to L or to a leader of an earlier term, and L's election shows that the
//! leases of those are over: its voters kept their promises, or were asked to vote by the leader
//! that had them. What was promised in an earlier life of the process isn't known, so the wait
//! after a start has no exemption.

use std::time::Duration;

use raftery_defects::{Defect, is_on};

use crate::{Instant, MemberId, Term};

/// Promises of one member. Invariants: `promised_until` never falls.
#[derive(Debug)]
pub(crate) struct Promises {
    /// The end of the wait after the start: an earlier life may have promised.
    waits_until: Instant,
    promised_until: Instant,
    /// To whom the last promise went, and in which term.
    promised_to: Option<(MemberId, Term)>,
}

impl Promises {
    /// After a start at `now` nothing is granted for `wait`.
    pub(crate) fn new(now: Instant, wait: Duration) -> Self {
        Self {
            waits_until: now + wait,
            promised_until: Instant::default(),
            promised_to: None,
        }
    }

    /// Promises `length` to `leader` of `term`, which is this member's term.
    pub(crate) fn promise(&mut self, now: Instant, length: Duration, leader: MemberId, term: Term) {
        self.promised_until = self.promised_until.max(now + length);
        self.promised_to = Some((leader, term));
    }

    /// Whether the last promise went to `leader` in `term`.
    pub(crate) fn is_to(&self, leader: MemberId, term: Term) -> bool {
        self.promised_to == Some((leader, term))
    }

    /// When this member may campaign and vote again.
    pub(crate) fn end(&self) -> Instant {
        self.waits_until.max(self.promised_until)
    }

    /// Whether it may neither campaign nor vote; `by_own_leader`: its own leader asks for it.
    pub(crate) fn bind(&self, now: Instant, by_own_leader: bool) -> bool {
        if is_on(Defect::BreakPromise) {
            return now < self.waits_until;
        }
        now < self.waits_until || (now < self.promised_until && !by_own_leader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant(Duration::from_millis(millis))
    }

    #[test]
    fn only_time_ends_a_promise_and_the_own_leader_is_exempt_from_it() {
        let (one, two) = (MemberId(1), MemberId(2));
        let mut promises = Promises::new(at(0), Duration::ZERO);
        promises.promise(at(10), Duration::from_millis(100), one, Term(3));
        promises.promise(at(20), Duration::from_millis(10), two, Term(4));
        assert!(
            promises.bind(at(109), false),
            "a shorter one ends no longer one"
        );
        assert!(!promises.bind(at(109), true));
        assert!(!promises.bind(at(110), false));
        assert!(promises.is_to(two, Term(4)) && !promises.is_to(one, Term(3)));
    }

    #[test]
    fn nobody_is_exempt_from_the_wait_after_a_start() {
        let promises = Promises::new(at(5), Duration::from_millis(10));
        assert!(promises.bind(at(14), true));
        assert!(!promises.bind(at(15), false));
        assert_eq!(promises.end(), at(15));
    }
}
