//! Files of the operating system.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;
use std::path::Path;

use common::{IDENTITY, Model, OPTIONS, Step, batch, data, founding, hard_state, story};
use raftery_fs::RealFs;
use raftery_raft::{HardState, LogId, LogIndex};
use raftery_wal::{Housekeeping, Recovered, Wal, WalError, WalOptions};

fn create(dir: &Path) -> Result<Wal<RealFs>, WalError> {
    Wal::create(
        RealFs,
        dir,
        IDENTITY,
        OPTIONS,
        LogId::default(),
        &founding(),
        HardState::default(),
    )
}

fn reopen(dir: &Path) -> (Wal<RealFs>, Recovered) {
    Wal::open(RealFs, dir, OPTIONS)
        .expect("the log is sound")
        .expect("the log is there")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_node_killed_at_any_step_resumes() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    assert!(Wal::open(RealFs, &dir, OPTIONS).unwrap().is_none());
    let mut wal = create(&dir).unwrap();
    let mut expected = Model::founded();
    for (at, step) in story().iter().enumerate() {
        match step {
            Step::Append(batch) => {
                wal.append(batch).unwrap();
                expected = expected.with(batch);
            }
            Step::Sync => drop(wal.sync().unwrap()),
            Step::Seal => wal.seal().unwrap(),
            Step::Stage(_) | Step::Cut(_) | Step::Housekeep | Step::Rebase(..) | Step::Restart => {
                unreachable!("the short story has none")
            }
        }
        // What the files hold now is what the next process would find.
        let killed = root.path().join(format!("killed-{at}"));
        copy(&dir, &killed);
        let (_, recovered) = reopen(&killed);
        assert_eq!(Model::from(&recovered), expected);
        assert_eq!(recovered.identity, IDENTITY);
        assert_eq!(recovered.torn_tail, None);
        fs::remove_dir_all(&killed).unwrap();
    }
    drop(wal);
    assert_eq!(Model::from(&reopen(&dir).1), expected);
}

#[test]
fn a_second_process_is_kept_out() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    let first = create(&dir).unwrap();
    let error = Wal::open(RealFs, &dir, OPTIONS).unwrap_err();
    assert!(
        matches!(error, WalError::Io { action: "open", .. }),
        "{error}"
    );
    assert!(matches!(create(&dir), Err(WalError::Exists { .. })));
    drop(first);
    reopen(&dir);
}

#[test]
fn a_half_made_log_counts_as_none_and_is_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("member").join("wal");
    fs::create_dir_all(root.path().join("member").join("wal.tmp")).unwrap();
    fs::write(
        root.path().join("member/wal.tmp/0000000000000001.wal"),
        b"half",
    )
    .unwrap();
    assert!(Wal::open(RealFs, &dir, OPTIONS).unwrap().is_none());
    create(&dir).unwrap();
    assert_eq!(Model::from(&reopen(&dir).1), Model::founded());
    assert!(!root.path().join("member/wal.tmp").exists());
}

#[test]
fn what_an_interrupted_preparation_left_is_no_segment() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    let mut wal = create(&dir).unwrap();
    fs::write(dir.join("next.tmp"), b"half").unwrap();
    let mut expected = Model::founded();
    for seq in 1..=40 {
        let batch = batch(seq, hard_state(1, 1), vec![data(1, seq + 1, 900)]);
        wal.append(&batch).unwrap();
        expected = expected.with(&batch);
    }
    wal.seal().unwrap();
    drop(wal);
    assert_eq!(Model::from(&reopen(&dir).1), expected);
    assert!(!dir.join("next.tmp").exists());
}

#[test]
fn a_file_cut_short_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    drop(create(&dir).unwrap());
    let file = dir.join("0000000000000001.wal");
    let options = fs::OpenOptions::new().write(true).open(&file).unwrap();
    options.set_len(8192).unwrap();
    let error = Wal::open(RealFs, &dir, OPTIONS).unwrap_err();
    assert!(
        matches!(error, WalError::SegmentLength { found: 8192, .. }),
        "{error}"
    );
    options.set_len(20).unwrap();
    let error = Wal::open(RealFs, &dir, OPTIONS).unwrap_err();
    assert!(matches!(error, WalError::SegmentHeader { .. }), "{error}");
}

#[test]
fn segments_have_the_size_asked_for_and_are_written() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    drop(create(&dir).unwrap());
    let length = fs::metadata(dir.join("0000000000000001.wal"))
        .unwrap()
        .len();
    assert_eq!(length, OPTIONS.segment_bytes);
    for segment_bytes in [0, 8192, 16385] {
        let options = WalOptions { segment_bytes };
        let error = Wal::open(RealFs, &dir, options).unwrap_err();
        assert!(matches!(error, WalError::SegmentBytes { .. }), "{error}");
    }
}

#[test]
fn segments_are_recycled_and_a_damaged_log_is_kept_aside() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    let mut wal = create(&dir).unwrap();
    let mut expected = Model::founded();
    for seq in 1..=100 {
        let batch = batch(seq, hard_state(1, seq), vec![data(1, seq + 1, 900)]);
        wal.append(&batch).unwrap();
        wal.sync().unwrap();
        wal.cut(LogIndex(seq)).unwrap();
        while let Housekeeping::More = wal.housekeep().unwrap() {}
        expected = expected.with(&batch);
    }
    wal.seal().unwrap();
    let files = fs::read_dir(&dir).unwrap().count();
    assert!(files <= 5, "{files} files");
    drop(wal);
    let (wal, recovered) = reopen(&dir);
    assert_eq!(
        Some(Model::from(&recovered)),
        expected.behind(recovered.base)
    );
    drop(wal);

    let mut names: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "wal"))
        .collect();
    names.sort();
    let mut bytes = fs::read(&names[0]).unwrap();
    bytes[4096 + 500] ^= 1;
    fs::write(&names[0], bytes).unwrap();
    let error = Wal::open(RealFs, &dir, OPTIONS).unwrap_err();
    assert!(matches!(error, WalError::Repairable(_)), "{error}");
    let (wal, repairing) = Wal::begin_repair(RealFs, &dir, OPTIONS).unwrap();
    drop(wal);
    assert_eq!(repairing.repair_until, Some(expected.last()));
    assert_eq!(reopen(&dir).1, repairing);
    assert!(
        root.path()
            .join("wal.damaged-1")
            .join(names[0].file_name().unwrap())
            .exists()
    );
}
