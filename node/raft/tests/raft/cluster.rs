//! A few members, a network in order, and a transcript of all that happens.

mod disks;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use raftery_raft::{
    ConfChange, Entry, HardState, Host, Instant, LogId, LogIndex, MemberId, MessageBody,
    PROMISE_MAX, Payload, PeerMessage, PersistBatch, ProposeError, Raft, RaftConfig, ReadGrant,
    ReadId, Recovered, RoleKind, SnapshotMeta, Status, StepError, Term, TransferError, dispatch,
};

use crate::network::Network;
use crate::text;

pub(crate) const A: MemberId = MemberId(1);
pub(crate) const B: MemberId = MemberId(2);
pub(crate) const C: MemberId = MemberId(3);
pub(crate) const D: MemberId = MemberId(4);
pub(crate) const E: MemberId = MemberId(5);

pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);
pub(crate) const ELECTION: Duration = Duration::from_millis(1000);

/// Without promises: stories that aren't about them stay short.
pub(crate) fn config(id: MemberId) -> RaftConfig {
    RaftConfig {
        id,
        heartbeat_interval: HEARTBEAT,
        election_timeout: ELECTION,
        promise_max: Duration::ZERO,
        lease_reads: true,
        seed: 7,
    }
}

/// What a founder finds on its disk.
pub(crate) fn founded(founders: &[MemberId]) -> Recovered {
    let members = founders.iter().map(|id| (*id, Bytes::new())).collect();
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

/// A state machine: what was applied to it.
type Machine = Vec<LogId>;

/// A member and what surrounds it.
struct Node {
    raft: Option<Raft>,
    /// The log, and the membership as of what the state machine has durable.
    disk: Recovered,
    /// Written, not synced: a crash loses it.
    unsynced: VecDeque<PersistBatch>,
    holds_syncs: bool,
    machine: Machine,
    /// As much of the state machine as a crash leaves.
    stored: Machine,
    /// Received, to be put in the state machine's place.
    received: Option<(SnapshotMeta, Machine)>,
    /// Whether Raft wants that.
    installs: bool,
    holds_installs: bool,
}

impl Node {
    fn write_durably(&mut self, batch: PersistBatch) {
        self.disk.hard_state = batch.hard_state;
        if let Some(base) = batch.base {
            self.disk.base = base;
            self.disk.entries.clear();
        }
        if let Some(first) = batch.entries.first() {
            self.disk
                .entries
                .retain(|entry| entry.id.index < first.id.index);
        }
        self.disk.entries.extend(batch.entries);
    }

    fn durable(&self) -> LogId {
        self.disk
            .entries
            .last()
            .map_or(self.disk.base, |entry| entry.id)
    }

    /// What a start finds: a log that doesn't reach what is applied begins behind it.
    fn recovered(&self) -> Recovered {
        let mut disk = self.disk.clone();
        let applied = self.stored.last().copied().unwrap_or_default();
        disk.applied = applied.index;
        let reaches = applied == disk.base || disk.entries.iter().any(|e| e.id == applied);
        if !reaches {
            disk.base = applied;
            disk.entries.clear();
        }
        disk
    }
}

/// The story's world.
pub(crate) struct Cluster {
    now: Instant,
    nodes: BTreeMap<MemberId, Node>,
    network: Network,
    transcript: String,
    served: Vec<(MemberId, ReadId, LogIndex)>,
    promise_max: Duration,
}

impl Cluster {
    /// Members founded together, with the story's title.
    pub(crate) fn new(title: &str, founders: &[MemberId]) -> Self {
        Self::founded(title, founders, Duration::ZERO)
    }

    /// As [`Cluster::new`], and they promise.
    pub(crate) fn with_promises(title: &str, founders: &[MemberId]) -> Self {
        Self::founded(title, founders, PROMISE_MAX)
    }

    fn founded(title: &str, founders: &[MemberId], promise_max: Duration) -> Self {
        let mut cluster = Self {
            now: Instant::default(),
            nodes: BTreeMap::new(),
            network: Network::default(),
            transcript: format!("{title}\n"),
            served: Vec::new(),
            promise_max,
        };
        for id in founders {
            cluster.start(*id, founded(founders));
        }
        cluster
    }

    /// A member that starts from `disk`; one that joins starts from nothing.
    pub(crate) fn start(&mut self, id: MemberId, disk: Recovered) {
        let node = Node {
            raft: None,
            disk,
            unsynced: VecDeque::new(),
            holds_syncs: false,
            machine: Machine::new(),
            stored: Machine::new(),
            received: None,
            installs: false,
            holds_installs: false,
        };
        self.nodes.insert(id, node);
        self.boot(id);
    }

    fn boot(&mut self, id: MemberId) {
        let now = self.now;
        let config = RaftConfig {
            promise_max: self.promise_max,
            ..config(id)
        };
        let node = self.node(id);
        let disk = node.recovered();
        node.machine.clone_from(&node.stored);
        node.raft = Some(Raft::new(now, config, disk));
    }

    /// A sentence of the story.
    pub(crate) fn say(&mut self, sentence: &str) {
        let _ = writeln!(self.transcript, "\n# {sentence}");
    }

    /// The timer of `id` fires and of nobody else; then everything runs until it is quiet.
    pub(crate) fn fire(&mut self, id: MemberId) {
        self.now = self.now.max(self.raft(id).next_deadline());
        self.tick(id);
        self.run();
    }

    /// Time passes, without anyone noticing yet.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// `id` notices the time.
    pub(crate) fn tick(&mut self, id: MemberId) {
        let now = self.now;
        self.input(id, |raft| raft.tick(now));
    }

    /// Elects `id` from a quiet state, without a transcript of it.
    pub(crate) fn elect(&mut self, id: MemberId) {
        let written = self.transcript.len();
        self.fire(id);
        assert_eq!(self.status(id).role, RoleKind::Leader);
        self.transcript.truncate(written);
        let term = self.status(id).term;
        let _ = writeln!(
            self.transcript,
            "({} is elected in term {term})",
            text::name(id)
        );
    }

    /// `id` beats until `until`, without a transcript of it.
    pub(crate) fn lead_until(&mut self, id: MemberId, until: Instant) {
        let written = self.transcript.len();
        while self.raft(id).next_deadline() < until {
            self.fire(id);
        }
        self.transcript.truncate(written);
        let _ = writeln!(self.transcript, "({} beats for a while)", text::name(id));
        self.now = until;
    }

    pub(crate) fn propose(&mut self, id: MemberId, data: &'static str) -> LogId {
        let entry = self.try_propose(id, data).expect("proposal accepted");
        self.run();
        entry
    }

    /// Proposes without letting anything run afterwards.
    pub(crate) fn try_propose(
        &mut self,
        id: MemberId,
        data: &'static str,
    ) -> Result<LogId, ProposeError> {
        let now = self.now;
        let payload = Payload::Data(Bytes::from_static(data.as_bytes()));
        let result = self.input(id, |raft| raft.propose(now, payload));
        self.note(id, &format!("proposes {data}: {}", outcome(&result)));
        result
    }

    pub(crate) fn change(
        &mut self,
        id: MemberId,
        change: ConfChange,
    ) -> Result<LogId, ProposeError> {
        let now = self.now;
        let result = self.input(id, |raft| raft.propose_conf_change(now, change, None));
        self.note(id, &format!("proposes a change: {}", outcome(&result)));
        result
    }

    pub(crate) fn transfer(&mut self, from: MemberId, to: MemberId) -> Result<(), TransferError> {
        let now = self.now;
        self.note(from, &format!("hands over to {}", text::name(to)));
        self.input(from, |raft| raft.transfer_leader(now, to))
    }

    pub(crate) fn read(&mut self, id: MemberId, read: u64) {
        let now = self.now;
        self.note(id, &format!("reads {read}"));
        let result = self.input(id, |raft| raft.read_index(now, ReadId(read)));
        result.expect("a leader is known");
    }

    pub(crate) fn step(&mut self, message: PeerMessage) -> Result<(), StepError> {
        let now = self.now;
        let to = message.to;
        self.input(to, |raft| raft.step(now, message))
    }

    /// Lets everything happen until it is quiet.
    pub(crate) fn run(&mut self) {
        for id in self.ids() {
            self.flush(id);
        }
        while let Some((message, arrives)) = self.network.next() {
            let reaches = arrives
                && self
                    .nodes
                    .get(&message.to)
                    .is_some_and(|n| n.raft.is_some());
            let fate = if reaches { "" } else { "  (lost)" };
            let _ = writeln!(self.transcript, "{}{fate}", text::message(&message));
            if reaches {
                let to = message.to;
                if let Err(error) = self.step(message) {
                    self.note(to, &format!("refuses it: {error}"));
                }
                self.flush(to);
            }
        }
    }

    /// Carries out what `id` wants done, its syncs too unless they are held.
    pub(crate) fn flush(&mut self, id: MemberId) {
        loop {
            let node = self.node(id);
            let Some(mut raft) = node.raft.take() else {
                return;
            };
            dispatch(&mut raft, &mut Hands { cluster: self, id });
            let now = self.now;
            let node = self.node(id);
            if let Some(last) = node.machine.last() {
                raft.on_applied(now, last.index);
            }
            node.raft = Some(raft);
            if node.installs && !node.holds_installs {
                self.swap(id);
                self.installed(id);
                continue;
            }
            let node = self.node(id);
            if node.holds_syncs || node.unsynced.is_empty() {
                return;
            }
            self.sync(id);
        }
    }

    /// From now on batches of `id` stay unsynced until [`Cluster::sync`].
    pub(crate) fn hold_syncs(&mut self, id: MemberId) {
        self.node(id).holds_syncs = true;
        self.note(id, "disk: syncs take long");
    }

    /// From now on batches of `id` are synced at once again, with all that waits.
    pub(crate) fn let_sync(&mut self, id: MemberId) {
        self.node(id).holds_syncs = false;
        self.flush(id);
    }

    /// The oldest unsynced batch becomes durable.
    pub(crate) fn sync(&mut self, id: MemberId) {
        let batch = self.node(id).unsynced.pop_front().expect("a batch waits");
        let seq = batch.seq;
        if self.node(id).holds_syncs {
            self.note(id, &format!("disk: #{seq} is durable"));
        }
        self.node(id).write_durably(batch);
        let now = self.now;
        self.input(id, |raft| raft.on_persisted(now, seq));
    }

    /// Loses what wasn't synced.
    pub(crate) fn crash(&mut self, id: MemberId) {
        let node = self.node(id);
        node.raft = None;
        node.unsynced.clear();
        node.holds_syncs = false;
        node.received = None;
        node.installs = false;
        node.holds_installs = false;
        self.note(id, "crashes");
    }

    pub(crate) fn restart(&mut self, id: MemberId) {
        self.note(id, "starts again");
        self.boot(id);
    }

    pub(crate) fn cut(&mut self, a: MemberId, b: MemberId) {
        self.network.cut(a, b);
    }

    pub(crate) fn isolate(&mut self, id: MemberId) {
        for other in self.ids().into_iter().filter(|other| *other != id) {
            self.cut(id, other);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.network.heal();
    }

    pub(crate) fn status(&self, id: MemberId) -> Status {
        self.raft(id).status()
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn deadline(&self, id: MemberId) -> Instant {
        self.raft(id).next_deadline()
    }

    /// Until when `id` may serve reads on its lease.
    pub(crate) fn lease(&self, id: MemberId) -> Option<Instant> {
        self.raft(id).lease_until()
    }

    /// Whether a batch of `id` is unsynced.
    pub(crate) fn waits(&self, id: MemberId) -> bool {
        !self.nodes[&id].unsynced.is_empty()
    }

    /// `id` campaigns at once.
    pub(crate) fn campaign(&mut self, id: MemberId) {
        let now = self.now;
        self.note(id, "campaigns at once");
        self.input(id, |raft| raft.campaign(now));
        self.run();
    }

    /// Reads that may be served: who, which, at what index.
    pub(crate) fn served(&self) -> &[(MemberId, ReadId, LogIndex)] {
        &self.served
    }

    /// How often the transcript says `words`.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.transcript.matches(words).count()
    }

    /// As [`Cluster::tell`], with long lists of entries left out.
    pub(crate) fn tell_without_entries(mut self, file: &str) {
        const LENGTH_MAX: usize = 120;
        let mut short = String::new();
        for line in self.transcript.lines() {
            match (line.find('['), line.rfind(']')) {
                (Some(from), Some(to)) if line.len() > LENGTH_MAX => {
                    let count = line[from..to].matches(", ").count() + 1;
                    let _ = writeln!(short, "{}[{count} entries{}", &line[..from], &line[to..]);
                }
                _ => {
                    let _ = writeln!(short, "{line}");
                }
            }
        }
        self.transcript = short;
        self.tell(file);
    }

    /// Compares the transcript with `testdata/<file>.txt`.
    pub(crate) fn tell(self, file: &str) {
        self.check_state_machines();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/{file}.txt"));
        if std::env::var_os("RAFTERY_REWRITE").is_some() {
            std::fs::write(&path, &self.transcript).expect("testdata is writable");
        }
        let told = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            told == self.transcript,
            "{} says otherwise (RAFTERY_REWRITE=1 writes it anew); now:\n{}",
            path.display(),
            self.transcript
        );
    }

    fn check_state_machines(&self) {
        let longest = self
            .nodes
            .values()
            .map(|n| &n.machine)
            .max_by_key(|machine| machine.len());
        for node in self.nodes.values() {
            assert!(
                longest.is_some_and(|l| l.starts_with(&node.machine)),
                "histories differ"
            );
        }
    }

    fn ids(&self) -> Vec<MemberId> {
        self.nodes.keys().copied().collect()
    }

    fn node(&mut self, id: MemberId) -> &mut Node {
        self.nodes.get_mut(&id).expect("member exists")
    }

    fn raft(&self, id: MemberId) -> &Raft {
        self.nodes[&id].raft.as_ref().expect("member runs")
    }

    /// Feeds an input and checks the invariants.
    fn input<T: std::fmt::Debug>(&mut self, id: MemberId, input: impl FnOnce(&mut Raft) -> T) -> T {
        let raft = self.node(id).raft.as_mut().expect("member runs");
        let result = input(raft);
        raft.check_invariants();
        result
    }

    fn note(&mut self, id: MemberId, what: &str) {
        let _ = writeln!(self.transcript, "{} {what}", text::name(id));
    }
}

fn outcome<T, E: std::fmt::Display>(result: &Result<T, E>) -> String {
    result
        .as_ref()
        .map_or_else(|error| format!("no, {error}"), |_| "yes".into())
}

/// Carries out effects of one member.
struct Hands<'a> {
    cluster: &'a mut Cluster,
    id: MemberId,
}

impl Host for Hands<'_> {
    fn persist(&mut self, batch: PersistBatch) {
        self.cluster
            .note(self.id, &format!("writes {}", text::batch(&batch)));
        self.cluster.node(self.id).unsynced.push_back(batch);
    }

    fn send(&mut self, message: PeerMessage) {
        assert_eq!(message.from, self.id);
        let node = self.cluster.node(self.id);
        if let MessageBody::AppendAccepted { matched } = &message.body {
            assert!(
                node.durable().index >= *matched,
                "promised what isn't durable"
            );
        }
        if matches!(message.body, MessageBody::VoteResponse { granted: true }) {
            assert_eq!(
                node.disk.hard_state.vote,
                Some(message.to),
                "vote isn't durable"
            );
            assert_eq!(
                node.disk.hard_state.term, message.term,
                "vote isn't durable"
            );
        }
        self.cluster.network.send(message);
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        self.cluster
            .note(self.id, &format!("applies {}", text::entries(&entries)));
        let machine = &mut self.cluster.node(self.id).machine;
        machine.extend(entries.iter().map(|entry| entry.id));
    }

    fn install(&mut self, meta: SnapshotMeta) {
        let last = text::log_id(meta.last);
        self.cluster
            .note(self.id, &format!("wants the snapshot up to {last}"));
        let node = self.cluster.node(self.id);
        assert!(node.received.as_ref().is_some_and(|(m, _)| *m == meta));
        node.installs = true;
    }

    fn send_snapshot(&mut self, to: MemberId) {
        let to = text::name(to);
        self.cluster
            .note(self.id, &format!("has to send {to} a snapshot"));
    }

    fn serve_read(&mut self, grant: ReadGrant) {
        let ReadGrant {
            id,
            index,
            valid_until,
        } = grant;
        let lease = valid_until.map_or_else(String::new, |until| {
            format!(", by its lease until {}", text::millis(until))
        });
        self.cluster
            .note(self.id, &format!("serves read {id} at {index}{lease}"));
        self.cluster.served.push((self.id, id, index));
    }

    fn status_changed(&mut self, status: Status) {
        let leader = status
            .leader
            .map_or_else(|| "nobody".into(), |id| text::name(id).to_string());
        let mut what = format!(
            "is {:?} in term {}, leader {leader}",
            status.role, status.term
        );
        if status.has_committed_in_term {
            what.push_str(", has committed");
        }
        if let Some(to) = status.transferee {
            let _ = write!(what, ", handing over to {}", text::name(to));
        }
        if status.repairing {
            what.push_str(", repairing");
        }
        if let Some(evidence) = status.rolled_back {
            let _ = write!(what, ", rolled back: {evidence:?}");
        }
        let membership = status.membership;
        let _ = write!(what, "; voters {}", text::names(membership.voters));
        if !membership.outgoing.is_empty() {
            let _ = write!(
                what,
                " and of the old half {}",
                text::names(membership.outgoing)
            );
        }
        if !membership.learners.is_empty() {
            let _ = write!(what, " learners {}", text::names(membership.learners));
        }
        self.cluster.note(self.id, &what);
    }
}
