use bytes::Bytes;

use super::*;

/// A log with entries of these terms.
fn log(terms: &[u64]) -> Log {
    Log::new(entries(1, terms), LogIndex(0))
}

fn entries(first: u64, terms: &[u64]) -> Vec<Entry> {
    (first..)
        .zip(terms)
        .map(|(index, term)| Entry {
            id: LogId {
                term: Term(*term),
                index: LogIndex(index),
            },
            payload: Payload::Data(Bytes::from_static(b"x")),
        })
        .collect()
}

fn terms(log: &Log) -> Vec<u64> {
    log.range(LogIndex(0), log.last_index())
        .iter()
        .map(|e| e.id.term.0)
        .collect()
}

#[test]
fn an_acknowledgement_of_an_overwritten_entry_makes_nothing_durable() {
    let mut log = log(&[]);
    log.merge(entries(1, &[1, 1]));
    assert_eq!(log.hand_out(PersistSeq(1), usize::MAX).len(), 2);
    log.merge(entries(2, &[2]));
    assert_eq!(log.hand_out(PersistSeq(2), usize::MAX), entries(2, &[2]));
    log.on_persisted(PersistSeq(1));
    assert_eq!(log.durable(), LogIndex(1), "entry 2 is in batch 2 now");
    log.on_persisted(PersistSeq(2));
    assert_eq!(log.durable(), LogIndex(2));
    log.check_invariants();
}

#[test]
fn overwriting_a_durable_entry_takes_its_durability_away() {
    let mut log = log(&[1, 1, 1]);
    assert_eq!(log.durable(), LogIndex(3));
    log.merge(entries(2, &[2]));
    assert_eq!(
        (log.durable(), log.last_index()),
        (LogIndex(1), LogIndex(2))
    );
    assert_eq!(log.hand_out(PersistSeq(1), usize::MAX), entries(2, &[2]));
    log.check_invariants();
}

#[test]
fn a_late_shorter_append_cuts_nothing() {
    let mut log = log(&[1, 1, 2, 2]);
    log.merge(entries(2, &[1, 2]));
    assert_eq!(terms(&log), [1, 1, 2, 2]);
    log.merge(entries(3, &[2, 3, 3]));
    assert_eq!(terms(&log), [1, 1, 2, 3, 3]);
}

#[test]
fn back_up_finds_the_last_entry_of_at_most_a_term() {
    let log = log(&[1, 1, 3, 3, 5]);
    let at = |index, term| {
        let id = log.last_at_most(LogIndex(index), Term(term));
        (id.index.0, id.term.0)
    };
    assert_eq!(at(5, 5), (5, 5));
    assert_eq!(at(5, 4), (4, 3));
    assert_eq!(at(3, 3), (3, 3));
    assert_eq!(at(5, 2), (2, 1));
    assert_eq!(at(5, 0), (0, 0));
    assert_eq!(at(9, 9), (5, 5));
    assert_eq!(at(0, 9), (0, 0));
}

#[test]
fn batches_and_copies_respect_their_limit_but_hand_out_at_least_one() {
    let mut log = log(&[]);
    log.merge(entries(1, &[1, 1, 1]));
    let cost = entries(1, &[1])[0].cost();
    assert_eq!(log.copy_after(LogIndex(0), 2 * cost).len(), 2);
    assert_eq!(log.copy_after(LogIndex(0), 1).len(), 1);
    assert_eq!(log.copy_after(LogIndex(3), 1).len(), 0);
    assert_eq!(log.hand_out(PersistSeq(1), 2 * cost).len(), 2);
    assert_eq!(log.handed(), LogIndex(2));
    assert_eq!(log.hand_out(PersistSeq(2), 2 * cost).len(), 1);
}

#[test]
fn committed_entries_are_given_once_and_no_more_than_may_wait() {
    let mut log = log(&[1, 1, 1]);
    let cost = entries(1, &[1])[0].cost();
    assert_eq!(log.commit_to(LogIndex(3)).len(), 3);
    assert_eq!(log.give_out(2 * cost).len(), 2);
    assert_eq!(log.give_out(2 * cost).len(), 0, "two wait already");
    log.on_applied(LogIndex(1));
    assert_eq!(log.give_out(2 * cost), entries(3, &[1]));
    log.on_applied(LogIndex(3));
    assert_eq!(log.give_out(2 * cost).len(), 0);
    log.check_invariants();
}
