//! Going on after damage to acknowledged data.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io;
use std::path::Path;

use common::repair::{check_promises, check_repair};
use common::{
    Model, OPTIONS, batch, create, data, dir, files_in, hard_state, long_story, open, reopen, run,
    segment, written,
};
use raftery_fs::{Fs, MemFs};
use raftery_raft::{HardState, LogId, LogIndex, MemberId, Term};
use raftery_wal::{Recovered, Wal, WalError};

/// A sealed log of 20 entries in which the one at `at` is damaged.
fn damaged(seed: u64, at: u64) -> (MemFs, Model) {
    let fs = MemFs::new(seed);
    let mut wal = create(&fs).unwrap();
    let mut model = Model::founded();
    let mut place = 0..0;
    for seq in 1..20 {
        let batch = batch(seq, hard_state(1, seq), vec![data(1, seq + 1, 100)]);
        let range = written(&fs, || wal.append(&batch).unwrap());
        if seq + 1 == at {
            place = range;
        }
        model = model.with(&batch);
    }
    // A vote that nothing but the last batch knows of.
    let vote = HardState {
        term: Term(9),
        vote: Some(MemberId(0xf00)),
        commit: LogIndex(20),
    };
    let last = batch(20, vote, Vec::new());
    wal.append(&last).unwrap();
    wal.seal().unwrap();
    drop(wal);
    fs.crash_losing_all();
    fs.flip_bit(&segment(1), place.end as u64 - 30, 3);
    (fs, model.with(&last))
}

fn begin_repair(fs: &MemFs) -> Result<(Wal<MemFs>, Recovered), WalError> {
    Wal::begin_repair(fs.clone(), dir(), OPTIONS)
}

#[test]
fn the_vote_survives_and_the_commit_index_is_that_of_what_could_be_read() {
    let (fs, expected) = damaged(1, 10);
    let WalError::Repairable(damage) = open(&fs).unwrap_err() else {
        panic!("it can be repaired");
    };
    assert_eq!(damage.last.index, LogIndex(9));
    assert_eq!(damage.repair_until, expected.last());
    assert_eq!(damage.hard_state.vote, Some(MemberId(0xf00)));
    assert_eq!(damage.hard_state.term, Term(9));
    assert_eq!(damage.hard_state.commit, LogIndex(8));
    assert!(
        damage
            .to_string()
            .contains("all up to 9@1 and ended at 20@1"),
        "{damage}"
    );
    check_repair(&fs, &expected, &damage);
}

#[test]
fn what_the_lost_batch_had_replaced_is_not_taken_for_committed() {
    let fs = MemFs::new(5);
    let mut wal = create(&fs).unwrap();
    let replaced = (2..=9).map(|index| data(1, index, 100)).collect();
    wal.append(&batch(1, hard_state(1, 4), replaced)).unwrap();
    // Another leader puts its own entries in the place of 6 to 9, and commits them.
    let replacement = (6..=8).map(|index| data(2, index, 100)).collect();
    let lost = written(&fs, || {
        wal.append(&batch(2, hard_state(2, 5), replacement))
            .unwrap();
    });
    wal.append(&batch(3, hard_state(2, 8), Vec::new())).unwrap();
    wal.seal().unwrap();
    drop(wal);
    fs.crash_losing_all();
    fs.flip_bit(&segment(1), lost.end as u64 - 30, 3);

    let (_, recovered) = begin_repair(&fs).unwrap();
    assert_eq!(recovered.entries.last().unwrap().id.term, Term(1));
    assert_eq!(recovered.hard_state.term, Term(2));
    assert_eq!(recovered.hard_state.commit, LogIndex(4));
}

#[test]
fn a_repair_ends_only_when_the_log_is_there_again() {
    let (fs, expected) = damaged(2, 10);
    let (mut wal, _) = begin_repair(&fs).unwrap();
    for seq in 1..=11 {
        assert_eq!(wal.repair_until(), Some(expected.last()));
        // A vote in between changes nothing.
        wal.append(&batch(2 * seq, hard_state(9, 9), Vec::new()))
            .unwrap();
        assert_eq!(wal.repair_until(), Some(expected.last()));
        let entries = vec![data(1, 9 + seq, 100)];
        wal.append(&batch(2 * seq + 1, hard_state(9, 9), entries))
            .unwrap();
        wal.sync().unwrap();
        if seq % 3 == 0 {
            drop(wal);
            fs.crash_losing_all();
            let (reopened, recovered) = reopen(&fs);
            assert_eq!(recovered.repair_until, Some(expected.last()));
            wal = reopened;
        }
    }
    assert_eq!(wal.repair_until(), None);
}

#[test]
fn a_snapshot_or_a_later_leaders_entry_ends_a_repair_too() {
    let (fs, expected) = damaged(3, 10);
    let (mut wal, _) = begin_repair(&fs).unwrap();
    let id = |term, index| LogId {
        term: Term(term),
        index: LogIndex(index),
    };
    // The state machine is ahead of the log, but not of what was acknowledged.
    wal.rebase(id(1, 15), hard_state(9, 15)).unwrap();
    assert_eq!(wal.repair_until(), Some(expected.last()));
    let other = fs.fork();
    wal.rebase(id(1, 20), hard_state(9, 20)).unwrap();
    assert_eq!(wal.repair_until(), None);
    let (mut wal, _) = reopen(&other);
    // Its leader has another entry there, so what was acknowledged was never committed.
    wal.append(&batch(1, hard_state(10, 15), vec![data(10, 16, 1)]))
        .unwrap();
    assert_eq!(wal.repair_until(), None);
}

#[test]
fn a_repair_of_a_repair_waits_for_the_first_end() {
    let (fs, mut expected) = damaged(4, 10);
    expected.hard_state = hard_state(9, 9);
    let (mut wal, _) = begin_repair(&fs).unwrap();
    let place = written(&fs, || {
        wal.append(&batch(1, hard_state(9, 9), vec![data(1, 10, 100)]))
            .unwrap();
    });
    wal.append(&batch(2, hard_state(9, 9), vec![data(1, 11, 100)]))
        .unwrap();
    wal.seal().unwrap();
    drop(wal);
    fs.flip_bit(&segment(1), place.end as u64 - 30, 3);
    let (_, recovered) = begin_repair(&fs).unwrap();
    check_promises(&recovered, &expected);
    for number in [1, 2] {
        assert!(!files_in(&fs, Path::new(&format!("/data/wal.damaged-{number}"))).is_empty());
    }
}

#[test]
fn a_sound_log_or_none_is_not_repaired() {
    let fs = MemFs::new(5);
    let error = begin_repair(&fs).unwrap_err();
    assert!(matches!(error, WalError::NotRepairable { .. }), "{error}");
    drop(create(&fs).unwrap());
    let error = begin_repair(&fs).unwrap_err();
    assert!(matches!(error, WalError::NotRepairable { .. }), "{error}");
    reopen(&fs);
}

#[test]
fn a_repair_that_is_interrupted_anywhere_can_be_begun_again() {
    let fs = MemFs::new(6);
    let expected = run(&fs, &long_story()).models.pop().unwrap();
    // Entries of a batch in the lowest segment that later ones still need.
    let lowest = files_in(&fs, dir())
        .into_keys()
        .find(|path| path.extension().unwrap() == "wal");
    fs.overwrite(&lowest.unwrap(), 4096 + 600, &[0xee; 512]);
    for (fs, expected) in [(fs, expected), damaged(7, 10)] {
        interrupt_everywhere(&fs, &expected);
    }
}

fn interrupt_everywhere(damaged: &MemFs, expected: &Model) {
    let before = damaged.operations();
    let whole = damaged.fork();
    begin_repair(&whole).unwrap();
    let mut rng = fastrand::Rng::with_seed(6);
    let mut was_renamed = 0;
    let kinds = [
        None,
        Some(io::ErrorKind::Other),
        Some(io::ErrorKind::StorageFull),
        Some(io::ErrorKind::ReadOnlyFilesystem),
    ];
    for at in before..whole.operations() {
        for kind in kinds {
            for crashes in [None, Some(false), Some(true)] {
                let what = format!("{kind:?} at {at}, crashes: {crashes:?}");
                let fs = damaged.fork();
                match kind {
                    None => fs.stop_at(Some(at)),
                    Some(kind) => fs.fail_at(at, kind),
                }
                assert!(begin_repair(&fs).is_err(), "{what}: it went on");
                fs.stop_at(None);
                fs.stop_failing();
                match crashes {
                    None => {}
                    Some(false) => fs.crash_losing_all(),
                    Some(true) => fs.crash_at_random(&mut rng),
                }
                let recovered = match open(&fs) {
                    Err(WalError::Repairable(_)) => begin_repair(&fs).expect(&what).1,
                    Ok(Some((_, recovered))) => {
                        was_renamed += 1;
                        recovered
                    }
                    Ok(None) => panic!("{what}: the log is gone"),
                    Err(error) => panic!("{what}: {error}"),
                };
                check_promises(&recovered, expected);
                assert!(recovered.repair_until.is_some(), "{what}");
                assert!(
                    !files_in(&fs, Path::new("/data/wal.damaged-1")).is_empty(),
                    "{what}"
                );
                fs.crash_losing_all();
                assert_eq!(reopen(&fs).1, recovered, "{what}");
                assert!(fs.list(Path::new("/data/wal.repair")).is_err(), "{what}");
            }
        }
    }
    assert!(was_renamed > 5, "only {was_renamed} were renamed already");
}
