//! Every operation that the file system may refuse, and a disk that fills up.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io;
use std::path::Path;

use common::{
    Model, OPTIONS, Run, Step, batch, create, data, dir, hard_state, long_story, open, reopen, run,
    segment, staged,
};
use raftery_fs::{Fs, MemFs};
use raftery_raft::{LogIndex, PersistSeq};
use raftery_wal::{Housekeeping, Wal, WalError};

/// What a system answers with: EIO, ENOSPC, EROFS.
const KINDS: [io::ErrorKind; 3] = [
    io::ErrorKind::Other,
    io::ErrorKind::StorageFull,
    io::ErrorKind::ReadOnlyFilesystem,
];

/// Opens a disk that works again. The log must be one that was handed over, and not miss a
/// promise.
fn check(fs: &MemFs, run: &Run, what: &str) {
    let opened = open(fs).unwrap_or_else(|error| panic!("{what}: refused: {error}"));
    let Some((mut wal, recovered)) = opened else {
        assert_eq!(run.acknowledged, 0, "{what}: the log is gone");
        return;
    };
    let model = Model::from(&recovered);
    let found = run
        .find(&model)
        .unwrap_or_else(|| panic!("{what}: a log that never was"));
    assert!(found + 1 >= run.acknowledged, "{what}: a promise is lost");
    let last = model.last().index.0;
    let next = batch(1, hard_state(99, last), vec![data(99, last + 1, 40)]);
    wal.append(&next).unwrap();
    assert_eq!(wal.sync().unwrap(), Some(PersistSeq(1)));
    fs.crash_losing_all();
    assert_eq!(Model::from(&reopen(fs).1), model.with(&next), "{what}");
}

#[test]
fn no_refused_operation_loses_a_promise() {
    check_every_refusal(&long_story());
}

#[test]
fn no_refused_operation_loses_a_promise_where_several_batches_are_one_write() {
    check_every_refusal(&staged(&long_story()));
}

fn check_every_refusal(steps: &[Step]) {
    let whole = MemFs::new(1);
    run(&whole, steps);
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut told, mut outlived) = (Vec::new(), 0);
    for at in 0..whole.operations() {
        for kind in KINDS {
            for lasts in [false, true] {
                let what = format!("{kind:?} at {at}, lasting: {lasts}");
                let fs = MemFs::new(1);
                if lasts {
                    fs.fail_from(at, kind);
                } else {
                    fs.fail_at(at, kind);
                }
                let run = run(&fs, steps);
                fs.stop_failing();
                match &run.error {
                    // Only want of space beside the work is survived.
                    None => {
                        assert_eq!(kind, io::ErrorKind::StorageFull, "{what}");
                        outlived += 1;
                    }
                    Some(
                        error @ (WalError::Io { path, source, .. }
                        | WalError::Sync { path, source }),
                    ) => {
                        assert_eq!(source.kind(), kind, "{what}");
                        assert!(path.is_absolute(), "{what}: {error}");
                        let action = error.to_string();
                        let action = action.split(' ').next().unwrap().to_owned();
                        if !told.contains(&action) {
                            told.push(action);
                        }
                    }
                    Some(error) => panic!("{what}: {error}"),
                }
                // The process ends and starts again; or the machine does.
                check(&fs.fork(), &run, &what);
                fs.crash_at_random(&mut rng);
                check(&fs, &run, &what);
            }
        }
    }
    assert!(outlived > 3, "only {outlived} were outlived");
    told.sort();
    assert_eq!(
        told,
        ["allocate", "create", "remove", "rename", "sync", "write"],
        "not every kind of operation was refused"
    );
}

#[test]
fn a_full_disk_is_told_early_and_outlived_when_space_returns() {
    let fs = MemFs::new(2);
    let mut wal = create(&fs).unwrap();
    while let Housekeeping::More = wal.housekeep().unwrap() {}
    assert!(
        fs.list(dir())
            .unwrap()
            .iter()
            .any(|name| name == segment(2).file_name().unwrap())
    );
    // Nothing more than what is there.
    fs.set_capacity(Some(fs.used()));
    let mut expected = Model::founded();
    let mut told_at = None;
    let mut seq = 0;
    while told_at.is_none_or(|told_at| seq < told_at + 5) {
        seq += 1;
        let batch = batch(seq, hard_state(1, 1), vec![data(1, seq + 1, 1_000)]);
        wal.append(&batch).unwrap();
        assert_eq!(wal.sync().unwrap(), Some(PersistSeq(seq)));
        expected = expected.with(&batch);
        if let Housekeeping::OutOfSpace(error) = wal.housekeep().unwrap() {
            assert!(
                error.to_string().starts_with("allocate /data/wal/next.tmp"),
                "{error}"
            );
            told_at.get_or_insert(seq);
        }
        assert!(
            fs.used() <= 2 * OPTIONS.segment_bytes,
            "an attempt left something"
        );
    }
    // As soon as the reserve came into use.
    assert!(told_at.unwrap() < 20);
    fs.set_capacity(None);
    while let Housekeeping::More = wal.housekeep().unwrap() {}
    assert!(!wal.wants_housekeeping());
    drop(wal);
    assert_eq!(Model::from(&reopen(&fs).1), expected);
}

#[test]
fn a_cut_brings_space_on_a_full_disk() {
    let fs = MemFs::new(3);
    let mut wal = create(&fs).unwrap();
    while let Housekeeping::More = wal.housekeep().unwrap() {}
    fs.set_capacity(Some(fs.used()));
    // Ten times what fits the disk.
    for seq in 1..=300 {
        let batch = batch(seq, hard_state(1, seq), vec![data(1, seq + 1, 1_000)]);
        wal.append(&batch).unwrap();
        wal.sync().unwrap();
        wal.cut(LogIndex(seq)).unwrap();
        wal.housekeep().unwrap();
    }
    let opened = reopen(&fs).1;
    assert_eq!(opened.entries.last().unwrap().id.index, LogIndex(301));
    assert!(opened.base.index > LogIndex(270));
}

#[test]
fn a_reserve_that_is_used_up_ends_the_log() {
    let fs = MemFs::new(4);
    let mut wal = create(&fs).unwrap();
    while let Housekeeping::More = wal.housekeep().unwrap() {}
    fs.set_capacity(Some(fs.used()));
    let mut expected = Model::founded();
    let error = (1..)
        .find_map(|seq| {
            let batch = batch(seq, hard_state(1, 1), vec![data(1, seq + 1, 1_000)]);
            let failed = wal.append(&batch).and_then(|()| wal.sync()).err();
            if failed.is_none() {
                expected = expected.with(&batch);
            }
            failed
        })
        .unwrap();
    assert!(
        matches!(&error, WalError::Io { action: "allocate", source, .. } if source.kind() == io::ErrorKind::StorageFull),
        "{error}"
    );
    assert!(expected.entries.len() > 15, "the reserve took nothing");
    drop(wal);
    fs.set_capacity(None);
    assert_eq!(Model::from(&reopen(&fs).1), expected);
}

#[test]
fn a_missing_or_empty_directory_is_no_log_and_files_without_their_log_are_refused() {
    let fs = MemFs::new(5);
    assert!(open(&fs).unwrap().is_none());
    fs.create_dir_all(dir()).unwrap();
    assert!(open(&fs).unwrap().is_none());
    create(&fs).unwrap();
    // A zero-length segment behind the newest one.
    drop(fs.create(&segment(2)).unwrap());
    let error = open(&fs).unwrap_err();
    assert!(
        matches!(&error, WalError::SegmentHeader { file, .. } if *file == segment(2)),
        "{error}"
    );
    fs.remove_file(&segment(2)).unwrap();
    reopen(&fs);
    // Only released segments are left.
    fs.rename(&segment(1), Path::new("/data/wal/0000000000000001.old"))
        .unwrap();
    for error in [
        open(&fs).unwrap_err(),
        create(&fs).unwrap_err(),
        Wal::begin_repair(fs.clone(), dir(), OPTIONS).unwrap_err(),
    ] {
        assert!(matches!(error, WalError::SegmentMissing { .. }), "{error}");
    }
}
