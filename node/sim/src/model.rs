//! What the state machine has to hold, said in the plainest way: registers by revision.

use raftery_raft::{Entry, LogId, LogIndex};
use raftery_store::{KeyValue, RangeOp};

use crate::clients::{Key, Kind, Value, Write, WriteId};
use crate::machine::{Machine, everything, name};

/// A register that exists.
#[derive(Clone, Copy, Debug)]
struct Register {
    id: WriteId,
    created: i64,
    modified: i64,
    version: i64,
}

type Registers = [Option<Register>; Key::COUNT];

/// Replays what is committed, and remembers all that ever was.
#[derive(Debug)]
pub(crate) struct Model {
    /// The state at each revision, from 1 on.
    states: Vec<Registers>,
    /// For each index from 0 on: which entry it is, revision, compact revision, and whether its
    /// write took effect.
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    id: LogId,
    revision: i64,
    compacted: i64,
    effect: Option<(Write, bool)>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let beginning = Place {
            id: LogId::default(),
            revision: 1,
            compacted: -1,
            effect: None,
        };
        Self {
            states: vec![Registers::default()],
            places: vec![beginning],
        }
    }

    pub(crate) fn applied(&self) -> LogIndex {
        self.places[self.places.len() - 1].id.index
    }

    /// Takes the next entry; those that it knows it passes over.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        if entry.id.index != self.applied().next() {
            return;
        }
        let before = self.places[self.places.len() - 1];
        let write = Write::of(&entry.payload);
        let mut place = Place {
            id: entry.id,
            effect: write.map(|write| (write, true)),
            ..before
        };
        if let Some(write) = write {
            let register = self.states[self.states.len() - 1][write.key.place()];
            let revision = before.revision + 1;
            let put = Register {
                id: write.id,
                created: register.map_or(revision, |register| register.created),
                modified: revision,
                version: register.map_or(1, |register| register.version + 1),
            };
            match write.kind {
                Kind::Put => place.revision = self.put(write.key, Some(put)),
                Kind::Swap(expected) if expected == register.map(|register| register.id) => {
                    place.revision = self.put(write.key, Some(put));
                }
                Kind::Swap(_) => place.effect = Some((write, false)),
                Kind::Delete if register.is_some() => place.revision = self.put(write.key, None),
                Kind::Delete => {}
                Kind::Compact { keep } => {
                    let keep = i64::try_from(keep).expect("few");
                    let to = (before.revision - keep).max(0);
                    place.compacted = before.compacted.max(to);
                }
            }
        }
        self.places.push(place);
    }

    fn put(&mut self, key: Key, register: Option<Register>) -> i64 {
        let mut next = self.states[self.states.len() - 1];
        next[key.place()] = register;
        self.states.push(next);
        i64::try_from(self.states.len()).expect("few")
    }

    fn place(&self, at: LogIndex) -> Option<&Place> {
        self.places.get(usize::try_from(at.0).ok()?)
    }

    /// What the entry at `at` did, if it is a client's.
    pub(crate) fn effect(&self, at: LogIndex) -> Option<(Write, bool)> {
        self.place(at)?.effect
    }

    /// What a register holds at `at`.
    pub(crate) fn value(&self, key: Key, at: LogIndex) -> Value {
        let place = self.place(at)?;
        let state = &self.states[usize::try_from(place.revision - 1).expect("from 1")];
        state[key.place()].map(|register| register.id)
    }

    /// Whether the state machine holds what it must, at the newest and at earlier revisions.
    pub(crate) fn check(&self, machine: &Machine) -> Result<(), String> {
        let (applied, store) = (machine.applied(), &machine.store);
        let place = self
            .place(applied.index)
            .filter(|place| place.id == applied);
        let Some(place) = place else {
            return Err(format!("it holds {applied}, which isn't committed"));
        };
        let found = (store.revision(), store.compact_revision());
        if found != (place.revision, place.compacted) {
            return Err(format!(
                "at {applied} revisions are {found:?}, right is {place:?}"
            ));
        }
        let oldest = place.compacted.max(1);
        let middle = i64::midpoint(oldest, place.revision);
        for revision in [place.revision, middle, oldest] {
            let op = RangeOp {
                revision,
                ..RangeOp::new(everything())
            };
            let found = store.range(&op);
            let found = found.map_err(|error| format!("revision {revision}: {error}"))?;
            let state = &self.states[usize::try_from(revision - 1).expect("from 1")];
            let right = pairs(state);
            if found.kvs != right {
                let line =
                    |pairs: &[KeyValue]| -> Vec<String> { pairs.iter().map(short).collect() };
                return Err(format!(
                    "at {applied}, revision {revision}: {:?}, right is {:?}",
                    line(&found.kvs),
                    line(&right)
                ));
            }
        }
        Ok(())
    }
}

fn short(pair: &KeyValue) -> String {
    let id = WriteId::of(&pair.value).0;
    let key = String::from_utf8_lossy(&pair.key);
    format!("{key} = {id} of {}", pair.mod_revision)
}

fn pairs(state: &Registers) -> Vec<KeyValue> {
    let mut pairs = Vec::new();
    for (place, register) in (0..).zip(state) {
        if let Some(register) = register {
            pairs.push(KeyValue {
                key: name(Key(place)),
                create_revision: register.created,
                mod_revision: register.modified,
                version: register.version,
                value: register.id.value(),
                lease: 0,
            });
        }
    }
    pairs
}
