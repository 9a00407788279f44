//! Rewrites: what they may drop, and what they must not.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{Entry, MemStore, Node, State, create, delete, dir, open, put, reopen};
use raftery_fs::{Fs, MemFs};
use raftery_store::{KeyRange, RangeOp, Rewrite, RewriteNeeds, StoreIoError, WriteOp};

fn apply(node: &mut Node, op: WriteOp) {
    node.apply(&Entry::Write(op)).unwrap();
}

/// Entries of no interest, enough for a segment.
fn fill(node: &mut Node, key: &str) {
    for _ in 0..7 {
        apply(node, put(key, vec![b'f'; 1_000]));
    }
}

fn compact(node: &mut Node) {
    let revision = node.store.revision();
    apply(node, WriteOp::Compact { revision });
}

/// Seals what was written so far, and lets the manifest know.
fn seal(node: &mut Node) {
    let before = node.store.disk_bytes();
    while !node.store.wants_checkpoint() {
        apply(node, put("seal", vec![b's'; 2_000]));
    }
    assert!(node.store.disk_bytes() >= before);
    node.checkpoint().unwrap();
}

fn get(store: &MemStore, key: &str) -> Option<Bytes> {
    let range = KeyRange::Key(Bytes::copy_from_slice(key.as_bytes()));
    let mut kvs = store.range(&RangeOp::new(range)).unwrap().kvs;
    kvs.pop().map(|kv| kv.value)
}

fn segments(fs: &MemFs) -> Vec<String> {
    let mut lives = fs.list(dir()).unwrap();
    lives.retain(|name| name != "manifest");
    let [life] = &lives[..] else {
        panic!("{lives:?}")
    };
    let mut names: Vec<String> = fs
        .list(&dir().join(life))
        .unwrap()
        .into_iter()
        .map(|name| name.into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A first segment that is alive and holds an old put of `ghost`; a second one, mostly dead, with
/// its tombstone; all that compacted.
fn ghost(fs: &MemFs) -> Node {
    let mut node = create(fs).unwrap();
    apply(&mut node, put("ghost", "boo"));
    for key in ["a", "b", "c"] {
        apply(&mut node, put(key, vec![b'l'; 2_000]));
    }
    seal(&mut node);
    apply(&mut node, delete("ghost"));
    fill(&mut node, "dead");
    apply(&mut node, delete("dead"));
    seal(&mut node);
    fill(&mut node, "more");
    compact(&mut node);
    compact_again(&mut node);
    node.sync().unwrap();
    node
}

/// A tombstone at the compact revision itself stays once.
fn compact_again(node: &mut Node) {
    apply(node, put("x", "1"));
    compact(node);
}

fn reopened(node: Node, fs: &MemFs) -> Node {
    let state = node.state();
    drop(node);
    fs.crash_losing_all();
    let node = reopen(fs);
    assert_eq!(node.state(), state);
    node
}

#[test]
fn a_tombstone_stays_while_an_older_segment_may_hold_what_it_buries() {
    let fs = MemFs::new(1);
    let mut node = ghost(&fs);
    let before = node.store.disk_bytes();
    // The first segment is alive: what goes is the second.
    assert!(node.rewrite().unwrap());
    assert!(segments(&fs)[0].ends_with("-0000000000000000.log"));
    assert!(node.store.disk_bytes() < before);
    let mut node = reopened(node, &fs);
    assert_eq!(get(&node.store, "ghost"), None, "it came back to life");
    // Now the first segment dies, too. It is the oldest: the tombstone goes with it, at last.
    for key in ["a", "b", "c"] {
        apply(&mut node, delete(key));
    }
    compact_again(&mut node);
    compact_again(&mut node);
    seal(&mut node);
    while node.rewrite().unwrap() {}
    let mut node = reopened(node, &fs);
    assert_eq!(get(&node.store, "ghost"), None);
    let all = RangeOp::new(KeyRange::From(Bytes::from_static(b"\0")));
    assert!(node.store.range(&all).unwrap().count > 0);
    // Nothing is left to be gained.
    seal(&mut node);
    while node.rewrite().unwrap() {}
    assert!(!node.rewrite().unwrap());
}

#[test]
fn segments_without_anything_alive_vanish() {
    let fs = MemFs::new(2);
    let mut node = create(&fs).unwrap();
    for _ in 0..12 {
        fill(&mut node, "same");
        seal(&mut node);
    }
    compact(&mut node);
    seal(&mut node);
    let before = segments(&fs).len();
    while node.rewrite().unwrap() {}
    assert!(
        before > 12 && segments(&fs).len() <= 3,
        "{:?}",
        segments(&fs)
    );
    node.store.check_invariants();
    reopened(node, &fs);
}

#[test]
fn small_neighbours_become_one() {
    let fs = MemFs::new(3);
    let mut node = create(&fs).unwrap();
    for segment in 0..8 {
        apply(&mut node, put(&format!("kept{segment}"), "1"));
        fill(&mut node, "dead");
        seal(&mut node);
    }
    compact(&mut node);
    seal(&mut node);
    while node.rewrite().unwrap() {}
    assert!(segments(&fs).len() <= 4, "{:?}", segments(&fs));
    let node = reopened(node, &fs);
    for segment in 0..8 {
        assert!(get(&node.store, &format!("kept{segment}")).is_some());
    }
}

/// Lets a rewrite happen up to where it needs `needs` for the `count`-th time.
fn until(node: &mut Node, needs: RewriteNeeds, mut count: u32) -> Rewrite<MemFs> {
    while node.store.sweep() {}
    let mut rewrite = node.store.next_rewrite().expect("one is worth it");
    loop {
        let next = rewrite.step().unwrap().expect("it isn't over");
        if next == needs {
            count -= 1;
            if count == 0 {
                return rewrite;
            }
        }
        node.serve(&mut rewrite, next).unwrap();
    }
}

fn finish(node: &mut Node, mut rewrite: Rewrite<MemFs>) {
    while let Some(needs) = rewrite.step().unwrap() {
        node.serve(&mut rewrite, needs).unwrap();
        node.store.check_invariants();
    }
}

#[test]
fn there_is_one_rewrite_at_a_time() {
    let fs = MemFs::new(4);
    let mut node = ghost(&fs);
    assert!(
        node.store.next_rewrite().is_none(),
        "what is dead isn't known yet"
    );
    while node.store.sweep() {}
    let rewrite = node.store.next_rewrite().unwrap();
    assert!(node.store.next_rewrite().is_none());
    drop(rewrite);
    assert!(node.store.next_rewrite().is_some());
}

#[test]
fn entries_go_on_and_records_die_while_a_rewrite_is_under_way() {
    for (needs, count) in [
        (RewriteNeeds::Judge, 1),
        (RewriteNeeds::Switch, 1),
        (RewriteNeeds::Switch, 2),
    ] {
        let fs = MemFs::new(5);
        let mut node = create(&fs).unwrap();
        for at in 0..5 {
            apply(&mut node, put(&format!("key{at}"), vec![b'v'; 200]));
        }
        for _ in 0..3 {
            node.apply(&Entry::Blob).unwrap();
        }
        fill(&mut node, "dead");
        seal(&mut node);
        compact(&mut node);
        let rewrite = until(&mut node, needs, count);
        // The first one goes, the others stay.
        node.apply(&Entry::Blob).unwrap();
        apply(&mut node, put("key1", "new"));
        apply(&mut node, delete("key2"));
        compact_again(&mut node);
        compact_again(&mut node);
        finish(&mut node, rewrite);
        assert_eq!(get(&node.store, "key1"), Some(Bytes::from_static(b"new")));
        assert_eq!(get(&node.store, "key2"), None);
        assert_eq!(get(&node.store, "key3").unwrap().len(), 200);
        let blobs = node.state().blobs.into_iter().map(|(number, _)| number);
        assert_eq!(blobs.collect::<Vec<_>>(), [2, 3, 4]);
        node.sync().unwrap();
        reopened(node, &fs);
    }
}

#[test]
fn no_crash_brings_back_a_state_before_the_compaction_that_a_rewrite_rests_on() {
    let fs = MemFs::new(6);
    let mut node = create(&fs).unwrap();
    fill(&mut node, "dead");
    apply(&mut node, put("alive", "1"));
    seal(&mut node);
    // Applied, but neither flushed nor synced when the rewrite begins.
    compact(&mut node);
    let state = node.state();
    assert!(node.rewrite().unwrap());
    drop(node);
    fs.crash_losing_all();
    assert_eq!(reopen(&fs).state(), state);
}

#[test]
fn a_snapshot_reads_on_in_files_that_a_rewrite_removed() {
    let fs = MemFs::new(7);
    let mut node = ghost(&fs);
    let state = node.state();
    let snapshot = node.snapshot().unwrap();
    while node.rewrite().unwrap() {}
    fill(&mut node, "later");
    node.install(&snapshot).unwrap();
    assert_eq!(node.state(), state);
    node.store.check_invariants();
}

#[test]
fn a_rewrite_that_meets_damage_says_so_and_changes_nothing() {
    let fs = MemFs::new(8);
    let mut node = ghost(&fs);
    let names = segments(&fs);
    let second = dir().join("0000000000000001").join(&names[1]);
    fs.flip_bit(&second, 4_500, 3);
    let error = node.rewrite().unwrap_err();
    assert!(
        matches!(&error, StoreIoError::Damaged { path, .. } if *path == second),
        "{error}"
    );
    assert_eq!(segments(&fs)[..names.len()], names[..]);
}

#[test]
fn a_full_disk_stops_a_rewrite_and_nothing_else() {
    let fs = MemFs::new(9);
    let mut node = ghost(&fs);
    let state = node.state();
    let mut rewrite = until(&mut node, RewriteNeeds::Judge, 1);
    node.store.judge(&mut rewrite);
    fs.stop_at(Some(fs.operations()));
    assert!(matches!(rewrite.step(), Err(StoreIoError::Io { .. })));
    fs.stop_at(None);
    drop(rewrite);
    assert_eq!(node.state(), state);
    while node.rewrite().unwrap() {}
    reopened(node, &fs);
}

#[test]
fn every_boundary_of_a_rewrite_leaves_the_old_or_the_new_segments() {
    let begun = MemFs::new(10);
    let mut rng = fastrand::Rng::with_seed(10);
    let state: State = ghost(&begun).state();
    let operations = {
        let fs = begun.fork();
        let mut node = reopen(&fs);
        let before = fs.operations();
        while node.rewrite().unwrap() {}
        fs.operations() - before
    };
    assert!(operations > 8, "{operations}");
    for stop in 0..=operations {
        for round in 0..12 {
            let fs = begun.fork();
            let mut node = reopen(&fs);
            fs.stop_at(Some(fs.operations() + stop));
            while node.rewrite().is_ok_and(|did| did) {}
            drop(node);
            fs.crash_at_random(&mut rng);
            let node = open(&fs)
                .unwrap_or_else(|error| panic!("stop {stop}, round {round}: {error}"))
                .unwrap();
            assert_eq!(node.state(), state, "stop {stop}, round {round}");
            node.store.check_invariants();
            let left = fs.list(Path::new("/data/store")).unwrap();
            assert!(left.len() <= 3, "{left:?}");
        }
    }
}
