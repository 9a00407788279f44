//! A trivial state machine: which write was applied where.

use std::collections::BTreeMap;

use bytes::Bytes;
use raftery_raft::{Entry, LogId, LogIndex, Payload};

/// A client's name for its write; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct WriteId(pub(crate) u64);

impl WriteId {
    /// As an entry's bytes, padded so that logs spread over segments.
    pub(crate) fn payload(self) -> Payload {
        let mut bytes = vec![0; 64];
        bytes[..8].copy_from_slice(&self.0.to_le_bytes());
        Payload::Data(Bytes::from(bytes))
    }

    fn of(payload: &Payload) -> Option<Self> {
        match payload {
            Payload::Data(bytes) => {
                let number = bytes.first_chunk().expect("clients write 64 bytes");
                Some(Self(u64::from_le_bytes(*number)))
            }
            Payload::Blank | Payload::ConfChange(_) => None,
        }
    }
}

/// Volatile: rebuilt from the log at each start.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) applied: LogIndex,
    pub(crate) writes: BTreeMap<WriteId, LogId>,
}

impl Machine {
    pub(crate) fn apply(&mut self, entry: &Entry) {
        self.applied = entry.id.index;
        if let Some(write) = WriteId::of(&entry.payload) {
            self.writes.insert(write, entry.id);
        }
    }
}
