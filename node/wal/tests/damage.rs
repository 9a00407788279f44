//! Damage to acknowledged data is refused with its place, and nothing is changed.

mod common;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use common::{
    IDENTITY, Model, batch, create, data, dir, entry, hard_state, open, reopen, run, segment, story,
};
use raftery_raft::{LogIndex, Payload, PersistSeq};
use raftery_wal::{Fate, Fs, MemFs, Wal, WalError, WalIdentity};

fn files(fs: &MemFs) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = fs.list(dir()).unwrap();
    names
        .iter()
        .map(|name| (dir().join(name), fs.contents(&dir().join(name))))
        .collect()
}

/// Where an error points to, if it reports damage.
fn place(error: &WalError) -> Option<(PathBuf, u64)> {
    match error {
        WalError::Damaged { file, offset, .. } => Some((file.clone(), *offset)),
        WalError::SegmentHeader { file, .. } => Some((file.clone(), 0)),
        _ => None,
    }
}

/// Damages a sealed log at `at` in `file`: either nothing is missing, or the log is refused,
/// says where, and is left alone. Returns whether it was refused.
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
            true
        }
    }
}

#[test]
fn no_flipped_bit_in_a_sealed_log_loses_anything() {
    let fs = MemFs::new(1);
    let expected = run(&fs, &story()).models.pop().unwrap();
    let mut refused = 0;
    for (file, contents) in files(&fs) {
        let used = contents.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        // Behind the header's fields nothing is read.
        for offset in (0..68)
            .chain(4096..used + 64)
            .filter(|at| *at < contents.len() as u64)
        {
            let bit = u8::try_from(offset % 8).unwrap();
            let damage = |fs: &MemFs| fs.flip_bit(&file, offset, bit);
            refused += u64::from(check_damage(
                &fs,
                &expected,
                &file,
                offset..offset + 1,
                damage,
            ));
        }
    }
    assert!(refused > 20_000, "only {refused} flips were refused");
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

/// Bytes that changed in the first segment while `change` ran.
fn written(fs: &MemFs, change: impl FnOnce()) -> Range<usize> {
    let before = fs.contents(&segment(1));
    change();
    let after = fs.contents(&segment(1));
    let differs = |at: &usize| before[*at] != after[*at];
    let first = (0..after.len()).find(differs).unwrap();
    first..(0..after.len()).rfind(differs).unwrap() + 1
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
    let WalError::Damaged {
        file,
        offset,
        watermark,
        sequence,
    } = open(&fs).unwrap_err()
    else {
        panic!("the damage isn't called damage");
    };
    assert_eq!(file, segment(1));
    assert!(
        place.contains(&usize::try_from(offset).unwrap()),
        "{offset} in {place:?}"
    );
    assert!(watermark >= sequence);
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let fs = MemFs::new(3);
    let mut wal = create(&fs).unwrap();
    let torn = batch(1, hard_state(1, 1), vec![data(1, 2, 2_000)]);
    let place = written(&fs, || wal.append(&torn).unwrap());
    // The last sector reaches the disk, those before it don't.
    fs.crash(|piece| {
        if piece.offset > place.start as u64 + 1_500 {
            Fate::Kept
        } else {
            Fate::Lost
        }
    });
    let (_, recovered) = reopen(&fs);
    assert_eq!(Model::from(&recovered), Model::founded());
    let tail = recovered.torn_tail.expect("it is said");
    assert_eq!(tail.file, segment(1));
    assert!(tail.offset <= place.start as u64 && tail.offset + 8 > place.start as u64);
    assert!(tail.bytes > 1_500);
    assert!(
        fs.contents(&segment(1))[place]
            .iter()
            .all(|byte| *byte == 0),
        "it is zeroed"
    );
}

#[test]
fn frames_behind_a_cut_never_become_valid_again() {
    let fs = MemFs::new(4);
    let mut wal = create(&fs).unwrap();
    let first = batch(1, hard_state(1, 1), vec![data(1, 2, 1_000)]);
    let second = batch(2, hard_state(1, 1), vec![data(1, 3, 1_000)]);
    let place = written(&fs, || wal.append(&first).unwrap());
    wal.append(&second).unwrap();
    // The disk keeps the second batch only.
    fs.crash(|piece| {
        if piece.offset >= place.end as u64 {
            Fate::Kept
        } else {
            Fate::Lost
        }
    });
    let (mut wal, recovered) = reopen(&fs);
    assert_eq!(Model::from(&recovered), Model::founded());
    // A batch of the same size now ends where the second began.
    let other = batch(1, hard_state(2, 1), vec![data(2, 2, 1_000)]);
    let again = written(&fs, || wal.append(&other).unwrap());
    assert_eq!(again.len(), place.len());
    wal.sync().unwrap();
    fs.crash_losing_all();
    let (_, recovered) = reopen(&fs);
    assert_eq!(Model::from(&recovered), Model::founded().with(&other));
}

#[test]
fn client_data_that_looks_like_frames_is_no_evidence() {
    // A frame of this very log that vouches for everything, as a client that knew it would put
    // it into a value, at each of the eight alignments.
    let fs = MemFs::new(5);
    let mut wal = create(&fs).unwrap();
    for seq in 1..8 {
        wal.append(&batch(seq, hard_state(1, 1), vec![data(1, seq + 1, 10)]))
            .unwrap();
        wal.sync().unwrap();
    }
    let seal = written(&fs, || wal.seal().unwrap());
    let frames = fs.contents(&segment(1))[seal.start & !7..].to_vec();
    let (_, recovered) = reopen(&fs);
    let known = Model::from(&recovered);
    for shift in 0..8 {
        let fs = fs.fork();
        let (mut wal, _) = reopen(&fs);
        let mut value = vec![0xff; shift];
        for _ in 0..20 {
            value.extend_from_slice(&frames[..160]);
        }
        let payload = Payload::Data(Bytes::from(value));
        let torn = batch(1, hard_state(1, 1), vec![entry(1, 9, payload)]);
        let place = written(&fs, || wal.append(&torn).unwrap());
        // The frame's beginning is lost; the value stays.
        let start = place.start as u64;
        fs.crash(|piece| {
            if piece.offset < start + 400 {
                Fate::Lost
            } else {
                Fate::Kept
            }
        });
        let (_, recovered) = reopen(&fs);
        assert_eq!(Model::from(&recovered), known);
        assert!(recovered.torn_tail.is_some());
    }
}

#[test]
fn a_failed_sync_is_never_retried() {
    let fs = MemFs::new(6);
    let mut wal = create(&fs).unwrap();
    let lost = batch(1, hard_state(1, 1), vec![data(1, 2, 100)]);
    wal.append(&lost).unwrap();
    fs.fail_next_sync();
    let error = wal.sync().unwrap_err();
    assert!(matches!(error, WalError::Sync { .. }), "{error}");
    let (operations, syncs) = (fs.operations(), fs.syncs());
    assert!(matches!(wal.sync(), Err(WalError::Failed)));
    assert!(matches!(wal.append(&lost), Err(WalError::Failed)));
    assert!(matches!(wal.seal(), Err(WalError::Failed)));
    assert_eq!(
        (fs.operations(), fs.syncs()),
        (operations, syncs),
        "a file was touched"
    );

    // The next process finds the bytes in the cache, and must not take them for durable.
    drop(wal);
    let (_, recovered) = reopen(&fs);
    assert_eq!(Model::from(&recovered), Model::founded());
    fs.crash_losing_all();
    let (_, recovered) = reopen(&fs);
    assert_eq!(Model::from(&recovered), Model::founded());
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
fn a_missing_segment_is_refused() {
    for missing in [1, 2] {
        let fs = MemFs::new(9);
        run(&fs, &story());
        fs.remove_file(&segment(missing)).unwrap();
        let before = files(&fs);
        let error = open(&fs).unwrap_err();
        let told = matches!(&error, WalError::SegmentMissing { file } if *file == segment(missing));
        assert!(told, "{error}");
        assert_eq!(files(&fs), before);
    }
}

#[test]
fn entries_that_leave_a_gap_are_refused() {
    let fs = MemFs::new(10);
    for entries in [
        vec![data(1, 3, 1)],
        vec![data(1, 2, 1), data(1, 4, 1)],
        vec![data(1, 0, 1)],
    ] {
        let fs = fs.fork();
        let mut wal = create(&fs).unwrap();
        let index = entries.last().unwrap().id.index;
        let error = wal
            .append(&batch(1, hard_state(1, 1), entries))
            .unwrap_err();
        let told = matches!(error, WalError::NotContiguous { index: at, .. } if at == index);
        assert!(told, "{error}");
        assert_eq!(reopen(&fs).1.entries.last().unwrap().id.index, LogIndex(1));
    }
}
