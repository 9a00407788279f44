//! Where a calm begins.

use super::rules::PATIENCE_MAX;
use super::state::{Member, State};
use crate::{PROMISE_MAX, Term};

/// Timeouts that differ by a factor, as adaptive ones do: `E` between a short and a long one, of
/// which the long one is beyond the longest promise.
const TIMEOUTS: [u8; 2] = [1, 3];

/// Term and end of the log: of two members either may be ahead in both, or each in one.
const POSITIONS: [(Term, Term); 3] = [(Term(2), Term(1)), (Term(2), Term(2)), (Term(3), Term(1))];

/// What a calm begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scene {
    /// Two members can talk to each other, the third to nobody. Nobody leads.
    Pair,
    /// All three can talk to each other. Nobody leads.
    Whole,
    /// The third leads both others and applies nothing from now on. They campaigned because of
    /// such stalls up to so many times before.
    Stalled {
        /// That many times.
        patience_max: u8,
    },
}

impl Scene {
    /// Every state that it may begin with.
    #[must_use]
    pub fn starts(self, ticks_max: u8) -> Vec<State> {
        let (groups, stall) = match self {
            Self::Pair => (pairs(&leaderless(Detail::Every)), None),
            Self::Whole => (triples(&leaderless(Detail::Ends)), None),
            Self::Stalled { patience_max } => (pairs(&led(patience_max)), Some(0)),
        };
        let start = |members| State {
            members,
            stall,
            left: ticks_max,
            is_elected: false,
        };
        groups.into_iter().map(start).collect()
    }
}

/// How finely times are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Every,
    /// Either over or as long as can be: three members have many combinations.
    Ends,
}

impl Detail {
    fn up_to(self, max: u8) -> impl Iterator<Item = u8> {
        (0..=max).filter(move |time| self == Self::Every || *time == 0 || *time == max)
    }
}

/// A member that no leader beats for any more.
fn leaderless(detail: Detail) -> Vec<Member> {
    let mut members = Vec::new();
    for timeout in TIMEOUTS {
        let member = Member::new(timeout);
        // The longest that a timer may be set to, and whatever is left of it.
        for timer in 0..member.spans().end {
            for hears in detail.up_to(timeout) {
                for bound in detail.up_to(PROMISE_MAX) {
                    members.extend(POSITIONS.map(|(term, log)| Member {
                        timer,
                        hears,
                        bound,
                        term,
                        log,
                        ..member
                    }));
                }
            }
        }
    }
    members
}

/// A member that has just counted a heartbeat.
fn led(patience_max: u8) -> Vec<Member> {
    assert!(patience_max <= PATIENCE_MAX, "tolerance is limited");
    let mut members = Vec::new();
    for timeout in TIMEOUTS {
        let member = Member::new(timeout);
        for span in member.spans() {
            for patience in 0..=patience_max {
                members.push(Member {
                    span,
                    timer: span,
                    hears: timeout,
                    bound: timeout.min(PROMISE_MAX),
                    patience,
                    ..member
                });
            }
        }
    }
    members
}

/// The first is ranked best; each of two may be either.
fn pairs(members: &[Member]) -> Vec<Vec<Member>> {
    let pair = |a: &Member, b: &Member| vec![*a, Member { rank: 1, ..*b }];
    let of = |a| members.iter().map(move |b| pair(a, b));
    members.iter().flat_map(of).collect()
}

/// Ranks make no difference but for the defect, which pairs are enough for; so their order is free.
fn triples(members: &[Member]) -> Vec<Vec<Member>> {
    let mut triples = Vec::new();
    for (first, a) in members.iter().enumerate() {
        for (second, b) in members.iter().enumerate().skip(first) {
            for c in &members[second..] {
                triples.push(vec![*a, *b, *c]);
            }
        }
    }
    triples
}
