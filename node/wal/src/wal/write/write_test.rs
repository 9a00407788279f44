use std::path::Path;

use bytes::Bytes;
use raftery_fs::MemFs;
use raftery_raft::{LogIndex, MemberId, Payload, PersistBatch, PersistSeq, Term};

use super::*;
use crate::{WalIdentity, WalOptions};

fn created(fs: &MemFs) -> Wal<MemFs> {
    let identity = WalIdentity {
        cluster_id: 1,
        lineage: 1,
        member_id: MemberId(1),
    };
    let (options, base) = (WalOptions::default(), LogId::default());
    let state = HardState::default();
    Wal::create(
        fs.clone(),
        Path::new("wal"),
        identity,
        options,
        base,
        &[],
        state,
    )
    .unwrap()
}

fn one_entry(seq: u64, len: usize) -> PersistBatch {
    let id = LogId {
        term: Term(1),
        index: LogIndex(seq),
    };
    let payload = Payload::Data(Bytes::from(vec![7; len]));
    PersistBatch {
        seq: PersistSeq(seq),
        hard_state: HardState::default(),
        base: None,
        entries: vec![Entry { id, payload }],
    }
}

#[test]
fn a_burst_is_one_write_and_one_sync() {
    let fs = MemFs::new(1);
    let mut wal = created(&fs);
    let before = fs.operations();
    for seq in 1..=100 {
        wal.stage(&one_entry(seq, 300)).unwrap();
    }
    assert_eq!(fs.operations(), before);
    assert_eq!(wal.sync().unwrap(), Some(PersistSeq(100)));
    assert_eq!(fs.operations(), before + 2);
    assert_eq!(wal.sync().unwrap(), Some(PersistSeq(100)));
    assert_eq!(fs.operations(), before + 2, "there was nothing to sync");
}

#[test]
fn a_long_burst_is_written_in_parts_and_its_memory_given_back() {
    let fs = MemFs::new(2);
    let mut wal = created(&fs);
    let before = fs.operations();
    for seq in 1..=3 {
        wal.stage(&one_entry(seq, BUFFER_BYTES_MAX * 2)).unwrap();
    }
    assert_eq!(fs.operations(), before + 3);
    assert!(wal.buffer.capacity() <= BUFFER_BYTES_MAX);
    assert_eq!(wal.sync().unwrap(), Some(PersistSeq(3)));
    assert_eq!(fs.operations(), before + 4);
}
