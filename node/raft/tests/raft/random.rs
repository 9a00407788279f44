//! Chance: three members that cut their logs, over a network that loses, doubles and reorders,
//! with crashes at every point of a snapshot's way and with rotten logs. Nobody may apply
//! anything else than the others, no read may miss what was applied before it, and when the faults
//! end, all must agree.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use raftery_raft::{
    Entry, Host, Instant, LogId, LogIndex, MemberId, Membership, MessageBody, Payload, PeerMessage,
    PersistBatch, Raft, ReadGrant, ReadId, Recovered, RoleKind, SnapshotMeta, Status, Term,
    dispatch,
};

use crate::cluster::{A, B, C, config, founded};

const SEEDS: u64 = 100;
const STEPS: usize = 4_000;
/// Shorter than the time between two crashes of a member.
const PROMISE: Duration = Duration::from_millis(100);
const MEMBERS: [MemberId; 3] = [A, B, C];

type Machine = Vec<LogId>;

/// A member's disk, and what surrounds it while it lives.
struct Node {
    raft: Option<Raft>,
    log: Recovered,
    stored: Machine,
    machine: Machine,
    unsynced: Vec<PersistBatch>,
    /// A snapshot that has arrived.
    received: Option<Machine>,
    /// The snapshot that Raft wants in the machine's place.
    installing: Option<Machine>,
    starts: u64,
}

struct Stream {
    from: MemberId,
    to: MemberId,
    term: Term,
    machine: Machine,
}

struct World {
    rng: Rng,
    now: Instant,
    nodes: BTreeMap<MemberId, Node>,
    messages: Vec<PeerMessage>,
    streams: Vec<Stream>,
    /// What anyone has applied.
    history: Machine,
    leaders: BTreeMap<Term, MemberId>,
    /// Every other run is without promises.
    promise_max: Duration,
    faults: bool,
    /// What had been applied anywhere when each read was asked for.
    asked: BTreeMap<ReadId, LogIndex>,
    next_read: ReadId,
    read_by_lease: u64,
    installed: u64,
    repaired: u64,
}

fn membership() -> Membership {
    Membership {
        index: LogIndex(1),
        voters: MEMBERS.into(),
        ..Membership::default()
    }
}

fn last(machine: &Machine) -> LogId {
    machine.last().copied().unwrap_or_default()
}

impl Node {
    fn durable(&self) -> LogId {
        let entries = &self.log.entries;
        entries.last().map_or(self.log.base, |entry| entry.id)
    }

    fn sync(&mut self, count: usize) {
        for batch in self.unsynced.drain(..count) {
            self.log.hard_state = batch.hard_state;
            if let Some(base) = batch.base {
                self.log.base = base;
                self.log.entries.clear();
            }
            if let Some(first) = batch.entries.first() {
                self.log.entries.retain(|e| e.id.index < first.id.index);
            }
            self.log.entries.extend(batch.entries);
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: Rng::with_seed(seed),
            now: Instant::default(),
            nodes: BTreeMap::new(),
            messages: Vec::new(),
            streams: Vec::new(),
            history: Machine::new(),
            leaders: BTreeMap::new(),
            promise_max: PROMISE * u32::from(seed % 2 == 1),
            faults: true,
            asked: BTreeMap::new(),
            next_read: ReadId(0),
            read_by_lease: 0,
            installed: 0,
            repaired: 0,
        };
        for id in MEMBERS {
            let node = Node {
                raft: None,
                log: founded(&MEMBERS),
                stored: Machine::new(),
                machine: Machine::new(),
                unsynced: Vec::new(),
                received: None,
                installing: None,
                starts: 0,
            };
            world.nodes.insert(id, node);
            world.start(id);
        }
        world
    }

    fn start(&mut self, id: MemberId) {
        let node = self.nodes.get_mut(&id).expect("a member");
        let applied = last(&node.stored);
        let holds = |log: &Recovered| {
            log.base == applied || log.entries.iter().any(|entry| entry.id == applied)
        };
        if applied != LogId::default() && !holds(&node.log) {
            node.log.base = applied;
            node.log.entries.clear();
        }
        node.log.applied = applied.index;
        if applied.index > LogIndex(0) {
            node.log.membership = membership();
        }
        node.starts += 1;
        let mut settings = config(id);
        settings.seed = node.starts;
        settings.promise_max = self.promise_max;
        let raft = Raft::new(self.now, settings, node.log.clone());
        node.machine.clone_from(&node.stored);
        node.raft = Some(raft);
        self.settle(id);
    }

    fn crash(&mut self, id: MemberId) {
        // Two of three that lost what nobody else holds could elect nobody, rightly.
        let others_are_whole = self
            .nodes
            .iter()
            .all(|(other, node)| *other == id || node.log.repair_until.is_none());
        let node = self.nodes.get_mut(&id).expect("a member");
        let written = self.rng.usize(0..=node.unsynced.len());
        node.sync(written);
        node.unsynced.clear();
        // The swap is one step: it happened or didn't.
        if let Some(machine) = node.installing.take()
            && self.rng.bool()
        {
            node.stored = machine;
        }
        node.raft = None;
        if others_are_whole && self.rng.u8(..) < 50 && !node.log.entries.is_empty() {
            let end = node
                .durable()
                .max(node.log.repair_until.unwrap_or_default());
            node.log.repair_until = Some(end);
            let count = self.rng.usize(0..node.log.entries.len());
            node.log.entries.truncate(count);
            node.log.hard_state.commit = node.log.hard_state.commit.min(node.durable().index);
        }
    }

    fn input<T>(&mut self, id: MemberId, input: impl FnOnce(&mut Raft, Instant) -> T) -> Option<T> {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a member");
        let raft = node.raft.as_mut()?;
        let result = input(raft, now);
        raft.check_invariants();
        self.settle(id);
        Some(result)
    }

    /// Carries out what is wanted and finds out whether it is consistent.
    fn settle(&mut self, id: MemberId) {
        let now = self.now;
        let Some(mut raft) = self.nodes.get_mut(&id).and_then(|n| n.raft.take()) else {
            return;
        };
        dispatch(&mut raft, &mut Hands { world: self, id });
        let node = self.nodes.get_mut(&id).expect("a member");
        raft.on_applied(now, last(&node.machine).index);
        raft.check_invariants();
        if node.log.repair_until.is_some() && !raft.status().repairing {
            node.log.repair_until = None;
            self.repaired += 1;
        }
        let node = self.nodes.get_mut(&id).expect("a member");
        node.raft = Some(raft);
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_micros(self.rng.u64(0..4_000));
        let id = MEMBERS[self.rng.usize(0..3)];
        match self.rng.u8(0..100) {
            0..48 => self.deliver(),
            48..50 => self.read(id),
            50..60 => drop(self.input(id, |raft, now| raft.tick(now))),
            60..72 => {
                let waits = self.nodes[&id].unsynced.len();
                let count = self.rng.usize(0..=waits);
                if count > 0 && self.nodes[&id].raft.is_some() {
                    let node = self.nodes.get_mut(&id).expect("a member");
                    let seq = node.unsynced[count - 1].seq;
                    node.sync(count);
                    self.input(id, |raft, now| raft.on_persisted(now, seq));
                }
            }
            72..82 => {
                let payload = Payload::Data(Bytes::from_static(b"x"));
                self.input(id, |raft, now| raft.propose(now, payload).is_ok());
            }
            82..88 => self.compact(id),
            88..92 => self.stream(),
            92..97 => self.install(id),
            97 => drop(self.input(id, |raft, now| raft.campaign(now))),
            _ if !self.faults => {}
            _ if self.rng.u8(..) < 60 => self.crash(id),
            _ => {}
        }
        if self.nodes[&id].raft.is_none() && (!self.faults || self.rng.u8(..) < 40) {
            self.start(id);
        }
    }

    fn read(&mut self, id: MemberId) {
        let read = self.next_read;
        self.next_read.0 += 1;
        let applied = LogIndex(self.history.len() as u64);
        self.asked.insert(read, applied);
        // Without a leader nobody waits for it.
        self.input(id, |raft, now| raft.read_index(now, read).is_ok());
    }

    fn deliver(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let which = if self.faults {
            self.rng.usize(0..self.messages.len().min(8))
        } else {
            0
        };
        let fate = if self.faults { self.rng.u8(0..20) } else { 19 };
        let message = if fate == 0 {
            self.messages[which].clone()
        } else {
            self.messages.remove(which)
        };
        if fate == 1 {
            return;
        }
        let what = format!("{message:?}");
        if let Some(Err(error)) = self.input(message.to, |raft, now| raft.step(now, message)) {
            panic!("{what}: {error}");
        }
    }

    fn compact(&mut self, id: MemberId) {
        let node = self.nodes.get_mut(&id).expect("a member");
        if node.raft.is_none() || node.installing.is_some() {
            return;
        }
        node.stored.clone_from(&node.machine);
        let keep = self.rng.u64(0..6);
        let up_to = LogIndex(last(&node.stored).index.0.saturating_sub(keep));
        let base = self.input(id, |raft, now| raft.compact(now, up_to));
        let node = self.nodes.get_mut(&id).expect("a member");
        if let Some(base) = base
            && base.index > node.log.base.index
            && node.durable().index >= base.index
        {
            node.log.base = base;
            node.log.entries.retain(|entry| entry.id.index > base.index);
        }
    }

    /// A stream ends: with success, without, or with a success that isn't one.
    fn stream(&mut self) {
        let Some(stream) = self.streams.pop() else {
            return;
        };
        let last = last(&stream.machine);
        let end = if self.faults { self.rng.u8(0..5) } else { 4 };
        let (from, to) = (stream.from, stream.to);
        if end > 1 {
            let meta = SnapshotMeta {
                last,
                membership: membership(),
            };
            let message = PeerMessage {
                from,
                to,
                term: stream.term,
                body: MessageBody::InstallSnapshot { meta },
            };
            self.nodes.get_mut(&to).expect("a member").received = Some(stream.machine);
            self.input(to, |raft, now| raft.step(now, message).expect("good"));
            self.nodes.get_mut(&to).expect("a member").received = None;
        }
        let sent = (end > 0).then_some(last);
        self.input(from, |raft, now| raft.on_snapshot_sent(now, to, sent));
    }

    fn install(&mut self, id: MemberId) {
        let node = self.nodes.get_mut(&id).expect("a member");
        if node.raft.is_none() {
            return;
        }
        if let Some(machine) = node.installing.take() {
            self.installed += 1;
            let to = last(&machine);
            node.stored.clone_from(&machine);
            node.machine = machine;
            self.input(id, |raft, now| raft.on_installed(now, to));
        }
    }
}

struct Hands<'a> {
    world: &'a mut World,
    id: MemberId,
}

impl Hands<'_> {
    fn node(&mut self) -> &mut Node {
        self.world.nodes.get_mut(&self.id).expect("a member")
    }
}

impl Host for Hands<'_> {
    fn persist(&mut self, batch: PersistBatch) {
        self.node().unsynced.push(batch);
    }

    fn send(&mut self, message: PeerMessage) {
        let node = self.node();
        if let MessageBody::AppendAccepted { matched } = message.body {
            assert!(node.durable().index >= matched, "not durable: {message:?}");
        }
        if let MessageBody::VoteResponse { granted: true } = message.body {
            assert_eq!(node.log.hard_state.vote, Some(message.to));
            assert_eq!(node.log.hard_state.term, message.term);
        }
        self.world.messages.push(message);
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        assert!(
            self.node().installing.is_none(),
            "applies beside a snapshot"
        );
        for entry in entries {
            let machine = &mut self.node().machine;
            machine.push(entry.id);
            assert_eq!(entry.id.index.0, machine.len() as u64, "in order");
            let at = machine.len() - 1;
            if self.world.history.len() == at {
                self.world.history.push(entry.id);
            }
            assert_eq!(self.world.history[at], entry.id, "histories differ");
        }
    }

    fn install(&mut self, meta: SnapshotMeta) {
        let node = self.node();
        let received = node.received.take().expect("a snapshot has arrived");
        assert_eq!(last(&received), meta.last);
        assert!(received.starts_with(&node.machine), "a snapshot takes back");
        node.installing = Some(received);
    }

    fn send_snapshot(&mut self, to: MemberId) {
        let (from, machine) = (self.id, self.node().machine.clone());
        let term = self
            .world
            .leaders
            .iter()
            .rfind(|(_, leader)| **leader == from);
        let term = *term.expect("a leader").0;
        let stream = Stream {
            from,
            to,
            term,
            machine,
        };
        self.world.streams.insert(0, stream);
    }

    fn serve_read(&mut self, grant: ReadGrant) {
        let needed = self.world.asked.remove(&grant.id).expect("asked for once");
        let index = grant.index;
        assert!(index >= needed, "a read at {index}, {needed} was applied");
        self.world.read_by_lease += u64::from(grant.valid_until.is_some());
    }

    fn status_changed(&mut self, status: Status) {
        if status.role == RoleKind::Leader {
            let leader = *self.world.leaders.entry(status.term).or_insert(self.id);
            assert_eq!(leader, self.id, "two leaders in term {}", status.term);
        }
    }
}

#[test]
fn members_that_cut_their_logs_and_crash_never_differ_and_agree_in_the_end() {
    let (mut installed, mut applied, mut repaired) = (0, 0, 0);
    let mut read_by_lease = 0;
    for seed in 0..SEEDS {
        let told = Told(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.faults = false;
        for _ in 0..8 * STEPS {
            world.step();
        }
        let machines = world.nodes.values().map(|node| node.machine.len());
        let behind = world.history.len() - machines.min().expect("members");
        assert!(behind < 100, "someone is {behind} entries behind");
        for node in world.nodes.values() {
            let status = node.raft.as_ref().expect("all run").status();
            assert!(!status.repairing, "{} is whole again", status.id);
            assert_eq!(status.rolled_back, None, "no disk went back");
        }
        assert!(world.read_by_lease == 0 || !world.promise_max.is_zero());
        read_by_lease += world.read_by_lease;
        installed += world.installed;
        repaired += world.repaired;
        applied += world.history.len();
        std::mem::forget(told);
    }
    assert!(
        installed > 100 && applied > 10_000,
        "{installed} {applied} {repaired}"
    );
    assert!(read_by_lease > 1_000, "{read_by_lease}");
}

/// Tells the seed of a run that panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("seed {}", self.0);
    }
}
