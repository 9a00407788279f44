//! The log's beginning: bases, cuts, resets, and what becomes of released segments.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{
    IDENTITY, Model, OPTIONS, batch, create, data, dir, hard_state, open, reopen, segment,
};
use raftery_fs::{Fs, MemFs};
use raftery_raft::{LogId, LogIndex, PersistBatch, Term};
use raftery_wal::{Housekeeping, Wal, WalError};

fn log_id(term: u64, index: u64) -> LogId {
    LogId {
        term: Term(term),
        index: LogIndex(index),
    }
}

fn names(fs: &MemFs) -> Vec<String> {
    let names = fs.list(dir()).unwrap();
    names
        .iter()
        .map(|name| name.to_str().unwrap().trim_start_matches('0').to_owned())
        .collect()
}

/// A log of entries 1 to `last`, one a batch and about 14 a segment.
fn filled(fs: &MemFs, last: u64) -> (Wal<MemFs>, Model) {
    let mut wal = create(fs).unwrap();
    let mut model = Model::founded();
    for seq in 1..last {
        let batch = batch(seq, hard_state(1, seq), vec![data(1, seq + 1, 900)]);
        wal.append(&batch).unwrap();
        model = model.with(&batch);
    }
    wal.sync().unwrap();
    (wal, model)
}

#[test]
fn a_cut_releases_what_lies_at_or_below_it_and_nothing_else() {
    for up_to in 0..=60 {
        let fs = MemFs::new(1);
        let (mut wal, model) = filled(&fs, 60);
        wal.cut(LogIndex(up_to)).unwrap();
        fs.crash_losing_all();
        let recovered = reopen(&fs).1;
        assert!(recovered.base.index <= LogIndex(up_to));
        // The segment that holds the entry behind the cut is the first.
        assert!(
            recovered.base.index.0 + 15 > up_to,
            "{up_to}: {}",
            recovered.base
        );
        assert_eq!(Some(Model::from(&recovered)), model.behind(recovered.base));
    }
}

#[test]
fn a_log_may_begin_behind_a_base() {
    let fs = MemFs::new(2);
    let base = log_id(3, 40);
    let first = [data(4, 41, 10), data(4, 42, 10)];
    let state = hard_state(4, 41);
    let wal = Wal::create(fs.clone(), dir(), IDENTITY, OPTIONS, base, &first, state);
    drop(wal.unwrap());
    let (mut wal, recovered) = reopen(&fs);
    let model = Model {
        hard_state: state,
        base,
        entries: first.to_vec(),
    };
    assert_eq!(Model::from(&recovered), model);
    // What is at or below it is gone, and can't be replaced.
    let error = wal
        .append(&batch(1, state, vec![data(5, 40, 1)]))
        .unwrap_err();
    assert!(matches!(error, WalError::NotContiguous { .. }), "{error}");
}

#[test]
fn a_reset_makes_the_log_empty_behind_its_base() {
    for with_entries in [false, true] {
        let fs = MemFs::new(3);
        let (mut wal, model) = filled(&fs, 30);
        let entries = if with_entries {
            vec![data(4, 501, 10), data(4, 502, 10)]
        } else {
            Vec::new()
        };
        let reset = PersistBatch {
            base: Some(log_id(3, 500)),
            ..batch(30, hard_state(4, 500), entries)
        };
        wal.append(&reset).unwrap();
        let torn = fs.fork();
        torn.crash_losing_all();
        assert_eq!(
            Model::from(&reopen(&torn).1),
            model,
            "it was not durable yet"
        );
        wal.sync().unwrap();
        fs.crash_losing_all();
        let expected = model.with(&reset);
        assert_eq!(Model::from(&reopen(&fs).1), expected);
        // No earlier segment is of use any more, however low the cut.
        let (mut wal, _) = reopen(&fs);
        wal.cut(LogIndex(0)).unwrap();
        assert_eq!(
            names(&fs)
                .iter()
                .filter(|name| name.ends_with(".wal"))
                .count(),
            1
        );
        fs.crash_losing_all();
        assert_eq!(Model::from(&reopen(&fs).1), expected);
    }
}

#[test]
fn a_rebase_is_durable_when_it_returns_and_covered() {
    let fs = MemFs::new(4);
    let (mut wal, _) = filled(&fs, 30);
    wal.rebase(log_id(2, 500), hard_state(2, 500)).unwrap();
    assert!(!wal.needs_seal());
    let next = batch(1, hard_state(2, 500), vec![data(2, 501, 10)]);
    let model = Model {
        hard_state: hard_state(2, 500),
        base: log_id(2, 500),
        entries: Vec::new(),
    };
    let crashed = fs.fork();
    crashed.crash_losing_all();
    assert_eq!(Model::from(&reopen(&crashed).1), model);
    wal.append(&next).unwrap();
    wal.sync().unwrap();
    fs.crash_losing_all();
    assert_eq!(Model::from(&reopen(&fs).1), model.with(&next));
}

#[test]
fn a_base_that_was_replaced_later_gets_its_last_term() {
    // The second segment begins behind entries that a new leader replaces in it.
    let fs = MemFs::new(5);
    let (mut wal, mut model) = filled(&fs, 16);
    let leading = reopen_fork(&fs, LogIndex(60));
    assert!(leading.index > LogIndex(10) && leading.term == Term(1));
    let first = leading.index.0 - 2;
    let replacing: Vec<_> = (first..first + 6).map(|index| data(2, index, 50)).collect();
    let replaced = batch(16, hard_state(2, first + 5), replacing);
    wal.append(&replaced).unwrap();
    model = model.with(&replaced);
    wal.cut(leading.index).unwrap();
    fs.crash_losing_all();
    let recovered = reopen(&fs).1;
    assert_eq!(recovered.base, log_id(2, leading.index.0));
    assert_eq!(Some(Model::from(&recovered)), model.behind(recovered.base));
}

#[test]
fn a_log_begins_earlier_when_the_next_segment_began_with_a_shorter_one() {
    // The second segment begins behind entries that it replaces, the third right behind the
    // replacement: with the second goes the later of the two beginnings.
    let fs = MemFs::new(5);
    let (mut wal, mut model) = filled(&fs, 16);
    let leading = reopen_fork(&fs, LogIndex(60));
    let (first, last) = (leading.index.0 - 5, leading.index.0 + 1);
    let replacing = batch(16, hard_state(2, 1), vec![data(2, first, 4 << 10)]);
    let behind = (first + 1..=last).map(|index| data(2, index, 1 << 10));
    let behind = batch(17, hard_state(2, last), behind.collect());
    for batch in [&replacing, &behind] {
        wal.append(batch).unwrap();
        model = model.with(batch);
    }
    wal.cut(leading.index).unwrap();
    drop(wal);
    let (_, recovered) = reopen(&fs);
    assert_eq!(recovered.base, log_id(2, first));
    assert!(recovered.base.index < leading.index);
    assert_eq!(Some(Model::from(&recovered)), model.behind(recovered.base));
}

/// The base that a cut would lead to.
fn reopen_fork(fs: &MemFs, up_to: LogIndex) -> LogId {
    let fs = fs.fork();
    let (mut wal, _) = reopen(&fs);
    wal.cut(up_to).unwrap();
    drop(wal);
    reopen(&fs).1.base
}

#[test]
fn released_segments_become_the_next_ones_and_their_number_is_bounded() {
    let fs = MemFs::new(6);
    let (mut wal, mut model) = filled(&fs, 100);
    let before = names(&fs);
    assert!(before.len() >= 7, "{before:?}");
    wal.cut(LogIndex(99)).unwrap();
    let old: Vec<_> = names(&fs)
        .into_iter()
        .filter(|name| name.ends_with(".old"))
        .collect();
    assert_eq!(old, ["1.old", "2.old"]);
    // From here on files come and go without a byte of room.
    fs.set_capacity(Some(fs.used()));
    for seq in 100..400 {
        let batch = batch(seq, hard_state(1, seq), vec![data(1, seq + 1, 900)]);
        wal.append(&batch).unwrap();
        model = model.with(&batch);
        wal.sync().unwrap();
        wal.cut(LogIndex(seq)).unwrap();
        while let Housekeeping::More = wal.housekeep().unwrap() {}
        assert!(names(&fs).len() <= 5, "{:?}", names(&fs));
    }
    fs.crash_losing_all();
    let (mut wal, recovered) = reopen(&fs);
    assert_eq!(Some(Model::from(&recovered)), model.behind(recovered.base));
    // The next process goes on with them.
    for seq in 1..=40 {
        let batch = batch(seq, hard_state(1, 400), vec![data(1, 400 + seq, 900)]);
        wal.append(&batch).unwrap();
        wal.sync().unwrap();
        wal.cut(LogIndex(399 + seq)).unwrap();
    }
}

#[test]
fn old_frames_of_a_recycled_file_are_no_evidence_and_no_tail() {
    let fs = MemFs::new(7);
    let (mut wal, _) = filled(&fs, 40);
    wal.cut(LogIndex(39)).unwrap();
    while let Housekeeping::More = wal.housekeep().unwrap() {}
    let number = (1..).find(|number| {
        // The spare one is full of old frames.
        names(&fs).contains(&format!("{number}.wal"))
            && !names(&fs).contains(&format!("{}.wal", number + 1))
    });
    let spare = fs.contents(&segment(number.unwrap()));
    assert!(spare[4096..].iter().filter(|byte| **byte != 0).count() > 8_000);
    let mut seq = 40;
    for _ in 0..20 {
        let batch = batch(seq, hard_state(1, 39), vec![data(1, seq + 1, 900)]);
        wal.append(&batch).unwrap();
        seq += 1;
    }
    wal.sync().unwrap();
    wal.append(&batch(seq, hard_state(1, 39), vec![data(1, seq + 1, 900)]))
        .unwrap();
    fs.crash_losing_all();
    let (_, recovered) = reopen(&fs);
    assert_eq!(recovered.torn_tail, None);
    assert_eq!(recovered.entries.last().unwrap().id.index, LogIndex(seq));
}

#[test]
fn a_released_file_of_another_size_is_not_used() {
    let fs = MemFs::new(8);
    let (mut wal, _) = filled(&fs, 40);
    wal.cut(LogIndex(39)).unwrap();
    drop(wal);
    let options = raftery_wal::WalOptions {
        segment_bytes: 32 << 10,
    };
    let (mut wal, _) = Wal::open(fs.clone(), dir(), options).unwrap().unwrap();
    while let Housekeeping::More = wal.housekeep().unwrap() {}
    let names = names(&fs);
    let spare = names.iter().rfind(|name| name.ends_with(".wal")).unwrap();
    assert_eq!(
        fs.contents(&dir().join(format!("{spare:0>20}"))).len(),
        32 << 10
    );
}

#[test]
fn an_older_format_is_refused_by_name() {
    let fs = MemFs::new(9);
    drop(create(&fs).unwrap());
    let mut header = fs.contents(&segment(1))[..64].to_vec();
    header[8] = 1;
    let crc = crc32c::crc32c(&header);
    fs.overwrite(&segment(1), 8, &[1]);
    fs.overwrite(&segment(1), 64, &crc.to_le_bytes());
    let error = open(&fs).unwrap_err();
    let told = matches!(
        error,
        WalError::Unsupported {
            what: "segment format",
            value: 1,
            ..
        }
    );
    assert!(told, "{error}");
}
