//! Snapshots: whole or refused; the old state or the new one.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use bytes::Bytes;
use common::{Draw, Entry, Node, State, create, dir, open, put, reopen, send};
use raftery_fs::{Fs, MemFs};
use raftery_store::{SnapshotError, StoreIoError};

/// A node with some segments, rewritten ones among them.
fn grown(fs: &MemFs, seed: u64, entries: u32) -> Node {
    let mut node = create(fs).unwrap();
    let mut draw = Draw::new(seed);
    for step in 0..entries {
        let entry = draw.entry(node.store.revision());
        node.apply(&entry).unwrap();
        if node.store.wants_checkpoint() {
            node.checkpoint().unwrap();
        }
        if step % 10 == 0 {
            node.rewrite().unwrap();
        }
    }
    node
}

fn lives(fs: &MemFs) -> usize {
    let names = fs.list(dir()).unwrap();
    names.iter().filter(|name| name.len() == 16).count()
}

#[test]
fn a_follower_takes_a_leaders_state_over_and_keeps_it() {
    let (leader_fs, fs) = (MemFs::new(1), MemFs::new(2));
    let mut leader = grown(&leader_fs, 1, 300);
    let state = leader.state();
    let mut node = grown(&fs, 2, 80);
    let snapshot = leader.snapshot().unwrap();
    assert_eq!(snapshot.at(), state.applied);
    node.install(&snapshot).unwrap();
    assert_eq!(node.state(), state);
    assert_eq!(node.store.durable(), state.applied);
    node.store.check_invariants();
    assert_eq!(lives(&fs), 1, "the old files are gone");
    fs.crash_losing_all();
    let mut node = reopen(&fs);
    assert_eq!(node.state(), state);
    // Both go on alike, wherever their records lie.
    let mut draw = Draw::new(9);
    for _ in 0..120 {
        let entry = draw.entry(node.store.revision());
        node.apply(&entry).unwrap();
        leader.apply(&entry).unwrap();
        assert_eq!(node.store.logical_bytes(), leader.store.logical_bytes());
    }
    node.checkpoint().unwrap();
    while node.rewrite().unwrap() {}
    assert_eq!(node.state(), leader.state());
    fs.crash_losing_all();
    assert_eq!(reopen(&fs).state(), leader.state());
}

#[test]
fn an_empty_store_can_be_sent() {
    let (leader_fs, fs) = (MemFs::new(1), MemFs::new(2));
    let mut leader = create(&leader_fs).unwrap();
    let mut node = grown(&fs, 3, 50);
    node.install(&leader.snapshot().unwrap()).unwrap();
    assert_eq!(node.state(), leader.state());
    fs.crash_losing_all();
    assert_eq!(reopen(&fs).state(), leader.state());
}

#[test]
fn what_is_written_after_a_snapshot_is_not_in_it() {
    let (leader_fs, fs) = (MemFs::new(1), MemFs::new(2));
    let mut leader = grown(&leader_fs, 1, 100);
    let (state, snapshot) = (leader.state(), leader.snapshot().unwrap());
    leader.apply(&Entry::Write(put("later", "1"))).unwrap();
    leader.store.flush().unwrap();
    let mut node = create(&fs).unwrap();
    node.install(&snapshot).unwrap();
    assert_eq!(node.state(), state);
}

#[test]
fn a_broken_stream_goes_on_where_it_was_and_bad_chunks_change_nothing() {
    let (leader_fs, fs) = (MemFs::new(1), MemFs::new(2));
    let mut leader = grown(&leader_fs, 1, 200);
    let snapshot = leader.snapshot().unwrap();
    let other = leader.snapshot().unwrap();
    let node = create(&fs).unwrap();
    let mut receiver = node.store.receive_snapshot().unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    while receiver.received() < snapshot.size() {
        let offset = receiver.received();
        let chunk = snapshot.read_chunk(offset, rng.usize(1..5_000)).unwrap();
        let mut bad = chunk.clone();
        let mut bytes = bad.bytes.to_vec();
        let at = rng.usize(..bytes.len());
        bytes[at] ^= 1 << rng.u8(..8);
        bad.bytes = Bytes::from(bytes);
        let error = receiver.write(&bad).unwrap_err();
        assert!(matches!(error, SnapshotError::Checksum { offset: at } if at == offset));
        receiver.write(&chunk).unwrap();
        let again = receiver.write(&chunk).unwrap_err();
        assert!(matches!(again, SnapshotError::Offset { found, .. } if found == offset));
        let mixed = other.read_chunk(receiver.received(), 10).unwrap();
        let error = receiver.write(&mixed).unwrap_err();
        assert!(
            matches!(error, SnapshotError::OtherSnapshot { .. }),
            "{error}"
        );
    }
    assert!(
        snapshot
            .read_chunk(snapshot.size(), 10)
            .unwrap()
            .bytes
            .is_empty()
    );
    assert_eq!(receiver.finish().unwrap().at(), snapshot.at());
}

#[test]
fn a_truncated_stream_is_refused_wherever_it_ends() {
    let (leader_fs, fs) = (MemFs::new(1), MemFs::new(2));
    let mut leader = grown(&leader_fs, 1, 120);
    let snapshot = leader.snapshot().unwrap();
    let node = grown(&fs, 2, 40);
    let state = node.state();
    for end in (0..snapshot.size()).step_by(977) {
        let mut receiver = node.store.receive_snapshot().unwrap();
        while receiver.received() < end {
            let max = usize::try_from(end - receiver.received()).unwrap();
            let chunk = snapshot.read_chunk(receiver.received(), max).unwrap();
            receiver.write(&chunk).unwrap();
        }
        let Err(error) = receiver.finish() else {
            panic!("{end} bytes were taken for {}", snapshot.size())
        };
        assert!(
            matches!(error, SnapshotError::Truncated { received, .. } if received == end),
            "{error}"
        );
        assert_eq!(node.state(), state);
    }
}

#[test]
fn a_leaders_own_rot_is_found_by_the_receiver() {
    let (leader_fs, fs) = (MemFs::new(1), MemFs::new(2));
    let mut leader = grown(&leader_fs, 1, 120);
    let snapshot = leader.snapshot().unwrap();
    let mut node = grown(&fs, 2, 40);
    node.sync().unwrap();
    let state = node.state();
    let life = dir().join("0000000000000001");
    let mut tried = 0;
    for name in leader_fs.list(&life).unwrap() {
        let path = life.join(name);
        let len = leader_fs.contents(&path).len() as u64;
        for offset in [0, 20, 4_100]
            .into_iter()
            .chain((4_096..len).step_by(1_501))
        {
            if offset >= len {
                continue;
            }
            leader_fs.flip_bit(&path, offset, 2);
            let mut receiver = node.store.receive_snapshot().unwrap();
            send(&snapshot, &mut receiver).unwrap();
            let Err(error) = receiver.finish() else {
                panic!("{}: {offset} of {len} was taken", path.display())
            };
            assert!(matches!(error, SnapshotError::Damaged(_)), "{error}");
            leader_fs.flip_bit(&path, offset, 2);
            tried += 1;
        }
    }
    assert!(tried > 10);
    assert_eq!(node.state(), state);
    drop(node);
    assert_eq!(reopen(&fs).state(), state);
    assert_eq!(
        lives(&fs),
        1,
        "what was refused is gone after the next start"
    );
}

#[test]
fn what_is_no_snapshot_is_refused_at_once() {
    let (leader_fs, fs) = (MemFs::new(1), MemFs::new(2));
    let node = create(&fs).unwrap();
    let mut leader = grown(&leader_fs, 1, 50);
    let snapshot = leader.snapshot().unwrap();
    let mut receiver = node.store.receive_snapshot().unwrap();
    // Sound chunks of something else: the middle of a file as the beginning.
    let middle = snapshot
        .read_chunk(20_000.min(snapshot.size() - 100), 100)
        .unwrap();
    let error = receiver.write(&middle).unwrap_err();
    assert!(matches!(error, SnapshotError::Offset { .. }), "{error}");
}

#[test]
fn every_boundary_of_an_installation_leaves_the_old_or_the_new_state_whole() {
    let (leader_fs, begun) = (MemFs::new(1), MemFs::new(2));
    let mut leader = grown(&leader_fs, 1, 120);
    let new: State = leader.state();
    let snapshot = leader.snapshot().unwrap();
    let mut node = grown(&begun, 2, 60);
    node.sync().unwrap();
    let old = node.state();
    drop(node);
    let operations = {
        let fs = begun.fork();
        let mut node = reopen(&fs);
        let before = fs.operations();
        node.install(&snapshot).unwrap();
        fs.operations() - before
    };
    let mut rng = fastrand::Rng::with_seed(3);
    let (mut olds, mut news) = (0, 0);
    for stop in 0..=operations {
        for round in 0..6 {
            let what = format!("stop {stop}, round {round}");
            let fs = begun.fork();
            let mut node = reopen(&fs);
            fs.stop_at(Some(fs.operations() + stop));
            let is_done = match node.install(&snapshot) {
                Ok(()) => true,
                Err(SnapshotError::Io(StoreIoError::Io { .. } | StoreIoError::Sync { .. })) => {
                    false
                }
                Err(error) => panic!("{what}: {error}"),
            };
            drop(node);
            fs.crash_at_random(&mut rng);
            let opened = open(&fs).unwrap_or_else(|error| panic!("{what}: {error}"));
            let node = opened.unwrap();
            let state = node.state();
            node.store.check_invariants();
            if state == new {
                news += 1;
            } else {
                assert_eq!(state, old, "{what}");
                assert!(!is_done, "{what}: it fell back");
                olds += 1;
            }
            assert_eq!(lives(&fs), 1, "{what}");
        }
    }
    assert!(olds > 20 && news > 5, "{olds} old, {news} new");
}
