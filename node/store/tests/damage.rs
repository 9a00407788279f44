//! Rot below what the manifest knows is refused, never cut, and told from a torn tail.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::{Draw, Entry, Node, State, create, dir, open, put, reopen};
use raftery_fs::{Fs, MemFs};
use raftery_store::{KeyRange, RangeOp, ReadError, SortTarget, Store, StoreIoError};

fn segment(number: u64) -> PathBuf {
    dir()
        .join("0000000000000001")
        .join(format!("{number:016x}-0000000000000000.log"))
}

/// The segment that is written.
const NEWEST: u64 = 4;

/// Three sealed segments, and a fourth whose beginning the manifest vouches for.
fn checkpointed(fs: &MemFs) -> (Node, State) {
    let mut node = create(fs).unwrap();
    let mut draw = Draw::new(5);
    while node.store.disk_bytes() < 36_000 {
        let entry = draw.entry(node.store.revision());
        node.apply(&entry).unwrap();
        node.store.flush().unwrap();
        if node.store.wants_checkpoint() {
            node.checkpoint().unwrap();
        }
    }
    node.checkpoint().unwrap();
    let written = fs.contents(&segment(NEWEST)).len();
    assert!((4_200..10_000).contains(&written), "{written}");
    let state = node.state();
    (node, state)
}

/// Everything on the disk, by name.
fn contents(fs: &MemFs, dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for name in fs.list(dir).unwrap() {
        let path = dir.join(name);
        if fs.list(&path).is_ok() {
            all.extend(contents(fs, &path));
        } else {
            all.push((path.clone(), fs.contents(&path)));
        }
    }
    all.sort();
    all
}

fn refused(fs: &MemFs, what: &str) -> StoreIoError {
    let before = contents(fs, dir());
    let error = match open(fs) {
        Err(error) => error,
        Ok(node) => panic!(
            "{what}: opened, at {:?}",
            node.map(|node| node.store.applied())
        ),
    };
    assert!(
        contents(fs, dir()) == before,
        "{what}: something was changed"
    );
    error
}

#[test]
fn a_flipped_bit_in_what_the_manifest_vouches_for_is_damage_and_nothing_is_changed() {
    let fs = MemFs::new(1);
    let (node, state) = checkpointed(&fs);
    drop(node);
    let mut harmless = 0;
    for number in 1..=NEWEST {
        let path = segment(number);
        let len = fs.contents(&path).len() as u64;
        // Every bit would take long; header and frames by a step that hits all kinds of fields.
        for offset in (0..52).chain((4_096..len).step_by(3)) {
            let fs = fs.fork();
            fs.flip_bit(&path, offset, (offset % 8) as u8);
            let what = format!("segment {number}, offset {offset}");
            match refused_or_same(&fs, &state, &what) {
                Some(error) => assert!(error.is_damage(), "{what}: {error}"),
                None => harmless += 1,
            }
        }
    }
    // The zeros behind a header's checksum mean nothing; there are none elsewhere.
    assert_eq!(harmless, 0);
}

fn refused_or_same(fs: &MemFs, state: &State, what: &str) -> Option<StoreIoError> {
    match open(fs) {
        Ok(node) => {
            assert_eq!(node.unwrap().state(), *state, "{what}");
            None
        }
        Err(_) => Some(refused(fs, what)),
    }
}

#[test]
fn a_flipped_bit_in_the_manifest_is_damage() {
    let fs = MemFs::new(2);
    drop(checkpointed(&fs));
    let path = dir().join("manifest");
    for offset in 0..fs.contents(&path).len() as u64 {
        let fs = fs.fork();
        fs.flip_bit(&path, offset, 5);
        let error = refused(&fs, "manifest");
        assert!(error.is_damage(), "{error}");
        assert!(error.to_string().contains("manifest"), "{error}");
    }
}

#[test]
fn missing_and_empty_files_are_damage() {
    let fs = MemFs::new(3);
    drop(checkpointed(&fs));
    for number in 1..=NEWEST {
        let gone = fs.fork();
        gone.remove_file(&segment(number)).unwrap();
        assert!(refused(&gone, "gone").is_damage());
        gone.create(&segment(number)).unwrap();
        assert!(refused(&gone, "empty").is_damage());
    }
    let empty = fs.fork();
    empty.remove_file(&dir().join("manifest")).unwrap();
    empty.create(&dir().join("manifest")).unwrap();
    assert!(refused(&empty, "empty manifest").is_damage());
}

#[test]
fn segments_of_another_store_or_in_another_place_are_found_out() {
    let fs = MemFs::new(4);
    drop(checkpointed(&fs));
    let other = MemFs::new(44);
    drop(checkpointed(&other));
    let foreign = fs.fork();
    foreign.overwrite(&segment(1), 0, &other.contents(&segment(1))[..8_000]);
    assert!(refused(&foreign, "foreign").is_damage());
    let swapped = fs.fork();
    swapped.rename(&segment(1), &segment(9)).unwrap();
    swapped.rename(&segment(2), &segment(1)).unwrap();
    swapped.rename(&segment(9), &segment(2)).unwrap();
    assert!(refused(&swapped, "swapped").is_damage());
}

#[test]
fn a_torn_tail_behind_what_the_manifest_knows_is_cut() {
    let fs = MemFs::new(5);
    let (mut node, state) = checkpointed(&fs);
    let end = fs.contents(&segment(NEWEST)).len() as u64;
    node.apply(&Entry::Write(put("tail", vec![7; 500])))
        .unwrap();
    node.sync().unwrap();
    drop(node);
    assert!(fs.contents(&segment(NEWEST)).len() as u64 > end + 500);
    for offset in end..fs.contents(&segment(NEWEST)).len() as u64 {
        let fs = fs.fork();
        fs.flip_bit(&segment(NEWEST), offset, 1);
        assert_eq!(reopen(&fs).state(), state, "offset {offset}");
        assert!(
            fs.contents(&segment(NEWEST))[end as usize..]
                .iter()
                .all(|byte| *byte == 0)
        );
    }
}

#[test]
fn a_value_that_rots_under_a_running_node_is_never_answered() {
    let fs = MemFs::new(6);
    let mut node = create(&fs).unwrap();
    node.apply(&Entry::Write(put("rotten", vec![1; 64])))
        .unwrap();
    node.apply(&Entry::Write(put("sound", vec![2; 64])))
        .unwrap();
    node.sync().unwrap();
    let data = fs.contents(&segment(1));
    let at = data.windows(64).position(|run| run == [1; 64]).unwrap();
    fs.flip_bit(&segment(1), at as u64 + 10, 0);
    let read = |key: &'static str| {
        node.store
            .range(&RangeOp::new(KeyRange::Key(Bytes::from_static(
                key.as_bytes(),
            ))))
    };
    let Err(ReadError::Io(error)) = read("rotten") else {
        panic!("it was answered")
    };
    assert!(error.is_damage(), "{error}");
    assert!(matches!(&error, StoreIoError::Damaged { path, offset, .. }
        if *path == segment(1) && *offset >= 4_096));
    assert_eq!(read("sound").unwrap().count, 1);
    // What the index knows needs no value.
    let op = RangeOp {
        keys_only: true,
        ..RangeOp::new(KeyRange::From(Bytes::from_static(b"\0")))
    };
    assert_eq!(node.store.range(&op).unwrap().kvs.len(), 2);
}

#[test]
fn only_who_asks_for_what_an_old_record_says_needs_it() {
    let fs = MemFs::new(8);
    let mut node = create(&fs).unwrap();
    for value in [1, 2] {
        node.apply(&Entry::Write(put("key", vec![value; 64])))
            .unwrap();
    }
    node.sync().unwrap();
    let data = fs.contents(&segment(1));
    let at = data.windows(64).position(|run| run == [1; 64]).unwrap();
    fs.flip_bit(&segment(1), at as u64, 0);
    let old = RangeOp {
        revision: 2,
        keys_only: true,
        ..RangeOp::new(KeyRange::Key(Bytes::from_static(b"key")))
    };
    let newest = RangeOp {
        revision: 0,
        min_create_revision: 2,
        sort_target: SortTarget::Version,
        ..old.clone()
    };
    let counted = RangeOp {
        count_only: true,
        min_create_revision: 2,
        ..old.clone()
    };
    let filtered_out = RangeOp {
        min_mod_revision: 3,
        min_create_revision: 2,
        ..old.clone()
    };
    for op in [&newest, &counted, &filtered_out] {
        assert_eq!(node.store.range(op).unwrap().count, 1, "{op:?}");
    }
    let Err(ReadError::Io(error)) = node.store.range(&old) else {
        panic!("it was answered")
    };
    assert!(error.is_damage(), "{error}");
}

#[test]
fn an_entry_that_needs_a_rotten_value_is_not_applied() {
    let fs = MemFs::new(7);
    let mut node = create(&fs).unwrap();
    node.apply(&Entry::Write(put("rotten", vec![1; 64])))
        .unwrap();
    node.sync().unwrap();
    let data = fs.contents(&segment(1));
    let at = data.windows(64).position(|run| run == [1; 64]).unwrap();
    fs.flip_bit(&segment(1), at as u64, 0);
    let before = (
        node.store.applied(),
        node.store.revision(),
        node.store.logical_bytes(),
    );
    let mut op = common::put_op("rotten", "new");
    op.prev_kv = true;
    let error = node.apply(&Entry::Write(raftery_store::WriteOp::Put(op.clone())));
    assert!(error.unwrap_err().is_damage());
    let after = (
        node.store.applied(),
        node.store.revision(),
        node.store.logical_bytes(),
    );
    assert_eq!(before, after);
    node.store.check_invariants();
    op.prev_kv = false;
    node.apply(&Entry::Write(raftery_store::WriteOp::Put(op)))
        .unwrap();
    node.sync().unwrap();
    fs.crash_losing_all();
    // The dead record is rotten still, but nothing vouches for it yet: the log is cut there.
    assert_eq!(reopen(&fs).store.applied().index, 0);
}

#[test]
fn files_of_a_newer_version_are_refused_by_name() {
    let fs = MemFs::new(8);
    drop(checkpointed(&fs));
    let mut header = fs.contents(&segment(1))[..52].to_vec();
    header[8] = 2;
    let crc = crc32c::crc32c(&header[..48]);
    header[48..].copy_from_slice(&crc.to_le_bytes());
    fs.overwrite(&segment(1), 0, &header);
    let error = refused(&fs, "newer");
    assert!(
        matches!(error, StoreIoError::Unsupported { value: 2, .. }),
        "{error}"
    );
}

#[test]
fn a_store_is_made_once() {
    let fs = MemFs::new(9);
    assert!(open(&fs).unwrap().is_none());
    drop(create(&fs).unwrap());
    let again = Store::create(fs, dir(), common::OPTIONS, Bytes::new());
    assert!(matches!(again, Err(StoreIoError::Exists { .. })));
}
