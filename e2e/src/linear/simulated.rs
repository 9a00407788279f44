//! Histories of registers that are right by construction, for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

use super::history::{Action, Answer, Expected, History, Operation, Seen};

/// What to simulate.
pub(super) struct Simulation {
    pub(super) clients: u32,
    pub(super) operations_each: usize,
    pub(super) keys: usize,
    /// Percent of the operations that get no answer; half of their writes still happen, late.
    pub(super) unanswered: u8,
}

/// An operation and the moment when it takes effect, if it does.
type Planned = (Option<Duration>, Operation);

impl Simulation {
    /// A history in which each operation takes effect at one moment between its two times.
    pub(super) fn run(&self, rng: &mut Rng) -> History {
        let mut planned: Vec<Planned> = Vec::new();
        for client in 0..self.clients {
            planned.extend(self.plan(client, rng));
        }
        planned.sort_by_key(|(effect, operation)| effect.unwrap_or(operation.invoked));
        let mut registers: BTreeMap<String, Seen> = BTreeMap::new();
        // what answers showed: nobody compares with anything else
        let mut past: Vec<(u64, i64)> = vec![(u64::MAX, 0)];
        let mut revision = 1;
        let mut history = History::default();
        for (number, (effect, mut operation)) in planned.into_iter().enumerate() {
            let register = registers.entry(operation.key.clone()).or_default();
            operation.action = action(number as u64, *register, &past, rng);
            if effect.is_some() {
                let answer = take_effect(operation.action, register, &mut revision);
                if operation.answer != Answer::Unknown {
                    operation.answer = answer;
                }
            }
            past.extend(operation.shows());
            history.operations.push(operation);
        }
        history
    }

    fn plan(&self, client: u32, rng: &mut Rng) -> Vec<Planned> {
        let mut now = Duration::ZERO;
        let mut planned = Vec::new();
        for _ in 0..self.operations_each {
            let invoked = now + wait(rng, 5);
            let answered = rng.u8(0..100) >= self.unanswered;
            let effect = match answered {
                true => Some(invoked + wait(rng, 10)),
                false => rng.bool().then(|| invoked + wait(rng, 500)),
            };
            now = if answered { effect } else { None }.unwrap_or(invoked) + wait(rng, 10);
            let operation = Operation {
                client,
                key: format!("key-{}", rng.usize(0..self.keys)),
                action: Action::Get,
                invoked,
                returned: now,
                // which one is found when it takes effect
                answer: match answered {
                    true => Answer::Got {
                        seen: None,
                        revision: 0,
                    },
                    false => Answer::Unknown,
                },
            };
            planned.push((effect, operation));
        }
        planned
    }
}

fn wait(rng: &mut Rng, ms_max: u64) -> Duration {
    Duration::from_micros(rng.u64(1..ms_max * 1000))
}

fn action(number: u64, register: Seen, past: &[(u64, i64)], rng: &mut Rng) -> Action {
    let value = number + 1;
    let other = past[rng.usize(0..past.len())];
    let current = register.filter(|current| past.contains(current));
    let (expected_value, expected_revision) = match rng.u8(0..3) {
        0 => other,
        _ => current.unwrap_or(other),
    };
    match rng.u8(0..4) {
        0 => Action::Get,
        1 => Action::Put(value),
        2 => Action::CompareAndPut {
            expected: Expected::Value(expected_value),
            value,
        },
        _ => Action::CompareAndPut {
            expected: Expected::ModRevision(expected_revision),
            value,
        },
    }
}

fn take_effect(action: Action, register: &mut Seen, revision: &mut i64) -> Answer {
    let seen = *register;
    let written = match action {
        Action::Get => {
            let revision = *revision;
            return Answer::Got { seen, revision };
        }
        Action::Put(value) => value,
        Action::CompareAndPut { expected, value } => {
            let holds = match expected {
                Expected::Value(expected) => seen.is_some_and(|(value, _)| value == expected),
                Expected::ModRevision(expected) => seen.map_or(0, |(_, at)| at) == expected,
            };
            if !holds {
                let revision = *revision;
                return Answer::Differed { seen, revision };
            }
            value
        }
    };
    *revision += 1;
    *register = Some((written, *revision));
    Answer::Written {
        revision: *revision,
    }
}
