//! Majorities, of one configuration or of both halves of a joint one (§4.3).
//!
//! Everything that needs a quorum asks here: votes, commitment, the check of the quorum, reads
//! and leases.

use std::collections::BTreeSet;

use raftery_defects::{Defect, is_on};

use crate::MemberId;

/// The voters whose word counts. While joint, a majority of each half is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quorum<'a> {
    /// The voters, or those of the new half.
    pub(crate) incoming: &'a BTreeSet<MemberId>,
    /// Voters of the old half; empty unless joint.
    pub(crate) outgoing: &'a BTreeSet<MemberId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PollOutcome {
    Won,
    Lost,
    Open,
}

impl Quorum<'_> {
    /// The highest value that a quorum has reached; `None` of no voters.
    pub(crate) fn reached<T: Ord + Copy>(&self, of: impl Fn(MemberId) -> T) -> Option<T> {
        let half = |voters: &BTreeSet<_>| reached_by_majority(voters.iter().map(|id| of(*id)));
        let incoming = half(self.incoming)?;
        if is_on(Defect::CommitWithNewHalf) {
            return Some(incoming);
        }
        if is_on(Defect::CommitWithOldHalf) {
            return Some(half(self.outgoing).unwrap_or(incoming));
        }
        Some(half(self.outgoing).map_or(incoming, |outgoing| outgoing.min(incoming)))
    }

    /// How a vote stands, where `of` says what each voter answered.
    pub(crate) fn outcome(&self, of: impl Fn(MemberId) -> Option<bool>) -> PollOutcome {
        let incoming = outcome_of_half(self.incoming, &of);
        if self.outgoing.is_empty() || is_on(Defect::ElectWithNewHalf) {
            return incoming;
        }
        if is_on(Defect::ElectWithOldHalf) {
            return outcome_of_half(self.outgoing, &of);
        }
        match (incoming, outcome_of_half(self.outgoing, &of)) {
            (PollOutcome::Won, PollOutcome::Won) => PollOutcome::Won,
            (PollOutcome::Lost, _) | (_, PollOutcome::Lost) => PollOutcome::Lost,
            (PollOutcome::Open | PollOutcome::Won, PollOutcome::Open | PollOutcome::Won) => {
                PollOutcome::Open
            }
        }
    }
}

fn outcome_of_half(
    voters: &BTreeSet<MemberId>,
    of: impl Fn(MemberId) -> Option<bool>,
) -> PollOutcome {
    let count = |answer| voters.iter().filter(|id| of(**id) == Some(answer)).count();
    if is_majority(count(true), voters.len()) {
        PollOutcome::Won
    } else if is_majority(voters.len() - count(false), voters.len()) {
        PollOutcome::Open
    } else {
        PollOutcome::Lost
    }
}

/// The highest value that a majority has reached, or `None` of an empty set.
fn reached_by_majority<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.get(values.len() / 2).copied()
}

/// Whether `count` of `total` is a majority.
fn is_majority(count: usize, total: usize) -> bool {
    count > total / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majority_of_an_even_number_is_more_than_half() {
        assert!(!is_majority(1, 2));
        assert!(is_majority(2, 2));
        assert!(!is_majority(2, 4));
        assert!(is_majority(3, 4));
        assert!(is_majority(1, 1));
        assert!(!is_majority(0, 0));
    }

    #[test]
    fn what_a_majority_reached_is_the_middle_rounded_down() {
        let reached = |values: &[u64]| reached_by_majority(values.iter().copied());
        assert_eq!(reached(&[3, 9, 5]), Some(5));
        assert_eq!(reached(&[3, 9]), Some(3));
        assert_eq!(reached(&[4, 1, 3, 2]), Some(2));
        assert_eq!(reached(&[7]), Some(7));
        assert_eq!(reached(&[]), None);
    }

    /// Whether those of `set` that `has` picks are more than half of it, counted plainly.
    fn has_most(set: &BTreeSet<MemberId>, has: impl Fn(MemberId) -> bool) -> bool {
        let with = set.iter().filter(|id| has(**id)).count();
        let without = set.len() - with;
        with > without
    }

    #[test]
    fn random_configurations_agree_with_counting() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut draw = |least| -> BTreeSet<MemberId> {
                let len = rng.usize(least..6);
                (0..len).map(|_| MemberId(rng.u64(1..8))).collect()
            };
            let (incoming, outgoing) = (draw(1), draw(0));
            let quorum = Quorum {
                incoming: &incoming,
                outgoing: &outgoing,
            };
            let has_quorum = |has: &dyn Fn(MemberId) -> bool| {
                has_most(&incoming, has) && (outgoing.is_empty() || has_most(&outgoing, has))
            };

            let values: Vec<u64> = (0..8).map(|_| rng.u64(0..5)).collect();
            let of = |id: MemberId| values[usize::try_from(id.0).expect("small")];
            let highest = (0..5)
                .rev()
                .find(|value| has_quorum(&|id| of(id) >= *value));
            assert_eq!(quorum.reached(of), highest);

            let answers: Vec<_> = (0..8)
                .map(|_| [None, Some(true), Some(false)][rng.usize(0..3)])
                .collect();
            let said = |id: MemberId| answers[usize::try_from(id.0).expect("small")];
            // Won if it is already, lost if it can't be won any more.
            let expected = if has_quorum(&|id| said(id) == Some(true)) {
                PollOutcome::Won
            } else if has_quorum(&|id| said(id) != Some(false)) {
                PollOutcome::Open
            } else {
                PollOutcome::Lost
            };
            assert_eq!(quorum.outcome(said), expected);
        }
    }

    #[test]
    fn nobody_elects_nobody() {
        let none = BTreeSet::new();
        let quorum = Quorum {
            incoming: &none,
            outgoing: &none,
        };
        assert_eq!(quorum.outcome(|_| Some(true)), PollOutcome::Lost);
        assert_eq!(quorum.reached(|_| 1), None);
    }
}
