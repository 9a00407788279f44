use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;
use raftery_behaviour::{Observation, Reason, Rules};

use super::*;
use crate::batch::LedgerRow;

pub(crate) const A: MemberId = MemberId(0xa);
const B: MemberId = MemberId(0xb);

fn verdict(member: MemberId, points: i32) -> Verdict {
    Verdict {
        member,
        points,
        reason: Reason::AcknowledgedInTime { acknowledged: 10 },
    }
}

fn batch_of(term: u64, window: u64, verdicts: Vec<Verdict>) -> LedgerBatch {
    let intervals = verdicts
        .iter()
        .map(|verdict| interval(verdict.member))
        .collect();
    let window = Window(window);
    LedgerBatch {
        rules: Rules::HIGHEST,
        scoring: None,
        term,
        window,
        at_unix_ms: 1_000,
        window_ms: 1_000,
        verdicts,
        intervals,
    }
}

fn interval(member: MemberId) -> Observation {
    Observation {
        heartbeats_sent: 10,
        heartbeats_acknowledged: 10,
        last_heard_ms: Some(12),
        ..Observation::blank(member)
    }
}

/// Applies by the scoring that a cluster begins with.
fn apply(kept: &mut Kept, index: u64, term: u64, batch: &LedgerBatch) -> Applied {
    if let Some((number, bytes)) = kept.full_block() {
        let before = kept.blocks.insert(number, Bytes::from(bytes));
        assert_eq!(before, None, "a block is full once");
    }
    let applied = kept.apply_batch(index, term, batch, &Scoring::default());
    let oldest = kept.oldest_block();
    kept.blocks.retain(|number, _| *number >= oldest);
    applied
}

/// The slow scores by member.
fn scores(ledger: &Ledger) -> Vec<(MemberId, i32)> {
    let scores = ledger.scores();
    scores.map(|(id, score)| (id, score.slow())).collect()
}

fn batch(term: u64, window: u64) -> LedgerBatch {
    batch_of(term, window, vec![verdict(A, 1), verdict(B, -3)])
}

/// A ledger with `count` windows of term 1 at the indexes 10, 20, 30, …
fn ledger_with(count: u64) -> Kept {
    let mut ledger = Kept::default();
    for window in 0..count {
        let applied = apply(&mut ledger, (window + 1) * 10, 1, &batch(1, window));
        assert_eq!(applied, Applied::Applied);
        ledger.check_invariants();
    }
    ledger
}

/// A ledger of at most five batches, in blocks of two, with its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    ledger: Ledger,
    blocks: BTreeMap<u64, Bytes>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            ledger: Ledger::with_limits(5, 2),
            blocks: BTreeMap::new(),
        }
    }
}

impl Kept {
    fn load(&self, rows: Rows) -> LoadedRows {
        let block = |number| self.blocks.get(&number).cloned().ok_or(number);
        rows.load(block).expect("what is retained is on the disk")
    }

    fn decode(&self, rows: Rows) -> Vec<LedgerRow> {
        self.load(rows).decode().unwrap().rows
    }

    fn indexes(&self, rows: Rows) -> Vec<u64> {
        self.decode(rows).iter().map(|row| row.index).collect()
    }
}

impl Deref for Kept {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

#[test]
fn a_window_is_counted_once_however_often_it_was_proposed() {
    let mut ledger = ledger_with(3);
    let before = ledger.clone();
    for window in [0, 2] {
        let applied = apply(&mut ledger, 99, 1, &batch(1, window));
        assert_eq!(applied, Applied::Ignored(Ignored::AlreadyApplied));
    }
    assert_eq!(ledger, before);
    assert_eq!(scores(&ledger), [(A, 2), (B, -8)]);
}

#[test]
fn a_batch_counts_only_in_the_term_in_which_it_was_judged() {
    let mut ledger = ledger_with(1);
    let before = ledger.clone();
    // Proposed in term 1, carried into term 2 by a new leader.
    let applied = apply(&mut ledger, 20, 2, &batch(1, 1));
    assert_eq!(applied, Applied::Ignored(Ignored::ForeignTerm));
    assert_eq!(ledger, before);
}

#[test]
fn each_term_counts_its_windows_from_zero() {
    let mut ledger = ledger_with(3);
    assert_eq!(apply(&mut ledger, 40, 2, &batch(2, 0)), Applied::Applied);
    assert_eq!(ledger.last_window(), Some((2, Window(0))));
    let stale = apply(&mut ledger, 50, 1, &batch(1, 3));
    assert_eq!(stale, Applied::Ignored(Ignored::AlreadyApplied));
    ledger.check_invariants();
}

#[test]
fn scores_add_up_and_stay_within_their_bounds() {
    let mut ledger = Kept::default();
    for window in 0..60 {
        let verdicts = vec![verdict(A, 40), verdict(B, -40)];
        apply(&mut ledger, window + 1, 1, &batch_of(1, window, verdicts));
        ledger.check_invariants();
    }
    assert_eq!(scores(&ledger), [(A, 1000), (B, -1000)]);
    assert_eq!(
        ledger.last_verdict(B).map(|verdict| verdict.points),
        Some(-40)
    );
    assert_eq!(
        ledger.standing(A).map(|standing| standing.window),
        Some(Window(59))
    );
    ledger.remove_member(B);
    assert_eq!(scores(&ledger), [(A, 1000)]);
    assert_eq!(ledger.last_verdict(B), None);
}

#[test]
fn the_cursor_never_goes_back_nor_beyond_the_last_batch() {
    let mut ledger = ledger_with(4);
    assert_eq!((ledger.exported_index(), ledger.pending()), (0, 4));
    ledger.mark_exported(20);
    assert_eq!((ledger.exported_index(), ledger.pending()), (20, 2));
    ledger.mark_exported(10);
    assert_eq!(ledger.exported_index(), 20);
    ledger.mark_exported(1_000);
    assert_eq!((ledger.exported_index(), ledger.pending()), (40, 0));
    ledger.check_invariants();
}

#[test]
fn rows_are_found_by_index() {
    let ledger = ledger_with(4);
    assert_eq!(ledger.indexes(ledger.batches_after(0, 2)), [10, 20]);
    assert_eq!(ledger.indexes(ledger.batches_after(20, 9)), [30, 40]);
    assert_eq!(ledger.indexes(ledger.rows(20, 2)), [20, 30]);
    assert_eq!(ledger.indexes(ledger.rows(0, 1)), [10]);
    assert_eq!(ledger.indexes(ledger.last_rows(2)), [30, 40]);
    assert_eq!(ledger.indexes(ledger.last_rows(99)), [10, 20, 30, 40]);
}

#[test]
fn exported_batches_are_dropped_first_and_leave_no_gap() {
    let mut ledger = ledger_with(5);
    ledger.mark_exported(50);
    for window in 5..10 {
        apply(&mut ledger, (window + 1) * 10, 1, &batch(1, window));
        ledger.check_invariants();
    }
    assert_eq!(ledger.indexes(ledger.rows(0, 99)), [60, 70, 80, 90, 100]);
    assert_eq!(ledger.gaps().count(), 0);
}

#[test]
fn an_unexported_batch_is_dropped_only_with_its_gap_recorded() {
    let mut ledger = ledger_with(8);
    let lost = Gap {
        first_index: 10,
        last_index: 30,
        batches: 3,
    };
    assert_eq!(ledger.gaps().collect::<Vec<_>>(), [&lost]);
    // The export comes back, catches up and falls behind once more: another gap.
    ledger.mark_exported(80);
    for window in 8..14 {
        apply(&mut ledger, (window + 1) * 10, 1, &batch(1, window));
        ledger.check_invariants();
    }
    let later = Gap {
        first_index: 90,
        last_index: 90,
        batches: 1,
    };
    assert_eq!(ledger.gaps().collect::<Vec<_>>(), [&lost, &later]);
}

#[test]
fn gaps_are_bounded_by_merging_the_oldest() {
    let mut ledger = ledger_with(5);
    for round in 0..100 {
        // Everything is exported, then six windows are not: one of them is lost.
        ledger.mark_exported(u64::MAX);
        for window in 0..6 {
            let window = 5 + round * 6 + window;
            apply(&mut ledger, (window + 1) * 10, 1, &batch(1, window));
        }
        ledger.check_invariants();
    }
    assert_eq!(ledger.gaps().count(), GAPS_MAX);
    assert_eq!(ledger.lost(), 100);
}

#[test]
fn batches_survive_the_encoding_of_the_log() {
    let batch = batch(3, 4);
    let bytes = postcard::to_stdvec(&batch).unwrap();
    assert_eq!(postcard::from_bytes::<LedgerBatch>(&bytes).unwrap(), batch);
}

#[test]
fn several_verdicts_of_a_window_count_together_and_the_gravest_is_shown() {
    let mut ledger = Kept::default();
    let slow = Verdict {
        member: A,
        points: -8,
        reason: Reason::SlowDisk {
            sync_micros: 90_000,
            median_micros: 1_000,
        },
    };
    let verdicts = vec![verdict(A, 5), slow.clone(), verdict(B, 1)];
    apply(&mut ledger, 10, 1, &batch_of(1, 0, verdicts));
    assert_eq!(scores(&ledger), [(A, -3), (B, 1)]);
    assert_eq!(ledger.last_verdict(A), Some(&slow));
    let fast = |id| ledger.standing(id).map(|standing| standing.score.fast());
    assert_eq!((fast(A), fast(B)), (Some(2), Some(1)));
}

#[test]
fn the_chain_tells_any_change_of_any_batch() {
    let mut ledger = ledger_with(3);
    let same = ledger_with(3);
    assert_eq!(ledger.chain(), same.chain());
    let before = ledger.chain();
    apply(&mut ledger, 40, 1, &batch(1, 3));
    assert_ne!(ledger.chain(), before);
    let rows = ledger.decode(ledger.rows(0, 9));
    let follows =
        |row: &LedgerRow, next: &LedgerRow| next.chain == row.chain.after(next.index, &next.batch);
    assert!(follows(&rows[0], &rows[1]) && !follows(&rows[0], &rows[2]));
    let mut changed = rows[1].clone();
    let mut batch = changed.batch.as_ref().clone();
    batch.verdicts[0].points += 1;
    changed.batch = Arc::new(batch);
    assert!(!follows(&rows[0], &changed));
    changed = rows[1].clone();
    changed.index += 1;
    assert!(!follows(&rows[0], &changed));
}

#[test]
fn the_chain_before_any_retained_batch_is_known() {
    let ledger = ledger_with(6);
    let all = ledger.decode(ledger_with(5).rows(0, 9));
    let before = |rows| ledger.load(rows).decode().unwrap().chain_before;
    assert_eq!(ledger.oldest_index(), 20);
    for (dropped_or_not, next) in all.iter().zip([20, 30, 40, 50, 60]) {
        assert_eq!(before(ledger.rows(next, 2)), Some(dropped_or_not.chain));
    }
    assert_eq!(before(ledger.rows(61, 1)), None);
    let first = ledger_with(1);
    let rows = first.load(first.rows(0, 1));
    assert_eq!(rows.decode().unwrap().chain_before, Some(Chain::default()));
}

#[test]
fn batches_leave_memory_in_blocks_and_the_disk_when_none_of_a_block_is_retained() {
    let mut ledger = Kept::default();
    for window in 0..20 {
        apply(&mut ledger, (window + 1) * 10, 1, &batch(1, window));
        ledger.check_invariants();
        assert!(ledger.ledger.open.len() <= 2);
        let retained = ledger.indexes(ledger.rows(0, usize::MAX));
        let first = (window + 1).saturating_sub(4).max(1);
        let expected: Vec<u64> = (first..=window + 1).map(|at| at * 10).collect();
        assert_eq!(retained, expected);
        assert!(ledger.blocks.len() <= 3, "{:?}", ledger.blocks.keys());
    }
    let copied: Ledger =
        postcard::from_bytes(&postcard::to_stdvec(&ledger.ledger).unwrap()).unwrap();
    assert_eq!(copied, ledger.ledger);
}

#[test]
fn a_full_block_leaves_memory_with_the_next_batch_even_if_that_is_ignored() {
    let again = |kept: &mut Kept| apply(kept, 99, 1, &batch(1, 1));
    let deposed = |kept: &mut Kept| apply(kept, 99, 2, &batch(1, 2));
    for ignored in [again, deposed] {
        let mut ledger = ledger_with(2);
        assert!(ledger.blocks.is_empty() && ledger.full_block().is_some());
        assert!(matches!(ignored(&mut ledger), Applied::Ignored(_)));
        assert!(ledger.full_block().is_none());
        assert_eq!(ledger.blocks.len(), 1);
        assert_eq!(apply(&mut ledger, 100, 1, &batch(1, 2)), Applied::Applied);
        ledger.check_invariants();
        assert_eq!(ledger.indexes(ledger.rows(0, 9)), [10, 20, 100]);
    }
}

#[test]
fn what_is_no_block_is_an_error() {
    let ledger = ledger_with(5);
    let no_block = |_| Ok::<_, ()>(Bytes::from_static(b"\x01"));
    let rows = ledger.rows(0, 9).load(no_block).unwrap();
    assert!(rows.decode().is_err());
    assert_eq!(ledger.rows(0, 9).load(|_| Err("the disk")), Err("the disk"));
}

#[test]
fn samples_are_the_ends_of_what_was_exported_and_the_last_word_on_judging() {
    let mut ledger = Kept::default();
    for window in 0..6 {
        let batch = LedgerBatch {
            scoring: (window == 2).then(Scoring::default),
            at_unix_ms: 1_000 * window,
            ..batch(1, window)
        };
        apply(&mut ledger, 10 + window, 1, &batch);
    }
    assert!(ledger.indexes(ledger.exported_samples(0)).is_empty());
    ledger.mark_exported(14);
    assert_eq!(ledger.indexes(ledger.exported_samples(0)), [11, 12, 14]);
    // Verdicts and intervals of the earlier ones have expired: of a block of which one lasts, that.
    let since = |unix_ms| ledger.indexes(ledger.exported_samples(unix_ms));
    assert_eq!(since(2_000), [12, 14]);
    assert_eq!(since(2_500), [12, 13, 14]);
    assert_eq!(since(4_000), [12, 14]);
    assert_eq!(since(5_000), [12, 14]);
}
