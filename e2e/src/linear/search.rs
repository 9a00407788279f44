//! The search for an order of one key's steps.
//!
//! Depth first over the steps that may come next: those that began before the first end among
//! the steps not yet ordered. A configuration is the set of ordered steps and the value; one
//! that was tried is never tried again, whichever way it is reached. The set is held as the
//! number of steps (by their beginnings) that are all in it, and the few behind them that are:
//! small, however long the history is.
//!
//! Values are unique and never come back. So a value must not be replaced before all who saw it
//! are ordered. This ends most wrong ways at once, above all those on which a write without an
//! answer is put too early, where nobody would miss it for long.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use super::error::Violation;
use super::register::{Effect, Step, Value};

/// Between two looks at the clock.
const STEPS_PER_LOOK: usize = 1024;

/// Invariants:
/// - every place in `ahead` is greater than `behind`
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Configuration {
    /// The steps before this place are ordered, the one at it isn't.
    behind: usize,
    /// The ordered steps beyond it.
    ahead: BTreeSet<usize>,
    value: Value,
    /// Steps that see the value and aren't ordered yet.
    unseen: usize,
    /// Revision of the last write that is known to have one: later ones are greater.
    written_at: i64,
}

/// How many steps see each value.
type Seers = BTreeMap<Value, usize>;

impl Configuration {
    fn len(&self) -> usize {
        self.behind + self.ahead.len()
    }

    /// The places of the steps that may come next.
    fn candidates(&self, steps: &[Step<'_>]) -> Vec<usize> {
        let mut first_end = Duration::MAX;
        let mut candidates = Vec::new();
        for (place, step) in steps.iter().enumerate().skip(self.behind) {
            if step.invoked > first_end {
                break;
            }
            if !self.ahead.contains(&place) {
                first_end = first_end.min(step.returned);
                candidates.push(place);
            }
        }
        candidates
    }

    /// With this step behind the others; none if its answer would be wrong.
    fn with(&self, place: usize, steps: &[Step<'_>], seers: &Seers) -> Option<Self> {
        let step = &steps[place];
        let (is_right, unseen, written) = match step.effect {
            Effect::Read(seen) => (seen == self.value, self.unseen.checked_sub(1), None),
            Effect::Differ(demanded, seen) => (
                seen == self.value && demanded != self.value,
                self.unseen.checked_sub(1),
                None,
            ),
            Effect::Swap(demanded, value) => (
                demanded == self.value,
                self.unseen.checked_sub(1),
                Some(value),
            ),
            Effect::Write(value) => (true, Some(self.unseen), Some(value)),
        };
        let unseen = unseen.filter(|unseen| is_right && (written.is_none() || *unseen == 0))?;
        let (value, unseen) = match written {
            None => (self.value, unseen),
            Some(_) => (written, seers.get(&written).copied().unwrap_or_default()),
        };
        let written_at = match step.written_at {
            Some(revision) if revision <= self.written_at => return None,
            Some(revision) => revision,
            None => self.written_at,
        };
        let mut next = Self {
            behind: self.behind,
            ahead: self.ahead.clone(),
            value,
            unseen,
            written_at,
        };
        next.ahead.insert(place);
        while next.ahead.remove(&next.behind) {
            next.behind += 1;
        }
        Some(next)
    }
}

/// Searches an order of the steps, which are sorted by their beginnings.
pub(super) fn check(key: &str, steps: &[Step<'_>], limit: Duration) -> Result<(), Violation> {
    let began = Instant::now();
    let mut seers = Seers::new();
    for step in steps {
        if let Some(value) = step.effect.sees() {
            *seers.entry(value).or_default() += 1;
        }
    }
    let first = Configuration {
        behind: 0,
        ahead: BTreeSet::new(),
        value: None,
        unseen: seers.get(&None).copied().unwrap_or_default(),
        written_at: 0,
    };
    let mut best = first.clone();
    let mut tried = HashSet::from([first.clone()]);
    let mut open = vec![first];
    let mut looked = 0;
    while let Some(configuration) = open.pop() {
        if configuration.len() == steps.len() {
            return Ok(());
        }
        looked += 1;
        if looked % STEPS_PER_LOOK == 0 && began.elapsed() > limit {
            return Err(Violation::Undecided {
                key: key.to_owned(),
                operations: steps.len(),
                limit,
            });
        }
        let mut candidates = configuration.candidates(steps);
        // The last one pushed is tried first: let it be the one that ends first, which is most
        // likely the one that came first.
        candidates.sort_by_key(|place| std::cmp::Reverse(steps[*place].returned));
        for place in candidates {
            let Some(next) = configuration.with(place, steps, &seers) else {
                continue;
            };
            if tried.insert(next.clone()) {
                if next.len() > best.len() {
                    best = next.clone();
                }
                open.push(next);
            }
        }
    }
    Err(stuck(key, &best, steps))
}

/// What to say of the longest order.
fn stuck(key: &str, best: &Configuration, steps: &[Step<'_>]) -> Violation {
    let shown = |place: usize| steps[place].operation.to_string();
    let next = best.candidates(steps);
    let seers = (best.behind..steps.len())
        .filter(|place| !best.ahead.contains(place) && !next.contains(place))
        .filter(|place| steps[*place].effect.sees() == Some(best.value));
    Violation::NotLinearizable {
        key: key.to_owned(),
        explained: (best.len(), steps.len()),
        value: best
            .value
            .map_or("absent".to_owned(), |value| value.to_string()),
        seers: seers.map(shown).collect(),
        next: next.into_iter().map(shown).collect(),
    }
}
