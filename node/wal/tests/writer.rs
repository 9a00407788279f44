//! The thread that owns the files.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Model, batch, create, data, dir, hard_state, open, reopen, segment};
use raftery_fs::{Fs, MemFs};
use raftery_raft::{LogIndex, PersistBatch, PersistSeq};
use raftery_wal::{WalError, WalEvent, WalWriter};

fn spawn(fs: &MemFs) -> (WalWriter, Receiver<WalEvent>) {
    let (events, told) = channel();
    let writer = WalWriter::spawn(create(fs).unwrap(), move |event| {
        // The receiver goes first in some tests.
        let _ = events.send(event);
    });
    (writer, told)
}

fn one_entry(seq: u64) -> PersistBatch {
    batch(seq, hard_state(1, 1), vec![data(1, seq + 1, 200)])
}

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_batch_is_acknowledged_once_it_is_durable() {
    let fs = MemFs::new(1);
    let (writer, told) = spawn(&fs);
    let mut expected = Model::founded();
    // Several segments' worth.
    for seq in 1..=300 {
        let batch = one_entry(seq);
        expected = expected.with(&batch);
        writer.append(batch);
    }
    let (mut highest, mut counted) = (PersistSeq(0), 0);
    while highest < PersistSeq(300) {
        let WalEvent::Durable { seq, batches, .. } = told.recv_timeout(PATIENCE).unwrap() else {
            panic!("it failed");
        };
        assert!(seq > highest);
        highest = seq;
        counted += batches;
    }
    assert_eq!(counted, 300);
    let disk = fs.fork();
    disk.crash_losing_all();
    assert_eq!(Model::from(&reopen(&disk).1), expected);
    writer.shutdown();
}

#[test]
fn a_thread_that_panics_is_told_as_failed() {
    let fs = MemFs::new(3);
    let (events, told) = channel();
    let writer = WalWriter::spawn(create(&fs).unwrap(), move |event| match event {
        WalEvent::Durable { .. } => panic!("a bug"),
        WalEvent::Failed(error) => events.send(error).unwrap(),
        WalEvent::SpaceLow { .. } | WalEvent::SpaceRegained => {}
    });
    writer.append(one_entry(1));
    assert!(matches!(told.recv_timeout(PATIENCE), Ok(WalError::Failed)));
    writer.shutdown();
}

#[test]
fn the_last_batch_of_a_burst_is_sealed_in_quiet() {
    let fs = MemFs::new(2);
    let (writer, told) = spawn(&fs);
    writer.append(one_entry(1));
    assert!(matches!(
        told.recv_timeout(PATIENCE),
        Ok(WalEvent::Durable { .. })
    ));
    let contents = fs.contents(&segment(1));
    let is_data = |bytes: &[u8]| bytes.iter().all(|byte| *byte == bytes[0] && *byte != 0);
    let place = contents[4096..].windows(100).position(is_data);
    let place = 4096 + place.expect("the entry's data is there") as u64;
    // Nobody asks for the seal.
    let begun = Instant::now();
    loop {
        let disk = fs.fork();
        disk.crash_losing_all();
        disk.flip_bit(&segment(1), place, 0);
        if matches!(open(&disk), Err(WalError::Repairable(_))) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no seal came");
        std::thread::yield_now();
    }
    drop(writer);
}

#[test]
fn a_failed_sync_is_told_once_and_ends_the_thread() {
    let fs = MemFs::new(3);
    let (writer, told) = spawn(&fs);
    fs.fail_next_sync();
    writer.append(one_entry(1));
    let failed = told.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(failed, WalEvent::Failed(WalError::Sync { .. })),
        "{failed:?}"
    );
    let operations = fs.operations();
    writer.append(one_entry(2));
    writer.shutdown();
    assert!(told.recv_timeout(PATIENCE).is_err(), "the thread said more");
    assert_eq!(fs.operations(), operations, "a file was touched");
}

#[test]
fn shutting_down_writes_and_seals_what_has_queued() {
    let fs = MemFs::new(4);
    let (writer, _told) = spawn(&fs);
    let mut expected = Model::founded();
    for seq in 1..=20 {
        expected = expected.with(&one_entry(seq));
        writer.append(one_entry(seq));
    }
    writer.shutdown();
    fs.crash_losing_all();
    let (wal, recovered) = reopen(&fs);
    assert_eq!(Model::from(&recovered), expected);
    assert!(!wal.needs_seal());
}

fn segments(fs: &MemFs) -> usize {
    let names = fs.list(dir()).unwrap();
    let is_segment = |name: &&std::ffi::OsString| name.to_str().unwrap().ends_with(".wal");
    names.iter().filter(is_segment).count()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_cut_is_carried_out_behind_the_batches_before_it() {
    let fs = MemFs::new(5);
    let (writer, told) = spawn(&fs);
    for seq in 1..=300 {
        writer.append(one_entry(seq));
    }
    writer.cut(LogIndex(299));
    let is_last = |event: &WalEvent| matches!(event, WalEvent::Durable { seq, .. } if seq.0 == 300);
    assert!(told.iter().any(|event| is_last(&event)));
    // The one in use and the spare one.
    wait_until("nothing was released", || segments(&fs) == 2);
    let disk = fs.fork();
    disk.crash_losing_all();
    let recovered = reopen(&disk).1;
    assert!(recovered.base.index > LogIndex(200) && recovered.base.index < LogIndex(300));
    assert_eq!(recovered.entries.last().unwrap().id.index, LogIndex(301));
    writer.shutdown();
}

/// The next event that isn't an acknowledgement.
fn next(told: &Receiver<WalEvent>) -> WalEvent {
    loop {
        match told.recv_timeout(PATIENCE).unwrap() {
            WalEvent::Durable { .. } => {}
            event => return event,
        }
    }
}

#[test]
fn low_space_is_told_before_anything_fails_and_so_is_its_return() {
    for is_cut in [true, false] {
        let fs = MemFs::new(6);
        let (writer, told) = spawn(&fs);
        wait_until("no spare segment", || segments(&fs) == 2);
        fs.set_capacity(Some(fs.used()));
        // Enough to need the reserve, not enough to use it up.
        let seq = 40;
        (1..=seq).for_each(|seq| writer.append(one_entry(seq)));
        let WalEvent::SpaceLow { error } = next(&told) else {
            panic!("it isn't told");
        };
        let told_so = matches!(&error, WalError::Io { action: "allocate", source, .. }
            if source.kind() == io::ErrorKind::StorageFull);
        assert!(told_so, "{error}");
        if is_cut {
            writer.cut(LogIndex(seq));
        } else {
            fs.set_capacity(None);
        }
        assert!(matches!(next(&told), WalEvent::SpaceRegained));
        writer.shutdown();
        assert_eq!(
            reopen(&fs).1.entries.last().unwrap().id.index,
            LogIndex(seq + 1)
        );
    }
}

#[test]
fn a_disk_that_stays_full_fails_with_what_and_where() {
    let fs = MemFs::new(7);
    let (writer, told) = spawn(&fs);
    wait_until("no spare segment", || segments(&fs) == 2);
    fs.set_capacity(Some(fs.used()));
    for seq in 1..=200 {
        writer.append(one_entry(seq));
    }
    let mut event = next(&told);
    // A single burst may use up the reserve before anybody looks for more.
    if let WalEvent::SpaceLow { .. } = event {
        event = next(&told);
    }
    let WalEvent::Failed(error) = event else {
        panic!("it doesn't fail: {event:?}");
    };
    let error = error.to_string();
    assert!(error.starts_with("allocate /data/wal/next.tmp"), "{error}");
    writer.shutdown();
}
