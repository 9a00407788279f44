//! The state machine: the real store, with registers for keys, and the membership beside it.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use raftery_fs::MemFs;
use raftery_raft::{Entry, LogId, LogIndex, MemberId, Membership, Payload, Term};
use raftery_store::{
    AppliedId, Compare, CompareResult, CompareTarget, DeleteRangeOp, KeyRange, PutOp, RangeOp,
    ReadError, ReceivedSnapshot, Retired, Store, StoreIoError, StoreOptions, TxnOp, TxnRequestOp,
    WriteOp, WriteResult,
};

use crate::clients::{Key, Kind, Value, Write, WriteId};

const DIRECTORY: &str = "store";
/// Small, so that runs go through many.
const OPTIONS: StoreOptions = StoreOptions {
    segment_bytes: 10 << 10,
    live_percent_min: 60,
    held_bytes_max: 1 << 10,
};

/// Durable on its own, some time after it applied.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) store: Store<MemFs>,
    pub(crate) membership: Membership,
}

impl Machine {
    /// An empty one, durably.
    pub(crate) fn create(fs: &MemFs) -> Result<(), StoreIoError> {
        let nobody = encode(&Membership::default());
        Store::create(fs.clone(), Path::new(DIRECTORY), OPTIONS, nobody).map(drop)
    }

    /// What is there.
    pub(crate) fn open(fs: &MemFs) -> Result<Self, StoreIoError> {
        let opened = Store::open(fs.clone(), Path::new(DIRECTORY), OPTIONS)?;
        let (store, opened) = opened.ok_or(StoreIoError::Failed)?;
        let later = opened.later.last().map(|(_, meta)| meta);
        let membership = decode(later.unwrap_or(&opened.checkpoint));
        Ok(Self { store, membership })
    }

    pub(crate) fn applied(&self) -> LogId {
        log_id(self.store.applied())
    }

    pub(crate) fn durable(&self) -> LogId {
        log_id(self.store.durable())
    }

    /// The membership, for whoever records the whole state.
    pub(crate) fn meta(&self) -> Bytes {
        encode(&self.membership)
    }

    /// Gives the write that the entry holds, and whether it took effect.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<Option<(Write, bool)>, StoreIoError> {
        let at = AppliedId {
            term: entry.id.term.0,
            index: entry.id.index.0,
        };
        if let Payload::ConfChange(change) = &entry.payload {
            self.membership.activate(entry.id.index, change);
            self.store.note(at, Some(&encode(&self.membership)), None)?;
            return Ok(None);
        }
        let Some(write) = Write::of(&entry.payload) else {
            self.store.note(at, None, None)?;
            return Ok(None);
        };
        let result = self
            .store
            .apply(at, &operation(&write, self.store.revision()))?;
        let takes_effect = match result {
            Ok(WriteResult::Txn(result)) => result.succeeded,
            Ok(_) | Err(_) => true,
        };
        Ok(Some((write, takes_effect)))
    }

    pub(crate) fn value(&self, key: Key) -> Result<Value, ReadError> {
        let found = self.store.range(&RangeOp::new(KeyRange::Key(name(key))))?;
        let value = found.kvs.first();
        Ok(value.map(|found| WriteId::of(&found.value)))
    }

    /// Puts a received state in the place of this one, durably.
    pub(crate) fn install(
        &mut self,
        received: ReceivedSnapshot<MemFs>,
    ) -> Result<Retired<MemFs>, StoreIoError> {
        let membership = decode(received.meta());
        let (_, retired) = self.store.install(received)?;
        self.membership = membership;
        Ok(retired)
    }
}

pub(crate) fn log_id(id: AppliedId) -> LogId {
    LogId {
        term: Term(id.term),
        index: LogIndex(id.index),
    }
}

/// What a register is called in the store.
pub(crate) fn name(key: Key) -> Bytes {
    Bytes::from(format!("register {}", key.0))
}

/// The whole store.
pub(crate) fn everything() -> KeyRange {
    KeyRange::from_etcd(Bytes::from_static(&[0]), Bytes::from_static(&[0]))
}

fn operation(write: &Write, revision: i64) -> WriteOp {
    let range = KeyRange::Key(name(write.key));
    let put = PutOp {
        key: name(write.key),
        value: write.id.value(),
        ..PutOp::default()
    };
    match write.kind {
        Kind::Put => WriteOp::Put(put),
        Kind::Swap(expected) => WriteOp::Txn(TxnOp {
            compare: vec![Compare {
                range,
                result: CompareResult::Equal,
                target: expected.map_or(CompareTarget::Version(0), |id| {
                    CompareTarget::Value(id.value())
                }),
            }],
            success: vec![TxnRequestOp::Put(put)],
            failure: Vec::new(),
        }),
        Kind::Delete => WriteOp::DeleteRange(DeleteRangeOp {
            range,
            prev_kv: false,
        }),
        Kind::Compact { keep } => WriteOp::Compact {
            revision: (revision - i64::try_from(keep).expect("few")).max(0),
        },
    }
}

/// The index, then each set: its length and its members.
fn encode(membership: &Membership) -> Bytes {
    let Membership {
        index,
        voters,
        outgoing,
        learners,
        learners_next,
        removed,
    } = membership;
    let mut words = vec![index.0];
    for set in [voters, outgoing, learners, learners_next, removed] {
        words.push(set.len() as u64);
        words.extend(set.iter().map(|id| id.0));
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn decode(bytes: &[u8]) -> Membership {
    let mut words = bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let mut next = || words.next().expect("it was encoded");
    let index = LogIndex(next());
    let mut set = || -> BTreeSet<MemberId> { (0..next()).map(|_| MemberId(next())).collect() };
    Membership {
        index,
        voters: set(),
        outgoing: set(),
        learners: set(),
        learners_next: set(),
        removed: set(),
    }
}
