//! Damage to acknowledged data is refused with its place, and nothing is changed.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::ops::Range;
use std::path::PathBuf;

use common::{
    IDENTITY, Model, batch, create, data, dir, files, hard_state, long_story, open, reopen,
    repair::check_repair, run, segment, story, written,
};
use raftery_fs::{Fs, MemFs};
use raftery_raft::{LogId, PersistSeq};
use raftery_wal::{Wal, WalError, WalIdentity};

/// Where an error points to, if it reports damage.
fn place(error: &WalError) -> Option<(PathBuf, u64)> {
    match error {
        WalError::Damaged { file, offset, .. } => Some((file.clone(), *offset)),
        WalError::SegmentHeader { file, .. } => Some((file.clone(), 0)),
        WalError::FirstFrame { file } => Some((file.clone(), 4096)),
        WalError::Repairable(damage) => place(&damage.cause),
        _ => None,
    }
}

/// Damages a sealed log at `at` in `file`: either nothing is missing, or the log is refused,
/// says where, and is left alone; what can be repaired is. Returns whether it was refused.
fn check_damage(
    fs: &MemFs,
    expected: &Model,
    file: &PathBuf,
    at: Range<u64>,
    damage: impl FnOnce(&MemFs),
) -> bool {
    let fs = fs.fork();
    damage(&fs);
    let before = files(&fs);
    match open(&fs) {
        Ok(opened) => {
            let (_, recovered) = opened.expect("the log is there");
            assert_eq!(
                Model::from(&recovered),
                *expected,
                "{file:?} {at:?}: something was cut"
            );
            false
        }
        Err(error) => {
            let (told, offset) = place(&error).unwrap_or_else(|| panic!("{at:?}: {error}"));
            assert_eq!(told, *file, "{at:?}: {error}");
            // The frame begins before what was damaged in it, and no frame is longer than this.
            assert!(
                offset < at.end && offset + 21_000 > at.start,
                "{at:?}: {error}"
            );
            assert!(error.to_string().contains(&file.display().to_string()));
            assert!(error.to_string().contains(&format!("offset {offset}")));
            assert_eq!(files(&fs), before, "{at:?}: files were changed");
            if let WalError::Repairable(damage) = error {
                // Every one takes too long.
                if at.start.is_multiple_of(7) {
                    check_repair(&fs, expected, &damage);
                }
            } else {
                // Nothing valid comes behind the header of the last segment in use; there may be
                // a spare one.
                let mut last = segments(&fs).into_iter().rev().take(2);
                assert!(offset == 0 && last.any(|last| last == *file), "{error}");
            }
            true
        }
    }
}

fn segments(fs: &MemFs) -> Vec<PathBuf> {
    files(fs)
        .into_keys()
        .filter(|path| path.extension().is_some_and(|ending| ending == "wal"))
        .collect()
}

fn flip_every(fs: &MemFs, step: usize) -> usize {
    let expected = Model::from(&reopen(&fs.fork()).1);
    let mut refused = 0;
    for file in segments(fs) {
        let contents = fs.contents(&file);
        let used = contents.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        // Behind the header's fields nothing is read.
        for offset in (0..68)
            .chain(4096..used + 64)
            .filter(|at| *at < contents.len() as u64)
            .step_by(step)
        {
            let bit = u8::try_from(offset % 8).unwrap();
            let damage = |fs: &MemFs| fs.flip_bit(&file, offset, bit);
            let at = offset..offset + 1;
            refused += usize::from(check_damage(fs, &expected, &file, at, damage));
        }
    }
    refused
}

#[test]
fn no_flipped_bit_in_a_sealed_log_loses_anything() {
    let fs = MemFs::new(1);
    run(&fs, &story());
    let refused = flip_every(&fs, 3);
    assert!(refused > 7_000, "only {refused} flips were refused");
}

#[test]
fn no_flipped_bit_in_a_log_of_recycled_segments_loses_anything() {
    let fs = MemFs::new(1);
    run(&fs, &long_story());
    let refused = flip_every(&fs, 3);
    assert!(refused > 1_000, "only {refused} flips were refused");
}

#[test]
fn no_lost_sector_in_a_sealed_log_loses_anything() {
    let fs = MemFs::new(1);
    let expected = run(&fs, &story()).models.pop().unwrap();
    let mut refused = 0;
    for (file, contents) in files(&fs) {
        for offset in (0..contents.len() as u64).step_by(512) {
            let damage = |fs: &MemFs| fs.overwrite(&file, offset, &[0; 512]);
            refused += u64::from(check_damage(
                &fs,
                &expected,
                &file,
                offset..offset + 512,
                damage,
            ));
        }
    }
    assert!(refused > 40, "only {refused} lost sectors were refused");
}

#[test]
fn a_seal_never_shares_a_sector_with_what_it_covers() {
    for len in (0..600).step_by(8) {
        let fs = MemFs::new(11);
        let mut wal = create(&fs).unwrap();
        let last = batch(1, hard_state(1, 1), vec![data(1, 2, len)]);
        wal.append(&last).unwrap();
        wal.seal().unwrap();
        let expected = Model::founded().with(&last);
        for offset in (4096..8192).step_by(512) {
            let damage = |fs: &MemFs| fs.overwrite(&segment(1), offset, &[0; 512]);
            check_damage(&fs, &expected, &segment(1), offset..offset + 512, damage);
        }
    }
}

#[test]
fn what_was_recovered_is_covered_before_anyone_promises_it() {
    let fs = MemFs::new(12);
    let mut wal = create(&fs).unwrap();
    let last = batch(1, hard_state(1, 1), vec![data(1, 2, 100)]);
    let place = written(&fs, || wal.append(&last).unwrap());
    wal.sync().unwrap();
    fs.crash_losing_all();
    drop(reopen(&fs));
    fs.crash_losing_all();
    fs.flip_bit(&segment(1), place.end as u64 - 1, 0);
    assert!(matches!(open(&fs), Err(WalError::Repairable(_))));
}

#[test]
fn the_last_batch_is_covered_once_it_is_sealed() {
    let fs = MemFs::new(2);
    let mut wal = create(&fs).unwrap();
    let last = batch(1, hard_state(1, 1), vec![data(1, 2, 100), data(1, 3, 700)]);
    let place = written(&fs, || {
        wal.append(&last).unwrap();
        assert_eq!(wal.sync().unwrap(), Some(PersistSeq(1)));
    });
    assert!(wal.needs_seal());
    wal.seal().unwrap();
    assert!(!wal.needs_seal());
    fs.crash_losing_all();
    fs.flip_bit(&segment(1), place.end as u64 - 1, 5);
    let WalError::Repairable(damage) = open(&fs).unwrap_err() else {
        panic!("the damage isn't called damage");
    };
    let WalError::Damaged {
        file,
        offset,
        watermark,
        sequence,
    } = damage.cause
    else {
        panic!("{damage}");
    };
    assert_eq!(file, segment(1));
    assert!(
        place.contains(&usize::try_from(offset).unwrap()),
        "{offset} in {place:?}"
    );
    assert!(watermark >= sequence);
}

#[test]
fn a_segment_of_another_member_is_refused() {
    let fs = MemFs::new(7);
    run(&fs, &story());
    let foreign = MemFs::new(8);
    let other = WalIdentity {
        lineage: 0x12,
        ..IDENTITY
    };
    let mut wal = Wal::create(
        foreign.clone(),
        dir(),
        other,
        common::OPTIONS,
        LogId::default(),
        &[],
        hard_state(1, 0),
    )
    .unwrap();
    for seq in 1..40 {
        wal.append(&batch(seq, hard_state(1, 0), vec![data(1, seq, 500)]))
            .unwrap();
    }
    let before = fs.contents(&segment(2));
    fs.overwrite(&segment(2), 0, &foreign.contents(&segment(2)));
    assert_ne!(fs.contents(&segment(2)), before);
    let error = open(&fs).unwrap_err();
    assert!(
        matches!(&error, WalError::Foreign { file, .. } if *file == segment(2)),
        "{error}"
    );
    assert!(error.to_string().contains("lineage 12"), "{error}");
}

#[test]
fn a_missing_segment_is_damage_that_later_ones_explain() {
    for missing in [2, 3] {
        let fs = MemFs::new(9);
        run(&fs, &story());
        fs.remove_file(&segment(missing)).unwrap();
        let before = files(&fs);
        let WalError::Repairable(damage) = open(&fs).unwrap_err() else {
            panic!("segment {missing} isn't missed");
        };
        let told =
            matches!(&damage.cause, WalError::SegmentMissing { file } if *file == segment(missing));
        assert!(told, "{damage}");
        assert_eq!(files(&fs), before);
    }
}

#[test]
fn a_log_whose_end_nobody_knows_is_refused() {
    let fs = MemFs::new(9);
    run(&fs, &story());
    let newest = files(&fs).into_keys().next_back().unwrap();
    for damage in [
        |fs: &MemFs, file: &PathBuf| fs.remove_file(file).unwrap(),
        |fs: &MemFs, file: &PathBuf| fs.set_len(file, 0),
        |fs: &MemFs, file: &PathBuf| fs.set_len(file, 8192),
        |fs: &MemFs, file: &PathBuf| fs.flip_bit(file, 3, 0),
    ] {
        let fs = fs.fork();
        damage(&fs, &newest);
        let before = files(&fs);
        for error in [
            open(&fs).unwrap_err(),
            Wal::begin_repair(fs.clone(), dir(), common::OPTIONS).unwrap_err(),
        ] {
            let told = match &error {
                WalError::SegmentMissing { file }
                | WalError::SegmentHeader { file, .. }
                | WalError::SegmentLength { file, .. } => *file == newest,
                _ => false,
            };
            assert!(told, "{error}");
        }
        assert_eq!(files(&fs), before);
    }
}
