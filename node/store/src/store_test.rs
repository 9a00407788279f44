//! etcd's rules for the KV service, one sentence each.

use bytes::Bytes;

use crate::testing::Tested;
use crate::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn key(key: &str) -> KeyRange {
    KeyRange::from_etcd(bytes(key), Bytes::new())
}

fn span(start: &str, end: &str) -> KeyRange {
    KeyRange::from_etcd(bytes(start), bytes(end))
}

fn all() -> KeyRange {
    span("\0", "\0")
}

fn put_op(key: &str, value: &str) -> PutOp {
    PutOp {
        key: bytes(key),
        value: bytes(value),
        ..PutOp::default()
    }
}

fn delete_op(range: KeyRange) -> DeleteRangeOp {
    DeleteRangeOp {
        range,
        prev_kv: false,
    }
}

fn txn_op(compare: Vec<Compare>, success: Vec<TxnRequestOp>, failure: Vec<TxnRequestOp>) -> TxnOp {
    TxnOp {
        compare,
        success,
        failure,
    }
}

fn compare(range: KeyRange, target: CompareTarget, result: CompareResult) -> Compare {
    Compare {
        range,
        result,
        target,
    }
}

fn exists(name: &str) -> Compare {
    compare(key(name), CompareTarget::Version(0), CompareResult::Greater)
}

fn put(store: &mut Tested, key: &str, value: &str) -> i64 {
    store
        .apply(&WriteOp::Put(put_op(key, value)))
        .unwrap()
        .revision()
}

fn delete(store: &mut Tested, range: KeyRange) -> DeleteRangeResult {
    match store
        .apply(&WriteOp::DeleteRange(delete_op(range)))
        .unwrap()
    {
        WriteResult::DeleteRange(result) => result,
        other => panic!("{other:?}"),
    }
}

fn txn(store: &mut Tested, op: TxnOp) -> Result<TxnResult, StoreError> {
    store.apply(&WriteOp::Txn(op)).map(|result| match result {
        WriteResult::Txn(result) => result,
        other => panic!("{other:?}"),
    })
}

fn compact(store: &mut Tested, revision: i64) -> Result<(), StoreError> {
    store.apply(&WriteOp::Compact { revision }).map(|_| ())
}

/// `key=value` of every pair that the range answers.
fn read(store: &Tested, op: &RangeOp) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let pair = |kv: &KeyValue| format!("{}={}", text(&kv.key), text(&kv.value));
    store.range(op).unwrap().kvs.iter().map(pair).collect()
}

fn read_all(store: &Tested) -> Vec<String> {
    read(store, &RangeOp::new(all()))
}

fn get(store: &Tested, name: &str) -> Option<KeyValue> {
    store.range(&RangeOp::new(key(name))).unwrap().kvs.pop()
}

/// a1 b2 c3, written in this order at the revisions 2 to 4.
fn store_abc() -> Tested {
    let mut store = Tested::new();
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        put(&mut store, key, value);
    }
    store
}

#[test]
fn an_empty_store_is_at_revision_one_and_the_first_put_makes_two() {
    let mut store = Tested::new();
    assert_eq!((store.revision(), store.compact_revision()), (1, -1));
    assert_eq!(put(&mut store, "a", "1"), 2);
    assert_eq!(store.revision(), 2);
}

#[test]
fn a_put_counts_versions_and_keeps_the_create_revision_until_the_key_is_deleted() {
    let mut store = Tested::new();
    put(&mut store, "a", "1");
    put(&mut store, "a", "2");
    let kv = get(&store, "a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
    delete(&mut store, key("a"));
    put(&mut store, "a", "3");
    let kv = get(&store, "a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (5, 5, 1));
}

#[test]
fn a_delete_that_finds_nothing_and_a_txn_that_changes_nothing_keep_the_revision() {
    let mut store = store_abc();
    let result = delete(&mut store, key("x"));
    assert_eq!((result.deleted, result.revision), (0, 4));
    let nothing = vec![TxnRequestOp::DeleteRange(delete_op(key("x")))];
    let result = txn(&mut store, txn_op(vec![], nothing, vec![])).unwrap();
    assert_eq!(
        (result.succeeded, result.revision, store.revision()),
        (true, 4, 4)
    );
}

#[test]
fn range_end_means_one_key_a_span_everything_from_a_key_or_everything() {
    let store = store_abc();
    for (range, expected) in [
        (key("b"), vec!["b=2"]),
        (key("x"), vec![]),
        (span("a", "c"), vec!["a=1", "b=2"]),
        (span("a", "b"), vec!["a=1"]),
        (span("b", "\0"), vec!["b=2", "c=3"]),
        (span("\0", "\0"), vec!["a=1", "b=2", "c=3"]),
        (span("c", "a"), vec![]),
        (span("b", "b"), vec![]),
    ] {
        assert_eq!(
            read(&store, &RangeOp::new(range.clone())),
            expected,
            "{range:?}"
        );
    }
}

#[test]
fn count_ignores_limit_and_filters_and_more_says_that_the_limit_cut() {
    let store = store_abc();
    let op = RangeOp {
        limit: 2,
        ..RangeOp::new(all())
    };
    let result = store.range(&op).unwrap();
    assert_eq!((result.kvs.len(), result.more, result.count), (2, true, 3));
    let result = store
        .range(&RangeOp {
            limit: 3,
            ..op.clone()
        })
        .unwrap();
    assert_eq!((result.kvs.len(), result.more, result.count), (3, false, 3));
    let result = store
        .range(&RangeOp {
            limit: 1,
            min_mod_revision: 3,
            ..op.clone()
        })
        .unwrap();
    assert_eq!((result.kvs.len(), result.more, result.count), (1, true, 3));
    let result = store.range(&RangeOp { limit: -1, ..op }).unwrap();
    assert_eq!((result.kvs.len(), result.more), (3, false));
}

#[test]
fn count_only_returns_no_pairs_and_keys_only_no_values() {
    let store = store_abc();
    let result = store
        .range(&RangeOp {
            count_only: true,
            ..RangeOp::new(all())
        })
        .unwrap();
    assert_eq!((result.kvs.len(), result.more, result.count), (0, false, 3));
    let result = store
        .range(&RangeOp {
            keys_only: true,
            ..RangeOp::new(key("b"))
        })
        .unwrap();
    assert_eq!(
        (result.kvs[0].value.len(), result.kvs[0].mod_revision),
        (0, 3)
    );
}

#[test]
fn a_sort_sees_all_pairs_before_the_limit_cuts() {
    let mut store = store_abc();
    put(&mut store, "a", "9");
    for (target, order, expected) in [
        (SortTarget::Key, SortOrder::Descend, ["c=3", "b=2"]),
        (SortTarget::Value, SortOrder::Ascend, ["b=2", "c=3"]),
        (SortTarget::Value, SortOrder::Descend, ["a=9", "c=3"]),
        (SortTarget::Version, SortOrder::Descend, ["a=9", "b=2"]),
        (
            SortTarget::CreateRevision,
            SortOrder::Descend,
            ["c=3", "b=2"],
        ),
        (SortTarget::ModRevision, SortOrder::Ascend, ["b=2", "c=3"]),
    ] {
        let op = RangeOp {
            limit: 2,
            sort_target: target,
            sort_order: order,
            ..RangeOp::new(all())
        };
        assert_eq!(read(&store, &op), expected, "{target:?} {order:?}");
        assert!(store.range(&op).unwrap().more);
    }
}

#[test]
fn a_sort_by_value_works_though_only_keys_are_returned() {
    let mut store = store_abc();
    put(&mut store, "a", "9");
    let op = RangeOp {
        keys_only: true,
        sort_target: SortTarget::Value,
        sort_order: SortOrder::Descend,
        ..RangeOp::new(all())
    };
    assert_eq!(read(&store, &op), ["a=", "c=", "b="]);
}

#[test]
fn a_target_without_an_order_sorts_only_the_first_keys_within_the_limit() {
    let mut store = store_abc();
    put(&mut store, "a", "9");
    let op = RangeOp {
        limit: 1,
        sort_target: SortTarget::Value,
        ..RangeOp::new(all())
    };
    // Of a=9 and b=2, one more than the limit; c=3 is never looked at.
    assert_eq!(read(&store, &op), ["b=2"]);
}

#[test]
fn filters_bound_the_mod_and_the_create_revision() {
    let mut store = store_abc();
    put(&mut store, "a", "9");
    let op = RangeOp::new(all());
    for (op, expected) in [
        (
            RangeOp {
                min_mod_revision: 4,
                ..op.clone()
            },
            vec!["a=9", "c=3"],
        ),
        (
            RangeOp {
                max_mod_revision: 4,
                ..op.clone()
            },
            vec!["b=2", "c=3"],
        ),
        (
            RangeOp {
                min_create_revision: 3,
                ..op.clone()
            },
            vec!["b=2", "c=3"],
        ),
        (
            RangeOp {
                max_create_revision: 2,
                ..op.clone()
            },
            vec!["a=9"],
        ),
        (
            RangeOp {
                min_mod_revision: 3,
                max_mod_revision: 3,
                ..op
            },
            vec!["b=2"],
        ),
    ] {
        assert_eq!(read(&store, &op), expected, "{op:?}");
    }
}

#[test]
fn old_revisions_stay_readable_and_future_ones_are_refused() {
    let mut store = store_abc();
    delete(&mut store, key("a"));
    put(&mut store, "b", "9");
    let at = |revision| RangeOp {
        revision,
        ..RangeOp::new(all())
    };
    assert_eq!(read(&store, &at(1)), Vec::<String>::new());
    assert_eq!(read(&store, &at(3)), ["a=1", "b=2"]);
    assert_eq!(read(&store, &at(4)), ["a=1", "b=2", "c=3"]);
    assert_eq!(read(&store, &at(5)), ["b=2", "c=3"]);
    assert_eq!(read(&store, &at(6)), read_all(&store));
    assert_eq!(read(&store, &at(-7)), read_all(&store));
    assert_eq!(store.range(&at(3)).unwrap().revision, 6);
    let future = StoreError::FutureRevision {
        requested: 7,
        current_revision: 6,
    };
    assert_eq!(store.range(&at(7)), Err(future));
}

#[test]
fn an_old_revision_tells_the_version_and_create_revision_of_then() {
    let mut store = store_abc();
    put(&mut store, "a", "4");
    delete(&mut store, key("a"));
    put(&mut store, "a", "5");
    put(&mut store, "c", "6");
    for keys_only in [false, true] {
        let op = RangeOp {
            revision: 5,
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Version,
            max_create_revision: 3,
            keys_only,
            ..RangeOp::new(all())
        };
        let kvs = store.range(&op).unwrap().kvs;
        let told = kvs.iter().map(|kv| (&kv.key[..], kv.version));
        let expected: [(&[u8], i64); 2] = [(b"a", 2), (b"b", 1)];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        let created: Vec<i64> = kvs.iter().map(|kv| kv.create_revision).collect();
        assert_eq!(created, [2, 3]);
    }
}

#[test]
fn a_compaction_keeps_its_own_revision_readable_and_nothing_below() {
    let mut store = store_abc();
    put(&mut store, "a", "9");
    delete(&mut store, key("b"));
    let (before, full_bytes) = (read_all(&store), store.logical_bytes());
    compact(&mut store, 5).unwrap();
    store.check_invariants();
    assert!(store.logical_bytes() < full_bytes);
    assert_eq!((store.compact_revision(), store.revision()), (5, 6));
    let at = |revision| RangeOp {
        revision,
        ..RangeOp::new(all())
    };
    assert_eq!(read(&store, &at(5)), ["a=9", "b=2", "c=3"]);
    assert_eq!(read_all(&store), before);
    let compacted = StoreError::Compacted {
        requested: 4,
        compact_revision: 5,
    };
    assert_eq!(store.range(&at(4)), Err(compacted));
    // What was deleted leaves with the compactions that pass its tombstone.
    compact(&mut store, 6).unwrap();
    store.check_invariants();
    put(&mut store, "z", "1");
    compact(&mut store, 7).unwrap();
    store.check_invariants();
    assert_eq!(read_all(&store), ["a=9", "c=3", "z=1"]);
}

#[test]
fn a_compaction_refuses_what_is_compacted_and_what_is_to_come_and_zero_works_once() {
    let mut store = store_abc();
    compact(&mut store, 0).unwrap();
    let again = StoreError::Compacted {
        requested: 0,
        compact_revision: 0,
    };
    assert_eq!(compact(&mut store, 0), Err(again));
    let future = StoreError::FutureRevision {
        requested: 5,
        current_revision: 4,
    };
    assert_eq!(compact(&mut store, 5), Err(future));
    compact(&mut store, 4).unwrap();
    let again = StoreError::Compacted {
        requested: 4,
        compact_revision: 4,
    };
    assert_eq!(compact(&mut store, 4), Err(again));
    assert_eq!(store.revision(), 4);
}

#[test]
fn a_put_returns_the_previous_pair_if_asked() {
    let mut store = store_abc();
    for (name, prev_kv, previous) in [
        ("a", true, Some("1")),
        ("a", false, None),
        ("x", true, None),
    ] {
        let op = PutOp {
            prev_kv,
            ..put_op(name, "new")
        };
        let Ok(WriteResult::Put(result)) = store.apply(&WriteOp::Put(op)) else {
            panic!()
        };
        assert_eq!(result.prev_kv.map(|kv| kv.value), previous.map(bytes));
    }
}

#[test]
fn ignore_value_keeps_the_value_and_wants_an_existing_key() {
    let mut store = store_abc();
    let op = |name: &str| {
        WriteOp::Put(PutOp {
            ignore_value: true,
            ..put_op(name, "")
        })
    };
    store.apply(&op("a")).unwrap();
    let kv = get(&store, "a").unwrap();
    assert_eq!((kv.value, kv.mod_revision, kv.version), (bytes("1"), 5, 2));
    delete(&mut store, key("b"));
    let before = store.hash();
    assert_eq!(store.apply(&op("b")), Err(StoreError::KeyNotFound));
    let ignore_lease = PutOp {
        ignore_lease: true,
        ..put_op("x", "1")
    };
    assert_eq!(
        store.apply(&WriteOp::Put(ignore_lease)),
        Err(StoreError::KeyNotFound)
    );
    assert_eq!(store.hash(), before);
}

#[test]
fn a_lease_that_was_never_granted_is_not_found() {
    let mut store = Tested::new();
    let op = PutOp {
        lease: 7,
        ..put_op("a", "1")
    };
    let refused = Err(StoreError::LeaseNotFound { lease: 7 });
    assert_eq!(store.apply(&WriteOp::Put(op.clone())), refused);
    let in_txn = txn_op(vec![], vec![TxnRequestOp::Put(op)], vec![]);
    assert_eq!(
        txn(&mut store, in_txn),
        Err(StoreError::LeaseNotFound { lease: 7 })
    );
    assert_eq!(store.revision(), 1);
}

#[test]
fn a_delete_counts_and_returns_what_it_deleted() {
    let mut store = store_abc();
    let op = DeleteRangeOp {
        range: span("b", "\0"),
        prev_kv: true,
    };
    let Ok(WriteResult::DeleteRange(result)) = store.apply(&WriteOp::DeleteRange(op)) else {
        panic!()
    };
    let keys: Vec<Bytes> = result.prev_kvs.iter().map(|kv| kv.key.clone()).collect();
    assert_eq!((result.deleted, result.revision), (2, 5));
    assert_eq!(keys, [bytes("b"), bytes("c")]);
    assert_eq!(read_all(&store), ["a=1"]);
}

#[test]
fn compares_hold_by_target_and_result() {
    let mut store = store_abc();
    put(&mut store, "a", "1");
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use CompareTarget::{CreateRevision, Lease, ModRevision, Value, Version};
    for (target, result, holds) in [
        (Version(2), Equal, true),
        (Version(2), Greater, false),
        (Version(3), Less, true),
        (CreateRevision(2), Equal, true),
        (CreateRevision(5), NotEqual, true),
        (ModRevision(5), Equal, true),
        (ModRevision(4), Greater, true),
        (Value(bytes("1")), Equal, true),
        (Value(bytes("0")), Greater, true),
        (Value(bytes("1")), NotEqual, false),
        (Lease(0), Equal, true),
    ] {
        let compares = vec![compare(key("a"), target.clone(), result)];
        let answer = store.read_txn(&txn_op(compares, vec![], vec![])).unwrap();
        assert_eq!(answer.succeeded, holds, "{target:?} {result:?}");
    }
}

#[test]
fn a_missing_key_compares_as_zero_but_never_by_value() {
    let store = store_abc();
    use CompareResult::{Equal, Less, NotEqual};
    use CompareTarget::{CreateRevision, Lease, ModRevision, Value, Version};
    for (target, result, holds) in [
        (Version(0), Equal, true),
        (CreateRevision(0), Equal, true),
        (ModRevision(1), Less, true),
        (Lease(0), Equal, true),
        (Value(bytes("")), Equal, false),
        (Value(bytes("x")), NotEqual, false),
    ] {
        let compares = vec![compare(key("x"), target.clone(), result)];
        let answer = store.read_txn(&txn_op(compares, vec![], vec![])).unwrap();
        assert_eq!(answer.succeeded, holds, "{target:?} {result:?}");
    }
}

#[test]
fn a_compare_of_a_range_must_hold_for_every_key() {
    let store = store_abc();
    let holds = |range, revision| {
        let target = CompareTarget::ModRevision(revision);
        let compares = vec![compare(range, target, CompareResult::Greater)];
        store
            .read_txn(&txn_op(compares, vec![], vec![]))
            .unwrap()
            .succeeded
    };
    assert!(holds(all(), 1));
    assert!(!holds(all(), 2));
    assert!(holds(span("b", "\0"), 2));
}

#[test]
fn a_txn_is_one_revision_and_reads_its_own_writes() {
    let mut store = store_abc();
    let ops = vec![
        TxnRequestOp::Range(RangeOp::new(key("a"))),
        TxnRequestOp::Put(put_op("a", "9")),
        TxnRequestOp::DeleteRange(delete_op(key("b"))),
        TxnRequestOp::Range(RangeOp::new(all())),
        TxnRequestOp::Range(RangeOp {
            revision: 4,
            ..RangeOp::new(key("a"))
        }),
    ];
    let result = txn(&mut store, txn_op(vec![exists("a")], ops, vec![])).unwrap();
    assert_eq!((result.revision, store.revision()), (5, 5));
    let ranges: Vec<_> = result
        .responses
        .iter()
        .filter_map(|response| match response {
            TxnResponseOp::Range(range) => {
                Some((range.kvs[0].value.clone(), range.count, range.revision))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        ranges,
        [(bytes("1"), 1, 4), (bytes("9"), 2, 5), (bytes("1"), 1, 5)]
    );
}

#[test]
fn the_other_branch_is_taken_when_a_compare_fails() {
    let mut store = store_abc();
    let success = vec![TxnRequestOp::Put(put_op("s", "1"))];
    let failure = vec![TxnRequestOp::Put(put_op("f", "1"))];
    let compares = vec![exists("a"), exists("x")];
    let result = txn(&mut store, txn_op(compares, success, failure)).unwrap();
    assert!(!result.succeeded);
    assert_eq!(read_all(&store), ["a=1", "b=2", "c=3", "f=1"]);
}

#[test]
fn nested_compares_look_at_the_state_before_the_outermost_txn() {
    let mut store = Tested::new();
    let yes = vec![TxnRequestOp::Put(put_op("saw", "new"))];
    let no = vec![TxnRequestOp::Put(put_op("saw", "old"))];
    let ops = vec![
        TxnRequestOp::Put(put_op("a", "1")),
        TxnRequestOp::Txn(txn_op(vec![exists("a")], yes, no)),
    ];
    let result = txn(&mut store, txn_op(vec![], ops, vec![])).unwrap();
    assert_eq!(read_all(&store), ["a=1", "saw=old"]);
    let TxnResponseOp::Txn(nested) = &result.responses[1] else {
        panic!()
    };
    assert_eq!(
        (nested.succeeded, nested.revision, result.revision),
        (false, 0, 2)
    );
}

#[test]
fn a_txn_that_fails_changes_nothing() {
    let mut store = store_abc();
    compact(&mut store, 3).unwrap();
    let before = (store.hash(), store.logical_bytes());
    let range_at = |revision| {
        TxnRequestOp::Range(RangeOp {
            revision,
            ..RangeOp::new(key("a"))
        })
    };
    let keep = TxnRequestOp::Put(PutOp {
        ignore_value: true,
        ..put_op("b", "")
    });
    let compacted = |requested| StoreError::Compacted {
        requested,
        compact_revision: 3,
    };
    for (last, error) in [
        (
            range_at(5),
            StoreError::FutureRevision {
                requested: 5,
                current_revision: 4,
            },
        ),
        (range_at(2), compacted(2)),
        (range_at(-5), compacted(-5)),
        (keep, StoreError::KeyNotFound),
    ] {
        // The delete of everything takes b away before it is kept: found out half-way only.
        let ops = vec![
            TxnRequestOp::DeleteRange(delete_op(all())),
            TxnRequestOp::Put(put_op("n", "1")),
            last,
        ];
        let op = txn_op(vec![], ops, vec![]);
        op.validate(MAX_TXN_OPS_DEFAULT).unwrap();
        assert_eq!(txn(&mut store, op), Err(error));
        store.check_invariants();
        assert_eq!((store.hash(), store.logical_bytes()), before);
    }
}

#[test]
fn everything_may_be_deleted_and_a_key_put_in_one_txn() {
    let mut store = store_abc();
    let ops = vec![
        TxnRequestOp::DeleteRange(delete_op(all())),
        TxnRequestOp::Put(put_op("a", "9")),
    ];
    let op = txn_op(vec![], ops, vec![]);
    assert_eq!(op.validate(MAX_TXN_OPS_DEFAULT), Ok(()));
    txn(&mut store, op).unwrap();
    let kv = get(&store, "a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (5, 5, 1));
    assert_eq!(read_all(&store), ["a=9"]);
    compact(&mut store, 5).unwrap();
    store.check_invariants();
    assert_eq!(read_all(&store), ["a=9"]);
}

#[test]
fn only_a_txn_of_ranges_is_read_only() {
    let range = || TxnRequestOp::Range(RangeOp::new(key("a")));
    let nested = TxnRequestOp::Txn(txn_op(vec![], vec![range()], vec![]));
    assert!(txn_op(vec![], vec![], vec![]).is_read_only());
    assert!(txn_op(vec![exists("a")], vec![range()], vec![range()]).is_read_only());
    for op in [TxnRequestOp::Put(put_op("a", "1")), nested] {
        let op = txn_op(vec![], vec![range()], vec![op]);
        assert!(!op.is_read_only());
        assert_eq!(Tested::new().read_txn(&op), Err(StoreError::WriteInReadTxn));
    }
}

#[test]
fn a_read_only_txn_answers_like_one_through_the_log() {
    let mut store = store_abc();
    let ops = vec![
        TxnRequestOp::Range(RangeOp::new(key("b"))),
        TxnRequestOp::Range(RangeOp {
            revision: 2,
            ..RangeOp::new(all())
        }),
    ];
    let op = txn_op(vec![exists("a")], ops, vec![]);
    let read = store.read_txn(&op).unwrap();
    assert_eq!(Ok(read), txn(&mut store, op));
    assert_eq!(store.revision(), 4);
}

#[test]
fn the_gate_refuses_empty_keys_and_contradictions() {
    assert_eq!(
        RangeOp::new(span("", "b")).validate(),
        Err(RequestError::EmptyKey)
    );
    assert_eq!(delete_op(key("")).validate(), Err(RequestError::EmptyKey));
    assert_eq!(put_op("", "1").validate(), Err(RequestError::EmptyKey));
    let op = PutOp {
        ignore_value: true,
        ..put_op("a", "1")
    };
    assert_eq!(op.validate(), Err(RequestError::ValueProvided));
    let op = PutOp {
        ignore_lease: true,
        lease: 1,
        ..put_op("a", "1")
    };
    assert_eq!(op.validate(), Err(RequestError::LeaseProvided));
    let in_txn = txn_op(vec![exists("")], vec![], vec![]);
    assert_eq!(in_txn.validate(128), Err(RequestError::EmptyKey));
    let in_txn = txn_op(vec![], vec![], vec![TxnRequestOp::Put(put_op("", "1"))]);
    assert_eq!(in_txn.validate(128), Err(RequestError::EmptyKey));
    assert_eq!(SortOrder::try_from(3), Err(RequestError::InvalidSortOption));
    assert_eq!(
        SortTarget::try_from(-1),
        Err(RequestError::InvalidSortOption)
    );
    assert_eq!(SortTarget::try_from(4), Ok(SortTarget::Value));
}

#[test]
fn a_txn_has_as_many_ops_as_its_longest_list_and_nested_ones_share_what_is_left() {
    let puts = |count: usize, name: &str| -> Vec<TxnRequestOp> {
        (0..count)
            .map(|at| TxnRequestOp::Put(put_op(&format!("{name}{at}"), "")))
            .collect()
    };
    let full = txn_op(vec![exists("a"); 128], puts(128, "s"), puts(128, "f"));
    assert_eq!(full.validate(128), Ok(()));
    let more = txn_op(vec![], puts(129, "s"), vec![]);
    assert_eq!(more.validate(128), Err(RequestError::TooManyOps));
    let nest = |inner: usize| {
        let mut ops = puts(99, "o");
        ops.push(TxnRequestOp::Txn(txn_op(vec![], puts(inner, "i"), vec![])));
        txn_op(vec![], ops, vec![])
    };
    assert_eq!(nest(28).validate(128), Ok(()));
    assert_eq!(nest(29).validate(128), Err(RequestError::TooManyOps));
}

#[test]
fn a_key_is_put_once_and_not_put_and_deleted_in_one_txn() {
    let put = |name: &str| TxnRequestOp::Put(put_op(name, ""));
    let del = |range: KeyRange| TxnRequestOp::DeleteRange(delete_op(range));
    let nest = |success, failure| TxnRequestOp::Txn(txn_op(vec![], success, failure));
    let duplicate = Err(RequestError::DuplicateKey);
    for (ops, expected) in [
        (vec![put("a"), put("b")], Ok(())),
        (vec![put("a"), put("a")], duplicate),
        (vec![put("a"), del(key("a"))], duplicate),
        (vec![del(key("a")), put("a")], duplicate),
        (vec![del(span("a", "c")), put("b")], duplicate),
        (vec![del(span("a", "c")), put("c")], Ok(())),
        (vec![del(key("a")), del(span("a", "c"))], Ok(())),
        (vec![put("a"), nest(vec![put("a")], vec![])], duplicate),
        (vec![nest(vec![put("a")], vec![put("a")])], Ok(())),
        (
            vec![nest(vec![put("a")], vec![put("a")]), put("a")],
            duplicate,
        ),
        (
            vec![nest(vec![put("a")], vec![]), nest(vec![], vec![put("a")])],
            duplicate,
        ),
        (vec![nest(vec![del(key("a"))], vec![put("a")])], Ok(())),
        (vec![nest(vec![del(key("a"))], vec![]), put("a")], duplicate),
        // A later nested transaction's deletes don't meet an earlier one's puts.
        (
            vec![
                nest(vec![del(key("a"))], vec![]),
                nest(vec![put("a")], vec![]),
            ],
            duplicate,
        ),
        (
            vec![
                nest(vec![put("a")], vec![]),
                nest(vec![del(key("a"))], vec![]),
            ],
            Ok(()),
        ),
    ] {
        let op = txn_op(vec![], ops.clone(), vec![]);
        assert_eq!(op.validate(128), expected, "{ops:?}");
        let op = txn_op(vec![], vec![], ops);
        assert_eq!(op.validate(128), expected);
    }
    let both = txn_op(vec![], vec![put("a")], vec![put("a")]);
    assert_eq!(both.validate(128), Ok(()));
}

#[test]
fn the_hash_tells_stores_apart_and_is_equal_on_equal_ones() {
    let mut store = store_abc();
    assert_eq!(store.hash(), store_abc().hash());
    let before = store.hash();
    put(&mut store, "c", "3");
    assert_ne!(store.hash(), before);
    let before = store.hash();
    compact(&mut store, 4).unwrap();
    assert_ne!(store.hash(), before);
}
