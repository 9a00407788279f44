//! A key's operations as steps of a register, ready to be ordered: every step has surely
//! happened, and has an end.
//!
//! What about writes without an answer? Values are unique, so who saw a value has seen its
//! write: it happened, before the answer of the first who saw it. A write that nobody saw is
//! left out: had it taken effect, it could be struck from any order that explains the answers
//! without changing what anyone saw. (A failed comparison shows what it saw, so it counts.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::Violation;
use super::history::{Action, Answer, Expected, History, Operation};

/// A value of the register; none: absent.
pub(super) type Value = Option<u64>;

/// What a step needs and does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// The value is this.
    Read(Value),
    /// The value becomes this.
    Write(u64),
    /// The value is the first and becomes the second.
    Swap(Value, u64),
    /// The value isn't the first, it is the second.
    Differ(Value, Value),
}

impl Effect {
    /// The value that it writes.
    pub(super) fn writes(self) -> Value {
        match self {
            Self::Write(value) | Self::Swap(_, value) => Some(value),
            Self::Read(_) | Self::Differ(..) => None,
        }
    }

    /// The value that must be there before it, if that matters.
    pub(super) fn sees(self) -> Option<Value> {
        match self {
            Self::Read(seen) | Self::Differ(_, seen) | Self::Swap(seen, _) => Some(seen),
            Self::Write(_) => None,
        }
    }
}

/// An operation that took effect at one moment between two times.
#[derive(Clone, Debug)]
pub(super) struct Step<'a> {
    /// Not before.
    pub(super) invoked: Duration,
    /// Not after.
    pub(super) returned: Duration,
    pub(super) effect: Effect,
    /// The revision at which it wrote, where an answer showed it.
    pub(super) written_at: Option<i64>,
    pub(super) operation: &'a Operation,
}

impl Operation {
    /// Value and revision of a write that this operation's answer shows.
    #[must_use]
    pub fn shows(&self) -> Option<(u64, i64)> {
        match (self.answer, self.action) {
            (Answer::Got { seen, .. } | Answer::Differed { seen, .. }, _) => seen,
            (
                Answer::Written { revision },
                Action::Put(value) | Action::CompareAndPut { value, .. },
            ) => Some((value, revision)),
            (Answer::Written { .. }, Action::Get) | (Answer::Unknown, _) => None,
        }
    }

    fn writes(&self) -> Option<u64> {
        match self.action {
            Action::Put(value) | Action::CompareAndPut { value, .. } => Some(value),
            Action::Get => None,
        }
    }
}

/// What is known of a key's writes.
struct Known<'a> {
    writes: BTreeMap<u64, &'a Operation>,
    revisions: BTreeMap<u64, i64>,
    values: BTreeMap<i64, u64>,
}

impl Known<'_> {
    /// The value that a comparison demands. `None` if it demands the revision of a write of
    /// which nothing else is known, which holds for no value of the history.
    fn demanded(&self, expected: Expected) -> Option<Value> {
        match expected {
            Expected::Value(value) => Some(Some(value)),
            Expected::ModRevision(0) => Some(None),
            Expected::ModRevision(revision) => self.values.get(&revision).copied().map(Some),
        }
    }
}

/// The steps of a key, by their beginnings.
pub(super) fn steps<'a>(history: &'a History, key: &str) -> Result<Vec<Step<'a>>, Violation> {
    let operations = history.operations.iter().filter(|one| one.key == key);
    let operations: Vec<&Operation> = operations.collect();
    let known = Known {
        writes: (operations.iter())
            .filter_map(|one| Some((one.writes()?, *one)))
            .collect(),
        revisions: operations.iter().filter_map(|one| one.shows()).collect(),
        values: (operations.iter())
            .filter_map(|one| one.shows())
            .map(|(value, revision)| (revision, value))
            .collect(),
    };
    let mut steps = Vec::new();
    for operation in operations {
        let effect = match (operation.answer, operation.action) {
            (Answer::Unknown, _) => continue,
            (Answer::Written { .. }, _) => written(operation, &known)?,
            (Answer::Got { seen, .. }, _) => Effect::Read(seen.map(|(value, _)| value)),
            (Answer::Differed { seen, .. }, Action::CompareAndPut { expected, .. }) => {
                let seen = seen.map(|(value, _)| value);
                // a demand that no value fulfils differs from whatever was there
                let demanded = known.demanded(expected);
                demanded.map_or(Effect::Read(seen), |demanded| {
                    Effect::Differ(demanded, seen)
                })
            }
            (Answer::Differed { .. }, Action::Get | Action::Put(_)) => {
                unreachable!("only comparisons differ")
            }
        };
        steps.push(Step {
            invoked: operation.invoked,
            returned: operation.returned,
            effect,
            written_at: written_at(effect, &known),
            operation,
        });
    }
    add_unanswered_writes(&mut steps, &known)?;
    steps.sort_by_key(|step| step.invoked);
    Ok(steps)
}

fn written(operation: &Operation, known: &Known<'_>) -> Result<Effect, Violation> {
    match operation.action {
        Action::Put(value) => Ok(Effect::Write(value)),
        Action::CompareAndPut { expected, value } => {
            let demanded = known.demanded(expected);
            let demanded = demanded.ok_or_else(|| Violation::NeverWritten {
                operation: operation.to_string(),
            })?;
            Ok(Effect::Swap(demanded, value))
        }
        Action::Get => unreachable!("a get writes nothing"),
    }
}

fn written_at(effect: Effect, known: &Known<'_>) -> Option<i64> {
    known.revisions.get(&effect.writes()?).copied()
}

/// Adds the writes that got no answer but were seen. One that was seen may itself have seen
/// another: so step by step, until nothing new is seen.
fn add_unanswered_writes<'a>(
    steps: &mut Vec<Step<'a>>,
    known: &Known<'a>,
) -> Result<(), Violation> {
    let mut present: BTreeSet<u64> = steps
        .iter()
        .filter_map(|step| step.effect.writes())
        .collect();
    let mut position = 0;
    while position < steps.len() {
        let by = steps[position].clone();
        position += 1;
        let Some(value) = by.effect.sees().flatten() else {
            continue;
        };
        let Some(&write) = known.writes.get(&value) else {
            return Err(Violation::NeverWritten {
                operation: by.operation.to_string(),
            });
        };
        if write.invoked >= by.returned {
            return Err(Violation::BeforeItsWrite {
                operation: by.operation.to_string(),
            });
        }
        if present.insert(value) {
            let effect = written(write, known)?;
            steps.push(Step {
                invoked: write.invoked,
                returned: Duration::MAX,
                effect,
                written_at: written_at(effect, known),
                operation: write,
            });
        }
    }
    close(steps);
    Ok(())
}

/// A write without an answer was done before the first who saw it was answered.
fn close(steps: &mut [Step<'_>]) {
    let mut open: BTreeMap<u64, usize> = (steps.iter().enumerate())
        .filter(|(_, step)| step.returned == Duration::MAX)
        .filter_map(|(position, step)| Some((step.effect.writes()?, position)))
        .collect();
    // The earliest end first: a write that is closed by it may close another one in turn.
    let mut ends: BTreeSet<(Duration, usize)> = (steps.iter().enumerate())
        .map(|(position, step)| (step.returned, position))
        .collect();
    while let Some((end, position)) = ends.pop_first() {
        let seen = steps[position].effect.sees().flatten();
        if let Some(write) = seen.and_then(|value| open.remove(&value)) {
            ends.remove(&(steps[write].returned, write));
            steps[write].returned = end;
            ends.insert((end, write));
        }
    }
}
