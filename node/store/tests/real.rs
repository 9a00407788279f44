//! The same on files of the operating system.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use raftery_fs::RealFs;
use raftery_store::{
    AppliedId, KeyRange, PutOp, RangeOp, RewriteNeeds, Store, StoreIoError, StoreOptions, WriteOp,
};

const OPTIONS: StoreOptions = StoreOptions {
    segment_bytes: 64 << 10,
    live_percent_min: 50,
    held_bytes_max: 32 << 10,
};

type RealStore = Store<RealFs>;

fn apply(store: &mut RealStore, op: &WriteOp) {
    let index = store.applied().index + 1;
    let at = AppliedId { term: 1, index };
    store.apply(at, op).unwrap().unwrap();
}

fn put(store: &mut RealStore, key: &str, value: &[u8]) {
    let op = PutOp {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value),
        ..PutOp::default()
    };
    apply(store, &WriteOp::Put(op));
}

fn all(store: &RealStore) -> usize {
    let range = KeyRange::From(Bytes::from_static(b"\0"));
    store.range(&RangeOp::new(range)).unwrap().kvs.len()
}

/// Many overwrites of a few keys, compacted, rewritten.
fn filled(dir: &std::path::Path) -> RealStore {
    let mut store = Store::create(RealFs, dir, OPTIONS, Bytes::new()).unwrap();
    for round in 0..20_u8 {
        for key in 0..50 {
            put(&mut store, &format!("key{key}"), &[round; 300]);
        }
        store.flush().unwrap();
        if store.wants_checkpoint() {
            let done = store.checkpoint(Bytes::from_static(b"meta")).unwrap();
            store.on_checkpointed(done.run().unwrap());
        }
    }
    let revision = store.revision();
    apply(&mut store, &WriteOp::Compact { revision });
    while store.sweep() {}
    let before = store.disk_bytes();
    while let Some(mut rewrite) = store.next_rewrite() {
        while let Some(needs) = rewrite.step().unwrap() {
            match needs {
                RewriteNeeds::Judge => store.judge(&mut rewrite),
                RewriteNeeds::Switch => store.switch(&mut rewrite).unwrap(),
            }
        }
    }
    assert!(store.disk_bytes() < before / 2);
    store
}

#[test]
fn a_store_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    assert!(Store::open(RealFs, &path, OPTIONS).unwrap().is_none());
    let store = filled(&path);
    let (hash, applied) = (store.hash().unwrap(), store.applied());
    let second = Store::open(RealFs, &path, OPTIONS);
    assert!(
        matches!(second, Err(StoreIoError::Io { .. })),
        "two processes at one store"
    );
    drop(store);
    let (store, opened) = Store::open(RealFs, &path, OPTIONS).unwrap().unwrap();
    assert_eq!((store.hash().unwrap(), opened.applied), (hash, applied));
    assert_eq!(&opened.checkpoint[..], b"meta");
    assert_eq!(all(&store), 50);
}

#[test]
fn a_snapshot_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut leader = filled(&dir.path().join("leader"));
    let path = dir.path().join("follower");
    let mut store = Store::create(RealFs, &path, OPTIONS, Bytes::new()).unwrap();
    put(&mut store, "old", b"1");
    store.flush().unwrap();
    let sync_point = store.sync_point();
    let snapshot = leader.snapshot(Bytes::from_static(b"theirs")).unwrap();
    let mut receiver = store.receive_snapshot().unwrap();
    while receiver.received() < snapshot.size() {
        let chunk = snapshot.read_chunk(receiver.received(), 10_000).unwrap();
        receiver.write(&chunk).unwrap();
    }
    let (opened, retired) = store.install(receiver.finish().unwrap()).unwrap();
    assert_eq!(&opened.checkpoint[..], b"theirs");
    retired.remove().unwrap();
    // What was begun before is of no consequence, and no failure.
    let synced = sync_point.run().unwrap();
    store.on_synced(synced);
    assert_eq!(store.durable(), snapshot.at());
    assert_eq!(store.hash().unwrap(), leader.hash().unwrap());
    drop(store);
    let (store, _) = Store::open(RealFs, &path, OPTIONS).unwrap().unwrap();
    assert_eq!(store.hash().unwrap(), leader.hash().unwrap());
}

#[test]
fn readers_and_background_work_may_be_on_other_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<RealStore>();
    sent::<raftery_store::SyncPoint<RealFs>>();
    sent::<raftery_store::Checkpoint<RealFs>>();
    sent::<raftery_store::Rewrite<RealFs>>();
    shared::<raftery_store::Snapshot<RealFs>>();
    sent::<raftery_store::SnapshotReceiver<RealFs>>();
    sent::<raftery_store::ReceivedSnapshot<RealFs>>();
}
