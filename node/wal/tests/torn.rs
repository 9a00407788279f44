//! What no sync covered is cut, said, and never comes back.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use bytes::Bytes;
use common::{Model, batch, create, data, entry, hard_state, reopen, segment, written};
use raftery_fs::{Fate, MemFs};
use raftery_raft::{LogIndex, Payload};
use raftery_wal::WalError;

#[test]
fn a_torn_tail_is_cut_and_said() {
    let fs = MemFs::new(3);
    let mut wal = create(&fs).unwrap();
    let torn = batch(1, hard_state(1, 1), vec![data(1, 2, 2_000)]);
    let place = written(&fs, || wal.append(&torn).unwrap());
    // The first sectors reach the disk, those behind them don't.
    fs.crash(|piece| {
        if piece.offset < place.start as u64 + 600 {
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
    let frames = fs.contents(&segment(1))[seal.start & !7..seal.end.next_multiple_of(8)].to_vec();
    let (_, recovered) = reopen(&fs);
    let known = Model::from(&recovered);
    for shift in 0..8 {
        let fs = fs.fork();
        let (mut wal, _) = reopen(&fs);
        let mut value = vec![0xff; shift];
        for _ in 0..8 {
            value.extend_from_slice(&frames);
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
