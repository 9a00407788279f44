//! What clients ask for: puts, compare-and-puts, deletes, compactions and gets of a few registers.

use std::fmt;

use bytes::Bytes;
use fastrand::Rng;
use raftery_raft::{Payload, ReadId};

/// Few, so that clients meet.
const KEYS: u64 = 8;
/// Bytes of a usual entry, so that logs spread over segments.
const PAYLOAD_BYTES: usize = 64;
/// Now and then one spans several sectors.
const LARGE_BYTES_MAX: u64 = 3000;

/// A register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self(rng.u64(0..KEYS))
    }

    pub(crate) const COUNT: usize = KEYS as usize;

    pub(crate) fn place(self) -> usize {
        usize::try_from(self.0).expect("a few keys")
    }
}

/// A client's name for its write, and the value that it writes; never used twice, never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct WriteId(pub(crate) u64);

/// What is in a register: the write that put it there.
pub(crate) type Value = Option<WriteId>;

/// What a write does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Put,
    /// Only if the register holds this.
    Swap(Value),
    Delete,
    /// Forgets history: so many revisions stay.
    Compact {
        keep: u64,
    },
}

/// A write as its entry says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Write {
    pub(crate) id: WriteId,
    pub(crate) key: Key,
    pub(crate) kind: Kind,
}

impl Write {
    pub(crate) fn payload(self) -> Payload {
        let (kind, more) = match self.kind {
            Kind::Put => (0, 0),
            Kind::Swap(value) => (1, value.map_or(0, |id| id.0)),
            Kind::Delete => (2, 0),
            Kind::Compact { keep } => (3, keep),
        };
        let words = [self.id.0, self.key.0, kind, more];
        // As long as what it puts.
        let mut bytes = self.id.value().to_vec();
        bytes.resize(bytes.len().max(8 * words.len()), 0);
        for (at, word) in words.iter().enumerate() {
            bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
        Payload::Data(Bytes::from(bytes))
    }

    pub(crate) fn of(payload: &Payload) -> Option<Self> {
        let Payload::Data(bytes) = payload else {
            return None;
        };
        let word = |at: usize| {
            let bytes = bytes[at * 8..].first_chunk().expect("clients write more");
            u64::from_le_bytes(*bytes)
        };
        let kind = match word(2) {
            0 => Kind::Put,
            1 => Kind::Swap((word(3) != 0).then_some(WriteId(word(3)))),
            2 => Kind::Delete,
            _ => Kind::Compact { keep: word(3) },
        };
        Some(Self {
            id: WriteId(word(0)),
            key: Key(word(1)),
            kind,
        })
    }
}

impl WriteId {
    /// The bytes that a register holds.
    pub(crate) fn value(self) -> Bytes {
        let len = match self.0 % 20 {
            0 => usize::try_from(self.0 % LARGE_BYTES_MAX)
                .expect("small")
                .max(8),
            _ => PAYLOAD_BYTES,
        };
        let mut bytes = self.0.to_le_bytes().to_vec();
        bytes.resize(len, b'v');
        Bytes::from(bytes)
    }

    /// Which write such bytes are of.
    pub(crate) fn of(value: &[u8]) -> Self {
        let id = value.first_chunk().copied().unwrap_or_default();
        Self(u64::from_le_bytes(id))
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, key, kind } = self;
        match kind {
            Kind::Put => write!(f, "put {} = {}", key.0, id.0),
            Kind::Swap(value) => {
                let value = value.map_or(0, |id| id.0);
                write!(f, "put {} = {} if {value}", key.0, id.0)
            }
            Kind::Delete => write!(f, "delete {} ({})", key.0, id.0),
            Kind::Compact { keep } => write!(f, "compact but for {keep} ({})", id.0),
        }
    }
}

/// Names for writes and reads, and how many were answered.
#[derive(Debug)]
pub(crate) struct Clients {
    next: u64,
    /// What clients saw last: what they compare with.
    seen: [Value; Key::COUNT],
    pub(crate) acknowledged: u64,
    /// Compare-and-puts that took effect, and those that didn't.
    pub(crate) swapped: u64,
    pub(crate) not_swapped: u64,
    pub(crate) deleted: u64,
    pub(crate) compactions: u64,
    pub(crate) reads: u64,
}

impl Clients {
    pub(crate) fn new() -> Self {
        Self {
            next: 0,
            seen: [None; Key::COUNT],
            acknowledged: 0,
            swapped: 0,
            not_swapped: 0,
            deleted: 0,
            compactions: 0,
            reads: 0,
        }
    }

    pub(crate) fn next_write(&mut self, rng: &mut Rng) -> Write {
        self.next += 1;
        let key = Key::draw(rng);
        let kind = match rng.u8(0..48) {
            0..16 => Kind::Swap(self.seen[key.place()]),
            16..22 => Kind::Delete,
            22 => Kind::Compact {
                keep: rng.u64(0..40),
            },
            _ => Kind::Put,
        };
        Write {
            id: WriteId(self.next),
            key,
            kind,
        }
    }

    pub(crate) fn next_read(&mut self) -> ReadId {
        self.next += 1;
        ReadId(self.next)
    }

    pub(crate) fn written(&mut self, write: &Write, took_effect: bool) {
        self.acknowledged += 1;
        match write.kind {
            Kind::Put => self.seen[write.key.place()] = Some(write.id),
            Kind::Swap(_) if took_effect => {
                self.swapped += 1;
                self.seen[write.key.place()] = Some(write.id);
            }
            Kind::Swap(_) => self.not_swapped += 1,
            Kind::Delete => {
                self.deleted += 1;
                self.seen[write.key.place()] = None;
            }
            Kind::Compact { .. } => self.compactions += 1,
        }
    }

    pub(crate) fn read(&mut self, key: Key, value: Value) {
        self.reads += 1;
        self.seen[key.place()] = value;
    }
}
