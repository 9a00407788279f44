//! The world: all that happens, one event after the other.

mod ambush;
mod birth;
mod carry_out;
mod clients;
mod crash;
mod happen;
mod judge;
mod last_wish;
mod operator;
mod snapshots;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fastrand::Rng;
use raftery_raft::{Instant, MemberId, Status};

use crate::clients::Clients;
use crate::disk::DiskError;
use crate::faults::Weather;
use crate::invariants::{Invariants, Observation};
use crate::member::Member;
use crate::network::Network;
use crate::queue::{Event, Queue};
use crate::report::NO_PANIC;
use crate::trace::Trace;
use crate::{Faults, Listener, Options, Report, Violation};
use ambush::{Ambush, Scene};
use birth::Settings;

/// How long healing may take.
const HEALING_MAX: Duration = Duration::from_secs(60);

/// Which property was contradicted, and by what.
type Broken = (&'static str, String);

/// Runs one seed.
///
/// # Errors
/// The first property that doesn't hold; a panic of the code under test is one, too.
pub fn run(options: Options) -> Result<Report, Violation> {
    World::new(options, Trace(None)).run()
}

/// Runs one seed as [`run`] does, and tells what happens.
///
/// # Errors
/// As [`run`].
pub fn run_told(options: Options, listener: Listener<'_>) -> Result<Report, Violation> {
    World::new(options, Trace(Some(listener))).run()
}

struct World<'a> {
    options: Options,
    trace: Trace<'a>,
    rng: Rng,
    now: Instant,
    queue: Queue,
    network: Network,
    weather: Weather,
    settings: Settings,
    /// How many voters there should be.
    size: usize,
    members: BTreeMap<MemberId, Member>,
    next_member: MemberId,
    /// What is being prepared or under way, and what it asks of the world.
    ambush: Option<Ambush>,
    scene: Scene,
    clients: Clients,
    invariants: Invariants,
    report: Report,
}

impl<'a> World<'a> {
    fn new(options: Options, trace: Trace<'a>) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let weather = Weather::draw(&mut rng);
        let settings = Settings::draw(&mut rng);
        let size = if options.seed.is_multiple_of(2) { 3 } else { 5 };
        Self {
            options,
            trace,
            rng,
            now: Instant::default(),
            queue: Queue::default(),
            network: Network::default(),
            weather,
            settings,
            size,
            members: BTreeMap::new(),
            next_member: MemberId(size as u64 + 1),
            ambush: None,
            scene: Scene::default(),
            clients: Clients::new(),
            invariants: Invariants::default(),
            report: Report::default(),
        }
    }

    fn run(mut self) -> Result<Report, Violation> {
        let result = catch_unwind(AssertUnwindSafe(|| self.live()));
        let result = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err((NO_PANIC, text.unwrap_or_default().to_owned()))
        });
        self.report.elapsed = self.now.0;
        let clients = &self.clients;
        self.report.acknowledged = clients.acknowledged;
        self.report.swapped = clients.swapped;
        self.report.not_swapped = clients.not_swapped;
        self.report.deleted = clients.deleted;
        self.report.compactions = clients.compactions;
        self.report.reads = clients.reads;
        result
            .map(|()| self.report)
            .map_err(|(property, what)| Violation {
                seed: self.options.seed,
                event: self.report.events,
                elapsed: self.now.0,
                property,
                what,
            })
    }

    fn live(&mut self) -> Result<(), Broken> {
        self.found()?;
        for event in [
            Event::Write,
            Event::Read,
            Event::Operate,
            Event::Crash,
            Event::Split,
            Event::Suspend,
            Event::SlowDisk,
            Event::Judge,
            Event::Ambush,
        ] {
            self.again(event);
        }
        while !self.is_healing() {
            self.next()?;
        }
        self.heal_everything()?;
        let end = self.now + HEALING_MAX;
        let mut led_at = self.now;
        while !self.has_converged() {
            if self.now >= end {
                return Err((
                    "convergence",
                    "no agreement long after everything healed".into(),
                ));
            }
            self.next()?;
            if self.is_led() {
                led_at = self.now;
            }
            let leaderless = self.now.since(led_at);
            self.invariants
                .observe(&Observation::Healed { leaderless })?;
        }
        self.say(format_args!("all agree"));
        let leader = self.leader().expect("it has converged");
        let membership = self.members[&leader]
            .shown()
            .map(|status| status.membership.clone());
        for id in membership.expect("it leads").members() {
            if let Some(running) = &self.members[&id].running {
                let machine = &running.machine;
                self.invariants.observe(&Observation::State {
                    member: id,
                    machine,
                })?;
                self.invariants.observe(&Observation::Converged {
                    member: id,
                    applied: machine.applied().index,
                })?;
            }
        }
        self.last_wish()
    }

    /// No more faults, and everyone who belongs starts.
    fn heal_everything(&mut self) -> Result<(), Broken> {
        self.say(format_args!("everything heals"));
        self.weather = Weather::calm();
        self.network.heal();
        self.end_ambush();
        let ids: Vec<_> = self.members.keys().copied().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("installed");
            member.disk.slow_until = Instant::default();
            self.start(id)?;
        }
        Ok(())
    }

    fn is_healing(&self) -> bool {
        self.report.events >= self.options.events
    }

    /// Whether every member that can has applied the whole log of a leader that knows it
    /// committed.
    fn has_converged(&self) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        let leader = self.members[&leader].running.as_ref();
        let leader = leader.expect("it leads").raft.status();
        let is_done = leader.has_committed_in_term
            && leader.commit == leader.last_index
            && leader.applied == leader.commit;
        is_done
            && leader.membership.members().all(|id| {
                let Some(member) = self.members.get(&id) else {
                    return false;
                };
                let running = member.running.as_ref();
                member.is_broken
                    || running.is_some_and(|r| r.machine.applied().index == leader.commit)
            })
    }

    /// Whether somebody leads who has committed something as a leader.
    fn is_led(&self) -> bool {
        let mut leaders = self.members.values().filter(|member| member.leads());
        leaders.any(|member| member.shown().is_some_and(|it| it.has_committed_in_term))
    }

    /// The leader of the highest term.
    fn leader(&self) -> Option<MemberId> {
        let leaders = self.members.iter().filter(|(_, member)| member.leads());
        let (id, _) = leaders.max_by_key(|(_, member)| member.shown().map(|status| status.term))?;
        Some(*id)
    }

    /// Of whoever knows the latest configuration.
    fn latest(&self) -> Option<&Status> {
        let statuses = self.members.values().filter_map(Member::shown);
        statuses.max_by_key(|status| status.membership.index)
    }

    fn say(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.say(self.now, what);
    }

    fn faults(&mut self) -> &mut Faults {
        &mut self.report.faults
    }

    /// A member's clock.
    fn local(&self, id: MemberId) -> Instant {
        self.members[&id].clock.read(self.now)
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.queue.put(self.now + delay, event);
    }
}

/// The log or the store refused: with honest crashes they never should.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: DiskError) -> Broken {
    let property = match error {
        DiskError::Wal(_) => "the log recovers",
        DiskError::Store(_) => "the store recovers",
        DiskError::StateBehindLog { .. } => "the log reaches the state",
    };
    (property, error.to_string())
}
