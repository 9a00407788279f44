use std::sync::Arc;

use mongodb::bson::doc;
use raftery_behaviour::{MemberId, Observation, Reason, Rules, Scoring, Verdict, Window};
use raftery_ledger::LedgerBatch;

use super::*;

const LINEAGE: &str = "00000000000000aa";

fn rows(count: u64) -> Vec<LedgerRow> {
    let mut chain = Chain::default();
    let row = |window| {
        let batch = LedgerBatch {
            rules: Rules::HIGHEST,
            term: 1,
            window: Window(window),
            at_unix_ms: 1_000 * window,
            window_ms: 1_000,
            scoring: (window == 0).then(Scoring::default),
            verdicts: vec![Verdict {
                member: MemberId(1),
                points: 1,
                reason: Reason::Led,
            }],
            intervals: vec![Observation::blank(MemberId(1))],
        };
        let index = 10 + window;
        chain = chain.after(index, &batch);
        LedgerRow {
            index,
            chain,
            batch: Arc::new(batch),
        }
    };
    (0..count).map(row).collect()
}

fn stored(rows: &[LedgerRow]) -> Vec<Document> {
    rows.iter()
        .flat_map(|row| documents(LINEAGE, row).rewards)
        .collect()
}

fn compare(rows: &[LedgerRow], found: &[Document], exported_index: u64, since: u64) -> Compared {
    let expected = Expected {
        lineage: LINEAGE,
        collection: REWARDS,
        rows,
        exported_index,
        lasting_since_unix_ms: since,
    };
    expected.compare(found)
}

#[test]
fn what_is_exported_must_be_there_and_what_comes_later_may_be() {
    let rows = rows(5);
    let all = compare(&rows, &stored(&rows), 12, 0);
    assert_eq!((all.fitting, all.differences.len()), (5, 0));
    let none = compare(&rows, &[], 12, 0);
    let missing = |index| Difference::Missing {
        collection: REWARDS,
        index,
        ordinal: 0,
    };
    assert_eq!(none.differences, [missing(10), missing(11), missing(12)]);
}

#[test]
fn what_has_expired_is_counted_and_not_wrong() {
    let rows = rows(5);
    let compared = compare(&rows, &stored(&rows[2..]), 14, 2_000);
    assert_eq!((compared.fitting, compared.expired), (3, 2));
    assert_eq!(compared.differences, []);
}

#[test]
fn a_changed_document_and_a_foreign_one_are_told_apart() {
    let rows = rows(3);
    let mut found = stored(&rows);
    found[0].insert("points", 1_000);
    found[1] = documents(
        LINEAGE,
        &LedgerRow {
            chain: Chain::default(),
            ..rows[1].clone()
        },
    )
    .rewards
    .remove(0);
    found.push(doc! { "_id": { "lineage": LINEAGE, "index": 11_i64, "ordinal": 7_i64 } });
    let differences = compare(&rows, &found, 12, 0).differences;
    let changed = |index, its_hash_fits| Difference::Changed {
        collection: REWARDS,
        index,
        ordinal: 0,
        its_hash_fits,
    };
    assert_eq!(differences[..2], [changed(10, false), changed(11, true)]);
    let told = differences[2].to_string();
    assert!(
        told.contains("foreign in rewards") && told.contains("7"),
        "{told}"
    );
    assert_eq!(differences.len(), 3);
}

#[test]
fn a_batch_that_was_changed_breaks_the_chain_there_and_nowhere_else() {
    let mut rows = rows(4);
    assert_eq!(broken(&mut Some(Chain::default()), &rows), []);
    let mut batch = rows[2].batch.as_ref().clone();
    batch.verdicts[0].points = 1_000;
    rows[2].batch = Arc::new(batch);
    assert_eq!(
        broken(&mut Some(Chain::default()), &rows),
        [Difference::BrokenChain { index: 12 }]
    );
    // A batch in the middle is gone.
    rows.remove(2);
    assert_eq!(
        broken(&mut None, &rows),
        [Difference::BrokenChain { index: 13 }]
    );
    assert_eq!(broken(&mut None, &rows[1..2]), []);
}
