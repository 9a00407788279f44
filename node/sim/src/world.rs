//! The world: all that happens, one event after the other.

mod carry_out;
mod happen;
mod operator;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use raftery_raft::{
    ConfChange, Entry, HardState, Instant, LogId, LogIndex, MemberId, Payload, Raft, RaftConfig,
    Recovered, RoleKind, Status, Term,
};
use raftery_wal::WalError;

use crate::clients::Clients;
use crate::disk::Disk;
use crate::faults::Weather;
use crate::invariants::{Invariants, Observation};
use crate::member::{Member, Running};
use crate::network::Network;
use crate::queue::{Event, Queue};
use crate::{Faults, Options, Report, Violation};

const HEARTBEAT: Duration = Duration::from_millis(50);
const ELECTION: Duration = Duration::from_millis(300);
/// As long as the election timeout, which is as long as a promise of it can get: members that
/// crash all the time would otherwise hardly ever get through the wait after a start.
const PROMISE: Duration = ELECTION;
/// Events that healing may take.
const HEALING_EVENTS_MAX: u64 = 20_000;

/// Which property was contradicted, and by what.
type Broken = (&'static str, String);

/// Runs one seed.
///
/// # Errors
/// The first property that doesn't hold.
///
/// # Panics
/// When an assertion of the code under test fails.
pub fn run(options: Options) -> Result<Report, Violation> {
    let mut world = World::new(options);
    let result = world.live();
    let World {
        events,
        now,
        clients,
        elections,
        changes,
        faults,
        ..
    } = world;
    let seed = options.seed;
    match result {
        Ok(()) => Ok(Report {
            seed,
            events,
            elapsed: now.0,
            acknowledged: clients.acknowledged,
            reads: clients.reads,
            elections,
            changes,
            faults,
        }),
        Err((property, what)) => Err(Violation {
            seed,
            event: events,
            elapsed: now.0,
            property,
            what,
        }),
    }
}

struct World {
    options: Options,
    rng: Rng,
    now: Instant,
    events: u64,
    queue: Queue,
    network: Network,
    weather: Weather,
    faults: Faults,
    /// How many voters there should be.
    size: usize,
    members: BTreeMap<MemberId, Member>,
    next_member: MemberId,
    clients: Clients,
    invariants: Invariants,
    elections: u64,
    changes: u64,
}

impl World {
    fn new(options: Options) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let weather = Weather::draw(&mut rng);
        let size = if options.seed.is_multiple_of(2) { 3 } else { 5 };
        Self {
            options,
            rng,
            now: Instant::default(),
            events: 0,
            queue: Queue::default(),
            network: Network::default(),
            weather,
            faults: Faults::default(),
            size,
            members: BTreeMap::new(),
            next_member: MemberId(size as u64 + 1),
            clients: Clients::default(),
            invariants: Invariants::default(),
            elections: 0,
            changes: 0,
        }
    }

    fn live(&mut self) -> Result<(), Broken> {
        self.found()?;
        for event in [
            Event::Write,
            Event::Read,
            Event::Operate,
            Event::Crash,
            Event::Split,
        ] {
            self.again(event);
        }
        while self.events < self.options.events {
            self.next()?;
        }
        self.heal_everything()?;
        let last = self.events + HEALING_EVENTS_MAX;
        while !self.has_converged() {
            if self.events == last {
                return Err((
                    "convergence",
                    "no agreement long after everything healed".into(),
                ));
            }
            self.next()?;
        }
        let (_, leader) = self.leader().expect("it has converged");
        for id in leader.membership.members() {
            if let Some(running) = &self.members[&id].running {
                let machine = &running.machine;
                self.invariants.observe(&Observation::Converged {
                    member: id,
                    machine,
                })?;
            }
        }
        Ok(())
    }

    /// The first members, all with the same first entry.
    fn found(&mut self) -> Result<(), Broken> {
        let ids: Vec<_> = (1..=self.size as u64).map(MemberId).collect();
        let members = ids.iter().map(|id| (*id, Bytes::new())).collect();
        let founding = Entry {
            id: LogId {
                term: Term(1),
                index: LogIndex(1),
            },
            payload: Payload::ConfChange(ConfChange::Found { members }),
        };
        let first = Recovered {
            hard_state: HardState {
                term: Term(1),
                vote: None,
                commit: LogIndex(1),
            },
            entries: vec![founding],
            ..Recovered::default()
        };
        ids.into_iter().try_for_each(|id| self.install(id, &first))
    }

    /// A new machine with a new disk, which starts.
    fn install(&mut self, id: MemberId, first: &Recovered) -> Result<(), Broken> {
        let disk = Disk::create(self.rng.u64(..), id, first, self.options.syncs).map_err(wal)?;
        let member = Member {
            disk,
            life: 0,
            running: None,
            is_gone: false,
        };
        self.members.insert(id, member);
        self.start(id)
    }

    /// A member starts from its disk.
    fn start(&mut self, id: MemberId) -> Result<(), Broken> {
        let seed = self.rng.u64(..);
        let member = self.members.get_mut(&id).expect("installed");
        if member.is_gone || member.running.is_some() {
            return Ok(());
        }
        let recovered = member.disk.open().map_err(wal)?;
        let config = RaftConfig {
            id,
            heartbeat_interval: HEARTBEAT,
            election_timeout: ELECTION,
            promise_max: PROMISE,
            lease_reads: true,
            seed,
        };
        let log = recovered.entries.clone();
        member.life += 1;
        member.running = Some(Running::new(
            Raft::new(self.now, config, recovered),
            log.clone(),
        ));
        self.invariants
            .observe(&Observation::Started { member: id })?;
        let before = LogId::default();
        self.invariants.observe(&Observation::Written {
            member: id,
            before,
            entries: &log,
        })?;
        self.settle(id)
    }

    /// No more faults, and everyone who belongs starts.
    fn heal_everything(&mut self) -> Result<(), Broken> {
        self.weather = Weather::calm();
        self.network.heal();
        let ids: Vec<_> = self.members.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.start(id))
    }

    fn is_healing(&self) -> bool {
        self.events >= self.options.events
    }

    /// Whether every member has applied the whole log of a leader that knows it committed.
    fn has_converged(&self) -> bool {
        let Some((_, leader)) = self.leader() else {
            return false;
        };
        let is_done = leader.has_committed_in_term
            && leader.commit == leader.last_index
            && leader.applied == leader.commit;
        is_done
            && leader.membership.members().all(|id| {
                let member = self.members.get(&id);
                member
                    .and_then(Member::status)
                    .is_some_and(|s| s.applied == leader.commit)
            })
    }

    /// The leader of the highest term.
    fn leader(&self) -> Option<(MemberId, Status)> {
        let statuses = self
            .members
            .iter()
            .filter_map(|(id, member)| Some((*id, member.status()?)));
        statuses
            .filter(|(_, s)| s.role == RoleKind::Leader)
            .max_by_key(|(_, s)| s.term)
    }
}

/// The log refused: with honest crashes it never should.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn wal(error: WalError) -> Broken {
    ("the log recovers", error.to_string())
}
