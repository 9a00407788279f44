use bytes::Bytes;

use super::*;

/// A log with entries of these terms.
fn log(terms: &[u64]) -> Log {
    Log::new(
        LogId::default(),
        entries(1, terms),
        LogIndex(0),
        LogIndex(0),
    )
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
    log.range(log.base().index, log.last_index())
        .map(|e| e.id.term.0)
        .collect()
}

#[test]
fn an_acknowledgement_of_an_overwritten_entry_makes_nothing_durable() {
    let mut log = log(&[]);
    log.merge(entries(1, &[1, 1]));
    assert_eq!(log.hand_out(PersistSeq(1), usize::MAX).1.len(), 2);
    log.merge(entries(2, &[2]));
    assert_eq!(
        log.hand_out(PersistSeq(2), usize::MAX),
        (None, entries(2, &[2]))
    );
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
    assert_eq!(
        log.hand_out(PersistSeq(1), usize::MAX),
        (None, entries(2, &[2]))
    );
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
        let id = id.expect("nothing was dropped");
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
    assert_eq!(log.hand_out(PersistSeq(1), 2 * cost).1.len(), 2);
    assert_eq!(log.handed(), LogIndex(2));
    assert_eq!(log.hand_out(PersistSeq(2), 2 * cost).1.len(), 1);
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

/// Entries 4 to 6, of these terms, behind 3@2; applied up to `applied`.
fn tail(applied: u64) -> Log {
    let applied = LogIndex(applied);
    Log::new(id(3, 2), entries(4, &[2, 4, 4]), applied, applied)
}

fn id(index: u64, term: u64) -> LogId {
    LogId {
        term: Term(term),
        index: LogIndex(index),
    }
}

#[test]
fn below_the_base_nothing_is_known() {
    let log = tail(3);
    assert_eq!(log.term(LogIndex(2)), None);
    assert_eq!(log.term(LogIndex(3)), Some(Term(2)));
    assert_eq!(log.term(LogIndex(4)), Some(Term(2)));
    assert_eq!(log.term(LogIndex(7)), None);
    assert!(log.holds(id(3, 2)) && !log.holds(id(2, 1)));
    assert!(log.holds_or_held(id(2, 1)) && !log.holds_or_held(id(3, 1)));
    let back_up = |index, term| log.last_at_most(LogIndex(index), Term(term));
    assert_eq!(back_up(9, 3), Some(id(4, 2)));
    assert_eq!(back_up(3, 9), Some(id(3, 2)));
    assert_eq!(back_up(9, 1), None, "of a term before the base's");
    assert_eq!(back_up(2, 9), None);
    log.check_invariants();
}

#[test]
fn compaction_drops_what_is_applied_and_keeps_the_term_of_its_last() {
    let mut log = tail(5);
    log.compact(LogIndex(2));
    assert_eq!(log.base(), id(3, 2), "long gone");
    log.compact(LogIndex(5));
    assert_eq!((log.base(), log.last_id()), (id(5, 4), id(6, 4)));
    assert_eq!(log.copy_after(LogIndex(5), usize::MAX), entries(6, &[4]));
    log.merge(entries(4, &[2, 4, 4, 5]));
    assert_eq!(terms(&log), [4, 5], "what was dropped is skipped");
    log.check_invariants();
    log.commit_to(LogIndex(7));
    log.give_out(usize::MAX);
    log.on_applied(LogIndex(7));
    log.compact(LogIndex(7));
    assert_eq!(
        (log.base(), log.last_id()),
        (id(6, 4), id(7, 5)),
        "7 isn't durable"
    );
    log.check_invariants();
}

#[test]
fn a_snapshot_takes_the_place_of_the_log_and_is_durable_with_its_batch() {
    let mut log = tail(3);
    log.merge(entries(7, &[4]));
    assert_eq!(log.hand_out(PersistSeq(1), usize::MAX).1.len(), 1);
    log.rebase(id(9, 5));
    assert_eq!((log.last_id(), log.commit()), (id(9, 5), LogIndex(9)));
    assert!(log.has_unwritten());
    log.on_persisted(PersistSeq(1));
    assert_eq!(log.durable(), LogIndex(8), "batch 1 knows nothing of it");
    log.check_invariants();
    log.merge(entries(10, &[6]));
    let batch = log.hand_out(PersistSeq(2), usize::MAX);
    assert_eq!(batch, (Some(id(9, 5)), entries(10, &[6])));
    log.merge(entries(10, &[7, 7]));
    let batch = log.hand_out(PersistSeq(3), usize::MAX);
    assert_eq!(batch, (None, entries(10, &[7, 7])));
    log.on_persisted(PersistSeq(2));
    assert_eq!(
        log.durable(),
        LogIndex(9),
        "the base, and not the entry replaced since"
    );
    log.on_persisted(PersistSeq(3));
    assert_eq!(log.durable(), LogIndex(11));
    log.check_invariants();
    log.rebase(id(20, 8));
    assert_eq!(
        log.hand_out(PersistSeq(4), usize::MAX),
        (Some(id(20, 8)), vec![])
    );
    log.rebase(id(30, 8));
    log.on_persisted(PersistSeq(4));
    assert_eq!(log.durable(), LogIndex(29), "another snapshot's batch");
    log.check_invariants();
}
