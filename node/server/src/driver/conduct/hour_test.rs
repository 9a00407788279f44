//! Hours of three members on simulated time: Raft, their conduct and their ledgers, over links and on
//! disks that are as bad as a test wants them. Safety is the simulator's business; here nothing
//! crashes, and the question is what members do to each other without need.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use raftery_behaviour::{self as behaviour, Ceiling, Kind, Scoring};
use raftery_ledger::{Applied, Ledger, LedgerBatch};
use raftery_raft::{
    ConfChange, Entry, HardState, Host, Instant, LogId, LogIndex, MemberId, PROMISE_MAX, Payload,
    PeerMessage, PersistBatch, PersistSeq, Raft, RaftConfig, ReadGrant, Recovered, RoleKind,
    SnapshotMeta, Status, Term, dispatch,
};

use super::{Conduct, Settings, Told, WindowEnd};
use crate::cluster_version::ClusterVersion;

const HOUR: Duration = Duration::from_secs(3600);
const CEILING: Ceiling = Ceiling {
    heartbeat_interval: Duration::from_millis(100),
    election_timeout: Duration::from_secs(1),
};
/// How often a client writes.
const WRITE_EVERY: Duration = Duration::from_millis(25);
/// How often members measure the way to each other.
const SIGN_EVERY: Duration = Duration::from_millis(250);
/// Entries that stay in the logs.
const KEPT: u64 = 5_000;

type Draw = Box<dyn Fn(&mut Rng, MemberId, MemberId) -> Duration>;

enum Event {
    Deliver(PeerMessage),
    Told {
        from: MemberId,
        to: MemberId,
        told: Told,
    },
    Sign {
        from: MemberId,
        to: MemberId,
    },
    SignCame {
        from: MemberId,
        to: MemberId,
        sent: Instant,
    },
    SignBack {
        from: MemberId,
        to: MemberId,
        sent: Instant,
    },
    Tick(MemberId),
    Synced {
        id: MemberId,
        seq: PersistSeq,
        began: Instant,
    },
    Write,
}

struct Member {
    raft: Raft,
    conduct: Conduct,
    ledger: Ledger,
    /// What the ledger took, in order.
    batches: Vec<LedgerBatch>,
    unsynced: Vec<PersistBatch>,
    is_syncing: bool,
    next_tick: Option<Instant>,
}

/// The hour so far.
struct Hour {
    now: Instant,
    rng: Rng,
    members: BTreeMap<MemberId, Member>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    /// When what was sent last on each link arrives: streams keep their order.
    arrivals: BTreeMap<(MemberId, MemberId), Instant>,
    /// How long a message takes from one to another.
    delay: Draw,
    /// How long a sync takes at one (given twice).
    sync: Draw,
    elections: u32,
    hand_overs: Vec<Instant>,
    resignations: u32,
}

#[derive(Default)]
struct Effects(Vec<Effect>);

enum Effect {
    Persist(PersistBatch),
    Send(PeerMessage),
    Apply(Vec<Entry>),
    Status(Status),
}

impl Host for Effects {
    fn persist(&mut self, batch: PersistBatch) {
        self.0.push(Effect::Persist(batch));
    }
    fn send(&mut self, message: PeerMessage) {
        self.0.push(Effect::Send(message));
    }
    fn apply(&mut self, entries: Vec<Entry>) {
        self.0.push(Effect::Apply(entries));
    }
    fn install(&mut self, _: SnapshotMeta) {
        panic!("nobody lags that much");
    }
    fn send_snapshot(&mut self, _: MemberId) {
        panic!("nobody lags that much");
    }
    fn serve_read(&mut self, _: ReadGrant) {}
    fn status_changed(&mut self, status: Status) {
        self.0.push(Effect::Status(status));
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn micros(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_micros(rng.u64(from..to))
}

fn quick_link(rng: &mut Rng, _: MemberId, _: MemberId) -> Duration {
    micros(rng, 100, 600)
}

/// A millisecond or two, and now and then much more.
fn usual_disk(rng: &mut Rng, _: MemberId, _: MemberId) -> Duration {
    if rng.u8(0..100) == 0 {
        micros(rng, 5_000, 40_000)
    } else {
        micros(rng, 400, 3_000)
    }
}

fn recovered() -> Recovered {
    let members = (1..=3).map(|id| (MemberId(id), Bytes::new())).collect();
    let id = LogId {
        term: Term(1),
        index: LogIndex(1),
    };
    let payload = Payload::ConfChange(ConfChange::Found { members });
    Recovered {
        hard_state: HardState {
            term: Term(1),
            vote: None,
            commit: LogIndex(1),
        },
        entries: vec![Entry { id, payload }],
        ..Recovered::default()
    }
}

impl Hour {
    fn new(seed: u64, delay: Draw, sync: Draw) -> Self {
        let mut hour = Self {
            now: Instant::default(),
            rng: Rng::with_seed(seed),
            members: BTreeMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            delay,
            sync,
            elections: 0,
            hand_overs: Vec::new(),
            resignations: 0,
        };
        for id in (1..=3).map(MemberId) {
            let config = RaftConfig {
                id,
                heartbeat_interval: CEILING.heartbeat_interval,
                election_timeout: CEILING.election_timeout,
                promise_max: PROMISE_MAX,
                lease_reads: true,
                seed,
            };
            let raft = Raft::new(hour.now, config, recovered());
            let conduct = Conduct::new(&raft.status(), CEILING, true);
            let member = Member {
                raft,
                conduct,
                ledger: Ledger::new(),
                batches: Vec::new(),
                unsynced: Vec::new(),
                is_syncing: false,
                next_tick: None,
            };
            hour.members.insert(id, member);
        }
        for from in (1..=3).map(MemberId) {
            for to in (1..=3).map(MemberId).filter(|to| *to != from) {
                hour.after(SIGN_EVERY, Event::Sign { from, to });
            }
            hour.settle(from);
        }
        hour.after(WRITE_EVERY, Event::Write);
        hour
    }

    fn run(&mut self, lasts: Duration) {
        let end = self.now + lasts;
        while let Some(Reverse((at, number))) = self.queue.pop() {
            self.now = at;
            let event = self.events.remove(&number).expect("it was queued");
            self.happen(event);
            if at >= end {
                return;
            }
        }
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Instant, event: Event) {
        let number = self.events.last_key_value().map_or(0, |(last, _)| last + 1);
        self.events.insert(number, event);
        self.queue.push(Reverse((at, number)));
    }

    /// When what is sent now arrives.
    fn arrival(&mut self, from: MemberId, to: MemberId) -> Instant {
        let takes = (self.delay)(&mut self.rng, from, to);
        let last = self.arrivals.entry((from, to)).or_default();
        *last = (self.now + takes).max(*last);
        *last
    }

    fn member(&mut self, id: MemberId) -> &mut Member {
        self.members.get_mut(&id).expect("one of three")
    }

    fn leader(&self) -> Option<MemberId> {
        let leading = self.members.iter().filter(|(_, member)| {
            let status = member.raft.status();
            status.role == RoleKind::Leader && status.has_committed_in_term
        });
        leading
            .max_by_key(|(_, member)| member.raft.status().term)
            .map(|(id, _)| *id)
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        let id = match event {
            Event::Deliver(message) => {
                let id = message.to;
                let member = self.member(id);
                member.conduct.on_receive(now, &message);
                member.raft.step(now, message).expect("an honest message");
                id
            }
            Event::Told { from, to, told } => {
                self.member(to).conduct.on_told(from, told);
                to
            }
            Event::Sign { from, to } => {
                self.after(SIGN_EVERY, Event::Sign { from, to });
                let (at, sent) = (self.arrival(from, to), now);
                self.at(at, Event::SignCame { from, to, sent });
                return;
            }
            Event::SignCame { from, to, sent } => {
                let at = self.arrival(to, from);
                self.at(at, Event::SignBack { from, to, sent });
                return;
            }
            Event::SignBack { from, to, sent } => {
                let took = now.since(sent);
                self.member(from).conduct.on_sign_of_life(to, took);
                from
            }
            Event::Tick(id) => {
                let member = self.member(id);
                if member.next_tick != Some(now) {
                    return; // another one came first
                }
                member.next_tick = None;
                member.raft.tick(now);
                id
            }
            Event::Synced { id, seq, began } => {
                let member = self.member(id);
                member.is_syncing = false;
                member.conduct.on_durable(seq, now.since(began));
                member.raft.on_persisted(now, seq);
                self.begin_sync(id);
                id
            }
            Event::Write => {
                self.after(WRITE_EVERY, Event::Write);
                let Some(id) = self.leader() else {
                    return;
                };
                let write = Payload::Data(Bytes::from_static(b"w"));
                // While it hands over, it takes none.
                let _ = self.member(id).raft.propose(now, write);
                id
            }
        };
        self.settle(id);
    }

    fn begin_sync(&mut self, id: MemberId) {
        let now = self.now;
        let member = self.member(id);
        let Some(last) = member.unsynced.last().filter(|_| !member.is_syncing) else {
            return;
        };
        let seq = last.seq;
        member.unsynced.clear();
        member.is_syncing = true;
        let takes = (self.sync)(&mut self.rng, id, id);
        let began = now;
        self.after(takes, Event::Synced { id, seq, began });
    }

    /// What the driver does after each input.
    fn settle(&mut self, id: MemberId) {
        let now = self.now;
        let settings = Settings {
            is_open: true,
            cluster_version: ClusterVersion::HIGHEST,
            ..Settings::default()
        };
        let member = self.member(id);
        let resigned = member.conduct.resign_if_outrun(now, &mut member.raft);
        member.conduct.retime(now, &mut member.raft);
        let ended = member.conduct.end_window(now, &member.raft, &settings, 0);
        match ended {
            Some(WindowEnd::Tell(to, told)) => {
                let at = self.arrival(id, to);
                self.at(at, Event::Told { from: id, to, told });
            }
            Some(WindowEnd::Judged(batch)) => self.propose(id, &batch),
            None => {}
        }
        self.resignations += u32::from(resigned.is_some());
        loop {
            let mut effects = Effects::default();
            dispatch(&mut self.member(id).raft, &mut effects);
            if effects.0.is_empty() {
                break;
            }
            for effect in effects.0 {
                self.carry_out(id, effect);
            }
        }
        // The driver turns at least twice a second; a window ends in between.
        let due = self.members[&id].raft.next_deadline();
        let due = due.min(now + ms(500)).max(now);
        let member = self.member(id);
        if member.next_tick.is_none_or(|at| due < at) {
            member.next_tick = Some(due);
            self.at(due, Event::Tick(id));
        }
    }

    fn propose(&mut self, id: MemberId, batch: &LedgerBatch) {
        let now = self.now;
        let member = self.member(id);
        let verdicts = batch.verdicts.clone();
        let bytes = postcard::to_stdvec(batch).expect("numbers");
        if member
            .raft
            .propose(now, Payload::Data(bytes.into()))
            .is_ok()
        {
            member.conduct.batch_proposed(Scoring::default(), verdicts);
        }
    }

    fn carry_out(&mut self, id: MemberId, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Persist(batch) => {
                let member = self.member(id);
                member.conduct.on_write(now, &batch);
                member.unsynced.push(batch);
                self.begin_sync(id);
            }
            Effect::Send(message) => {
                let _ = self.member(id).conduct.on_send(now, &message);
                let at = self.arrival(id, message.to);
                self.at(at, Event::Deliver(message));
            }
            Effect::Apply(entries) => self.apply(id, entries),
            Effect::Status(status) => {
                let member = self.member(id);
                member.conduct.status_changed(now, &status);
                let is_new = status.role == RoleKind::Leader && !status.has_committed_in_term;
                self.elections += u32::from(is_new);
            }
        }
    }

    fn apply(&mut self, id: MemberId, entries: Vec<Entry>) {
        let now = self.now;
        let member = self.member(id);
        let (before, mut last) = (member.ledger.last_index(), LogIndex(0));
        for entry in entries {
            last = entry.id.index;
            if let Payload::Data(data) = &entry.payload
                && let Ok(batch) = postcard::from_bytes::<LedgerBatch>(data)
            {
                let scoring = Scoring::default();
                let term = entry.id.term.0;
                let applied = member.ledger.apply_batch(last.0, term, &batch, &scoring);
                if applied == Applied::Applied {
                    member.batches.push(batch);
                }
            }
        }
        member.raft.on_applied(now, last);
        member
            .raft
            .compact(now, LogIndex(last.0.saturating_sub(KEPT)));
        if member.ledger.last_index() == before {
            return;
        }
        let scores = member.ledger.scores().collect();
        let (conduct, raft) = (&mut member.conduct, &mut member.raft);
        if let Some((_, Ok(()))) = conduct.act_on_scores(now, raft, &scores, |_| true) {
            self.hand_overs.push(now);
        }
    }

    /// Verdicts of the whole hour that are penalties, and windows of members.
    fn penalties(&self) -> (usize, usize) {
        let batches = &self.members[&MemberId(1)].batches;
        let verdicts = batches.iter().flat_map(|batch| &batch.verdicts);
        let penalties = verdicts.filter(|verdict| verdict.kind() == Kind::Penalty);
        (penalties.count(), batches.len() * 3)
    }

    /// How often which verdict fell.
    fn reasons(&self) -> BTreeMap<(&'static str, i32), usize> {
        let batches = &self.members[&MemberId(1)].batches;
        let mut all = BTreeMap::new();
        for batch in batches {
            for verdict in &batch.verdicts {
                *all.entry((verdict.reason.name(), verdict.points))
                    .or_insert(0) += 1;
            }
        }
        all
    }

    fn slow_scores(&self, id: u64) -> Vec<(behaviour::MemberId, i32)> {
        let scores = self.members[&MemberId(id)].ledger.scores();
        scores.map(|(id, score)| (id, score.slow())).collect()
    }

    fn election_timeout(&self, id: MemberId) -> Duration {
        self.members[&id].raft.timers().election_timeout
    }
}

#[test]
fn an_hour_of_health_rewards_everyone_and_moves_nobody() {
    let mut hour = Hour::new(1, Box::new(quick_link), Box::new(usual_disk));
    hour.run(HOUR / 6);
    let early = hour.slow_scores(1);
    hour.run(HOUR - HOUR / 6);
    assert_eq!((hour.elections, hour.hand_overs.len()), (1, 0));
    assert_eq!(hour.resignations, 0);
    let (penalties, windows) = hour.penalties();
    assert!(windows > 3 * 3_500, "{windows} windows");
    assert!(
        penalties * 100 <= windows,
        "{penalties} penalties in {windows} windows: {:?}",
        hour.reasons()
    );
    let late = hour.slow_scores(1);
    for ((id, early), (_, late)) in early.iter().zip(&late) {
        assert!(early < late && *late > 700, "{id}: {early}, then {late}");
    }
    // The last batch may be on its way.
    for id in [2, 3] {
        let theirs = hour.slow_scores(id);
        let agree = |(a, b): (&(_, i32), &(_, i32))| (a.1 - b.1).abs() <= 1;
        assert!(late.iter().zip(&theirs).all(agree), "{late:?}, {theirs:?}");
    }
    let leader = hour.leader().expect("somebody leads");
    for id in (1..=3).map(MemberId).filter(|id| *id != leader) {
        assert!(hour.election_timeout(id) < ms(250));
    }
}

#[test]
fn an_hour_of_jitter_costs_no_election() {
    for seed in 1..=3 {
        let jitter: Draw = Box::new(|rng, _, _| micros(rng, 20_000, 200_000));
        let mut hour = Hour::new(seed, jitter, Box::new(usual_disk));
        // The first one is needed, and until then nobody has measured anything.
        hour.run(Duration::from_secs(10));
        let before = hour.elections;
        hour.run(HOUR);
        assert_eq!(hour.elections, before, "seed {seed}");
        assert_eq!(hour.hand_overs, [], "{:?}", hour.reasons());
    }
}

#[test]
fn an_hour_of_stalled_bytes_costs_no_election() {
    for seed in 1..=3 {
        let stalls: Draw = Box::new(|rng, _, _| {
            if rng.u8(0..20) == 0 {
                ms(200)
            } else {
                micros(rng, 300, 1_000)
            }
        });
        let mut hour = Hour::new(seed, stalls, Box::new(usual_disk));
        hour.run(Duration::from_secs(10));
        let before = hour.elections;
        hour.run(HOUR);
        assert_eq!(hour.elections, before, "seed {seed}");
        assert_eq!(hour.hand_overs, [], "{:?}", hour.reasons());
    }
}

#[test]
fn disks_that_are_all_slow_blame_and_move_nobody() {
    let slow: Draw = Box::new(|rng, _, _| ms(50) + usual_disk(rng, MemberId(1), MemberId(1)));
    let mut hour = Hour::new(4, Box::new(quick_link), slow);
    hour.run(HOUR / 2);
    assert_eq!((hour.elections, hour.hand_overs.len()), (1, 0));
    let (penalties, windows) = hour.penalties();
    assert!(
        penalties * 100 <= windows,
        "{penalties} penalties in {windows} windows: {:?}",
        hour.reasons()
    );
}

#[test]
fn a_leader_whose_disk_alone_gets_slow_hands_over_once_within_fifteen_seconds() {
    for extra in [50, 200, 1_000] {
        let mut hour = Hour::new(5, Box::new(quick_link), Box::new(usual_disk));
        hour.run(Duration::from_secs(60));
        let slow = hour.leader().expect("somebody leads");
        hour.sync = Box::new(move |rng, id, _| {
            let usual = usual_disk(rng, id, id);
            if id == slow { usual + ms(extra) } else { usual }
        });
        let began = hour.now;
        hour.run(HOUR / 2);
        assert_ne!(hour.leader(), Some(slow), "{extra} ms");
        // Or it resigned, which is sooner.
        let left = hour.hand_overs.len() + hour.resignations as usize;
        assert_eq!((hour.elections, left), (2, 1), "{extra} ms");
        for at in &hour.hand_overs {
            assert!(
                at.since(began) <= Duration::from_secs(15),
                "{extra} ms: {at:?}"
            );
        }
    }
}

#[test]
fn a_follower_whose_disk_is_slow_loses_points_and_costs_no_election() {
    let mut hour = Hour::new(6, Box::new(quick_link), Box::new(usual_disk));
    hour.run(Duration::from_secs(60));
    let leader = hour.leader().expect("somebody leads");
    let slow = (1..=3)
        .map(MemberId)
        .find(|id| *id != leader)
        .expect("two follow");
    hour.sync = Box::new(move |rng, id, _| {
        let usual = usual_disk(rng, id, id);
        if id == slow { usual * 50 } else { usual }
    });
    hour.run(HOUR / 2);
    assert_eq!((hour.elections, hour.hand_overs.len()), (1, 0));
    let scores: BTreeMap<_, _> = hour.slow_scores(leader.0).into_iter().collect();
    for (id, score) in &scores {
        assert_eq!(*score < 0, id.0 == slow.0, "{scores:?}");
    }
}
