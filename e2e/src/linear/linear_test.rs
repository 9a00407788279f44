//! Histories whose verdict is known, and random ones against a search without any cleverness.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

use super::register::{Effect, Step, steps};
use super::simulated::Simulation;
use super::*;

const LIMIT: Duration = Duration::from_secs(10);
const KEY: &str = "key-0";

/// From and to in milliseconds, what, and the answer.
fn history(operations: &[(u64, u64, Action, Answer)]) -> History {
    let operations = operations.iter().enumerate();
    let operations = operations.map(|(number, (from, to, action, answer))| Operation {
        client: number as u32,
        key: KEY.to_owned(),
        action: *action,
        invoked: Duration::from_millis(*from),
        returned: Duration::from_millis(*to),
        answer: *answer,
    });
    History {
        operations: operations.collect(),
    }
}

fn got(value: u64, at: i64, revision: i64) -> Answer {
    Answer::Got {
        seen: Some((value, at)),
        revision,
    }
}

fn got_nothing(revision: i64) -> Answer {
    let seen = None;
    Answer::Got { seen, revision }
}

fn written(revision: i64) -> Answer {
    Answer::Written { revision }
}

fn differed(value: u64, at: i64, revision: i64) -> Answer {
    Answer::Differed {
        seen: Some((value, at)),
        revision,
    }
}

fn swap(expected: u64, value: u64) -> Action {
    Action::CompareAndPut {
        expected: Expected::Value(expected),
        value,
    }
}

fn swap_at(expected: i64, value: u64) -> Action {
    Action::CompareAndPut {
        expected: Expected::ModRevision(expected),
        value,
    }
}

/// The verdict of the search alone, without the check of revisions that would see it first.
fn search_only(history: &History) -> Result<(), Violation> {
    search::check(KEY, &steps(history, KEY)?, LIMIT)
}

#[test]
fn operations_one_after_the_other_are_accepted() {
    let history = history(&[
        (0, 1, Action::Get, got_nothing(1)),
        (2, 3, Action::Put(10), written(2)),
        (4, 5, swap(10, 11), written(3)),
        (6, 7, swap(10, 12), differed(11, 3, 3)),
        (8, 9, swap_at(3, 13), written(4)),
        (10, 11, swap_at(0, 14), differed(13, 4, 4)),
        (12, 13, Action::Get, got(13, 4, 4)),
    ]);
    assert_eq!(check(&history, LIMIT), Ok(()));
}

#[test]
fn concurrent_reads_may_see_the_old_or_the_new_value() {
    for (first, second, is_right) in [(1, 1, true), (1, 2, true), (2, 2, true), (2, 1, false)] {
        let read = |value: u64| got(value, value as i64 + 1, 3);
        let history = history(&[
            (0, 1, Action::Put(1), written(2)),
            (2, 10, Action::Put(2), written(3)),
            (3, 4, Action::Get, read(first)),
            (5, 6, Action::Get, read(second)),
        ]);
        assert_eq!(search_only(&history).is_ok(), is_right, "{first} {second}");
    }
}

#[test]
fn a_stale_read_is_found_and_named() {
    let history = history(&[
        (0, 1, Action::Put(1), written(2)),
        (2, 3, Action::Put(2), written(3)),
        (4, 5, Action::Get, got(1, 2, 3)),
    ]);
    let error = check(&history, LIMIT).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Violation::NotLinearizable { .. }), "{text}");
    assert!(
        text.contains("client 2: get key-0 -> 1 (written at 2) at revision 3"),
        "{text}"
    );
}

#[test]
fn an_acknowledged_write_that_is_lost_is_found() {
    let history = history(&[
        (0, 1, Action::Put(1), written(2)),
        (2, 3, Action::Get, got_nothing(2)),
    ]);
    let error = check(&history, LIMIT).unwrap_err();
    assert!(matches!(error, Violation::NotLinearizable { .. }));
}

#[test]
fn an_unanswered_write_may_take_effect_much_later_or_never_but_only_once() {
    let put = (0, 1, Action::Put(1), written(2));
    let unanswered = (2, 3, Action::Put(2), Answer::Unknown);
    let before = (10, 11, Action::Get, got(1, 2, 2));
    let later = (20, 21, Action::Get, got(2, 3, 3));
    let next = (30, 31, Action::Put(3), written(4));
    let again = (40, 41, Action::Get, got(2, 3, 4));
    let not_again = (40, 41, Action::Get, got(3, 4, 4));
    let good = history(&[put, unanswered, before, later, next, not_again]);
    assert_eq!(check(&good, LIMIT), Ok(()));
    let never = history(&[put, unanswered, before, (20, 21, Action::Get, got(1, 2, 2))]);
    assert_eq!(check(&never, LIMIT), Ok(()));
    let twice = history(&[put, unanswered, before, later, next, again]);
    assert!(check(&twice, LIMIT).is_err());
    let gone = history(&[put, unanswered, later, (30, 31, Action::Get, got(1, 2, 3))]);
    assert!(check(&gone, LIMIT).is_err());
}

#[test]
fn an_unanswered_comparison_takes_effect_only_where_it_holds() {
    let put = (0, 1, Action::Put(1), written(2));
    let unanswered = (2, 3, swap(1, 2), Answer::Unknown);
    let seen = (10, 11, Action::Get, got(2, 3, 3));
    assert_eq!(check(&history(&[put, unanswered, seen]), LIMIT), Ok(()));
    let other = (4, 5, Action::Put(3), written(3));
    let seen = (10, 11, Action::Get, got(2, 4, 4));
    let before_other = (6, 7, Action::Get, got(3, 3, 3));
    let history = history(&[put, unanswered, other, before_other, seen]);
    assert!(matches!(
        check(&history, LIMIT),
        Err(Violation::NotLinearizable { .. })
    ));
}

#[test]
fn a_chain_of_unanswered_comparisons_is_found_through_its_last_link() {
    let links = (2..=5).map(|value| (2, 3, swap(value - 1, value), Answer::Unknown));
    let mut all = vec![(0, 1, Action::Put(1), written(2))];
    all.extend(links);
    all.push((10, 11, Action::Get, got(5, 6, 6)));
    assert_eq!(check(&history(&all), LIMIT), Ok(()));
    all.remove(2);
    assert!(check(&history(&all), LIMIT).is_err());
}

#[test]
fn two_comparisons_with_one_value_dont_both_succeed() {
    let history = history(&[
        (0, 1, Action::Put(1), written(2)),
        (2, 9, swap(1, 2), written(3)),
        (2, 9, swap_at(2, 3), written(4)),
    ]);
    assert!(check(&history, LIMIT).is_err());
}

#[test]
fn a_comparison_that_fails_though_it_held_is_found() {
    let history = history(&[
        (0, 1, Action::Put(1), written(2)),
        (2, 3, swap(1, 2), differed(1, 2, 2)),
    ]);
    assert!(matches!(
        check(&history, LIMIT),
        Err(Violation::NotLinearizable { .. })
    ));
}

#[test]
fn writes_are_ordered_as_their_revisions_say() {
    let history = history(&[
        (0, 9, Action::Put(1), written(3)),
        (0, 9, Action::Put(2), written(2)),
        (10, 11, Action::Get, got(2, 2, 3)),
    ]);
    assert!(matches!(
        search_only(&history),
        Err(Violation::NotLinearizable { .. })
    ));
}

#[test]
fn values_out_of_nothing_or_out_of_the_future_are_found() {
    let never = history(&[(0, 1, Action::Get, got(7, 2, 2))]);
    assert!(matches!(
        check(&never, LIMIT),
        Err(Violation::NeverWritten { .. })
    ));
    let future = history(&[
        (0, 1, Action::Get, got(7, 2, 2)),
        (2, 3, Action::Put(7), Answer::Unknown),
    ]);
    assert!(matches!(
        check(&future, LIMIT),
        Err(Violation::BeforeItsWrite { .. })
    ));
}

#[test]
fn revisions_that_go_back_in_time_or_have_two_writes_are_found() {
    let mut back = history(&[
        (0, 1, Action::Put(1), written(5)),
        (2, 3, Action::Get, got_nothing(4)),
    ]);
    // of another key, about which the search says nothing
    back.operations[1].key = "key-1".to_owned();
    assert!(matches!(
        check(&back, LIMIT),
        Err(Violation::RevisionWentBack { .. })
    ));
    let same = history(&[
        (0, 1, Action::Put(1), written(5)),
        (0, 1, Action::Put(2), written(5)),
    ]);
    assert!(matches!(
        check(&same, LIMIT),
        Err(Violation::RevisionIsAmbiguous { .. })
    ));
    let twice = history(&[
        (0, 1, Action::Put(1), written(5)),
        (0, 9, Action::Get, got(1, 6, 6)),
    ]);
    assert!(matches!(
        check(&twice, LIMIT),
        Err(Violation::RevisionIsAmbiguous { .. })
    ));
}

#[test]
fn a_search_beyond_its_time_says_undecided() {
    let simulation = Simulation {
        clients: 8,
        operations_each: 500,
        keys: 1,
        unanswered: 0,
    };
    let history = simulation.run(&mut Rng::with_seed(1));
    let error = check(&history, Duration::ZERO).unwrap_err();
    assert!(matches!(error, Violation::Undecided { .. }), "{error}");
    assert!(error.to_string().contains("4000 operations"), "{error}");
}

#[test]
fn long_histories_of_right_registers_are_accepted_and_wrong_ones_are_not() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let simulation = Simulation {
            clients: 9,
            operations_each: 400,
            keys: 3,
            unanswered: 5,
        };
        let mut history = simulation.run(&mut rng);
        check(&history, LIMIT).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        make_stale(&mut history, &mut rng);
        let error = check(&history, LIMIT).expect_err("a stale read");
        let is_proven = !matches!(error, Violation::Undecided { .. });
        assert!(is_proven, "seed {seed}: {error}");
    }
}

/// Lets a read see a value that was surely replaced before it began.
fn make_stale(history: &mut History, rng: &mut Rng) {
    loop {
        let reader = rng.usize(0..history.operations.len());
        let (key, invoked) = {
            let reader = &history.operations[reader];
            (reader.key.clone(), reader.invoked)
        };
        let done = |op: &&Operation| op.key == key && op.returned < invoked;
        let writes = history.operations.iter().filter(done);
        let writes: Vec<_> = writes
            .filter(|op| matches!(op.answer, Answer::Written { .. }))
            .filter_map(Operation::shows)
            .collect();
        let newest = writes.iter().map(|(_, revision)| *revision).max();
        let old = writes.iter().find(|(_, revision)| Some(*revision) < newest);
        if let (Answer::Got { revision, .. }, Some(old)) =
            (history.operations[reader].answer, old.copied())
        {
            history.operations[reader].answer = Answer::Got {
                seen: Some(old),
                revision,
            };
            return;
        }
    }
}

#[test]
fn short_histories_get_the_verdict_of_trying_every_order() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..20_000 {
        let mut rng = Rng::with_seed(seed);
        let simulation = Simulation {
            clients: 3,
            operations_each: 2,
            keys: 1,
            unanswered: 30,
        };
        let mut history = simulation.run(&mut rng);
        for _ in 0..rng.usize(0..3) {
            disturb(&mut history, &mut rng);
        }
        let found = search_only(&history);
        let expected = some_order_is_right(&history);
        assert_eq!(
            found.is_ok(),
            expected,
            "seed {seed}: {found:?}: {history:?}"
        );
        if expected { right += 1 } else { wrong += 1 }
    }
    assert!(right > 3000 && wrong > 3000, "{right} right, {wrong} wrong");
}

/// Changes what one operation saw, how its comparison ended, or when it took place.
fn disturb(history: &mut History, rng: &mut Rng) {
    let shown: Vec<_> = (history.operations.iter())
        .filter_map(Operation::shows)
        .collect();
    let place = rng.usize(0..history.operations.len());
    let operation = &mut history.operations[place];
    let other = (!shown.is_empty()).then(|| shown[rng.usize(0..shown.len())]);
    match &mut operation.answer {
        Answer::Got { seen, .. } | Answer::Differed { seen, .. } => *seen = other,
        Answer::Written { .. } | Answer::Unknown => {
            let length = operation.returned - operation.invoked;
            operation.invoked = Duration::from_micros(rng.u64(0..40_000));
            operation.returned = operation.invoked + length;
        }
    }
}

/// Tries every order of every choice of the unanswered operations.
fn some_order_is_right(history: &History) -> bool {
    let revisions: BTreeMap<u64, i64> = (history.operations.iter())
        .filter_map(Operation::shows)
        .collect();
    let mut left: Vec<&Operation> = history.operations.iter().collect();
    extend(&mut left, None, 0, &revisions)
}

fn extend(
    left: &mut Vec<&Operation>,
    value: Option<u64>,
    written_at: i64,
    revisions: &BTreeMap<u64, i64>,
) -> bool {
    if left.iter().all(|one| one.answer == Answer::Unknown) {
        return true;
    }
    for place in 0..left.len() {
        let next = left[place];
        let answered = |one: &&&Operation| one.answer != Answer::Unknown;
        if (left.iter().filter(answered)).any(|one| one.returned < next.invoked) {
            continue;
        }
        let holds = match next.action {
            Action::CompareAndPut { expected, .. } => match expected {
                Expected::Value(expected) => value == Some(expected),
                Expected::ModRevision(0) => value.is_none(),
                Expected::ModRevision(expected) => {
                    value.and_then(|value| revisions.get(&value)) == Some(&expected)
                }
            },
            Action::Get | Action::Put(_) => true,
        };
        let writes = match next.action {
            Action::Put(value) | Action::CompareAndPut { value, .. } => holds.then_some(value),
            Action::Get => None,
        };
        let is_right = match next.answer {
            Answer::Unknown => true,
            Answer::Got { seen, .. } => seen.map(|(seen, _)| seen) == value,
            Answer::Differed { seen, .. } => seen.map(|(seen, _)| seen) == value && !holds,
            Answer::Written { .. } => holds,
        };
        let revision = writes.and_then(|value| revisions.get(&value)).copied();
        if !is_right || revision.is_some_and(|revision| revision <= written_at) {
            continue;
        }
        left.remove(place);
        let found = extend(
            left,
            writes.or(value),
            revision.unwrap_or(written_at),
            revisions,
        );
        left.insert(place, next);
        if found {
            return true;
        }
    }
    false
}

#[test]
fn steps_of_unanswered_writes_end_when_they_were_seen_first() {
    let history = history(&[
        (0, 1, Action::Put(1), Answer::Unknown),
        (0, 1, Action::Put(2), Answer::Unknown),
        (5, 6, Action::Get, got(1, 2, 2)),
        (5, 9, Action::Get, got(1, 2, 2)),
    ]);
    let steps = steps(&history, KEY).unwrap();
    let writes: Vec<&Step<'_>> = (steps.iter())
        .filter(|step| matches!(step.effect, Effect::Write(_)))
        .collect();
    assert_eq!(writes.len(), 1, "the one that was seen");
    assert_eq!(writes[0].effect, Effect::Write(1));
    assert_eq!(writes[0].returned, Duration::from_millis(6));
}
