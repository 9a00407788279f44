//! What clients ask for: puts, compare-and-puts and gets of a few registers.

use std::fmt;

use bytes::Bytes;
use fastrand::Rng;
use raftery_raft::{Payload, ReadId};

/// Few, so that clients meet.
const KEYS: u64 = 8;
/// Bytes of a usual entry, so that logs spread over segments.
const PAYLOAD_BYTES: usize = 64;
/// Now and then one spans several sectors.
const LARGE_BYTES_MAX: usize = 3000;

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

/// A write as its entry says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Write {
    pub(crate) id: WriteId,
    pub(crate) key: Key,
    /// Compare-and-put: only if the register holds this.
    pub(crate) expected: Option<Value>,
}

impl Write {
    pub(crate) fn payload(self, rng: &mut Rng) -> Payload {
        let len = if rng.u8(0..20) == 0 {
            rng.usize(PAYLOAD_BYTES..LARGE_BYTES_MAX)
        } else {
            PAYLOAD_BYTES
        };
        let mut bytes = vec![0; len];
        let (kind, expected) = match self.expected {
            None => (0, 0),
            Some(value) => (1, value.map_or(0, |id| id.0)),
        };
        for (at, word) in [self.id.0, self.key.0, kind, expected].iter().enumerate() {
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
        let value = (word(3) != 0).then_some(WriteId(word(3)));
        Some(Self {
            id: WriteId(word(0)),
            key: Key(word(1)),
            expected: (word(2) == 1).then_some(value),
        })
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, key, expected } = self;
        match expected {
            None => write!(f, "put {} = {}", key.0, id.0),
            Some(value) => {
                let value = value.map_or(0, |id| id.0);
                write!(f, "put {} = {} if {value}", key.0, id.0)
            }
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
            reads: 0,
        }
    }

    pub(crate) fn next_write(&mut self, rng: &mut Rng) -> Write {
        self.next += 1;
        let key = Key::draw(rng);
        Write {
            id: WriteId(self.next),
            key,
            expected: (rng.u8(0..3) == 0).then_some(self.seen[key.place()]),
        }
    }

    pub(crate) fn next_read(&mut self) -> ReadId {
        self.next += 1;
        ReadId(self.next)
    }

    pub(crate) fn written(&mut self, write: &Write, took_effect: bool) {
        self.acknowledged += 1;
        match write.expected {
            None => {}
            Some(_) if took_effect => self.swapped += 1,
            Some(_) => self.not_swapped += 1,
        }
        if took_effect {
            self.seen[write.key.place()] = Some(write.id);
        }
    }

    pub(crate) fn read(&mut self, key: Key, value: Value) {
        self.reads += 1;
        self.seen[key.place()] = value;
    }
}
