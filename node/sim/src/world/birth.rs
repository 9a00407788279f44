//! How members come into the world, and back into it.

use std::time::Duration;

use fastrand::Rng;

use super::{Broken, World, broken};
use crate::clock::Clock;
use crate::disk::{Disk, Started};
use crate::faults::micros;
use crate::invariants::Observation;
use crate::member::{Member, Running};
use crate::queue::Event;
use bytes::Bytes;
use raftery_raft::{
    ConfChange, Entry, HardState, LogId, LogIndex, MemberId, Payload, Raft, RaftConfig, Recovered,
    Term,
};

const HEARTBEAT: Duration = Duration::from_millis(50);
const ELECTION: Duration = Duration::from_millis(300);

/// How the members of one run are set up.
#[derive(Debug)]
pub(super) struct Settings {
    /// The same for all and always.
    promise_max: Duration,
    lease_reads: bool,
    /// Every start comes with an election timeout of its own, as while settings are rolled. None is
    /// shorter than five heartbeats.
    are_timers_mixed: bool,
}

impl Settings {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        // Usually as long as the election timeout, which is as long as a promise of it can get:
        // members that crash all the time would otherwise hardly ever get through the wait after
        // a start.
        let promise_max = match rng.u8(0..16) {
            0 => ELECTION / 2,
            1 => ELECTION * 2,
            _ => ELECTION,
        };
        Self {
            promise_max,
            lease_reads: rng.u8(0..16) > 0,
            are_timers_mixed: rng.u8(0..4) == 0,
        }
    }

    fn election_timeout(&self, rng: &mut Rng) -> Duration {
        if self.are_timers_mixed {
            micros(rng, 250_000, 600_000)
        } else {
            ELECTION
        }
    }
}

impl World<'_> {
    /// The first members, all with the same first entry.
    pub(super) fn found(&mut self) -> Result<(), Broken> {
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
    pub(super) fn install(&mut self, id: MemberId, first: &Recovered) -> Result<(), Broken> {
        let disk = Disk::create(self.rng.u64(..), id, first).map_err(broken)?;
        let member = Member {
            disk,
            clock: Clock::default(),
            life: 0,
            running: None,
            is_gone: false,
            is_broken: false,
        };
        self.members.insert(id, member);
        self.start(id)
    }

    /// A member starts from its disk; nothing happens if it runs or never will again.
    pub(super) fn start(&mut self, id: MemberId) -> Result<(), Broken> {
        let is_healing = self.is_healing();
        let member = self.members.get_mut(&id).expect("installed");
        if member.is_lost() || member.running.is_some() {
            return Ok(());
        }
        member.clock = Clock::draw(&mut self.rng);
        self.report.faults.drifts += u64::from(member.clock.drifts());
        let is_rotten = member.disk.is_rotten;
        if !is_healing && self.rng.u8(0..16) == 0 {
            member.disk.die_within(self.rng.u64(0..24));
        }
        let started = match member.disk.open() {
            Ok(started) => started,
            Err(error) if is_rotten && !error.is_io() => {
                member.is_broken = true;
                self.faults().refused += 1;
                self.say(format_args!("{id} refuses its log: {error}"));
                return Ok(());
            }
            Err(error) => {
                self.faults().in_recovery += 1;
                return self.disk_failed(id, error);
            }
        };
        let Started {
            machine,
            recovered,
            verdict,
            is_repaired,
            is_rebased,
        } = started;
        self.report.faults.repairs += u64::from(is_repaired);
        self.report.faults.rebased += u64::from(is_rebased);
        self.report.faults.replayed += u64::from(recovered.hard_state.commit > recovered.applied);
        let (base, log) = (recovered.base, recovered.entries.clone());
        let (hard_state, applied) = (recovered.hard_state, recovered.applied);
        let now = member.clock.read(self.now);
        let config = RaftConfig {
            id,
            heartbeat_interval: HEARTBEAT,
            election_timeout: self.settings.election_timeout(&mut self.rng),
            promise_max: self.settings.promise_max,
            lease_reads: self.settings.lease_reads,
            seed: self.rng.u64(..),
        };
        member.life += 1;
        let life = member.life;
        let raft = Raft::new(now, config, recovered);
        member.running = Some(Running::new(raft, machine, base, log.clone()));
        let last = log.last().map_or(base, |entry| entry.id);
        self.say(format_args!(
            "{id} starts with {base}..{last}, {applied} applied, and {hard_state:?}"
        ));
        self.invariants.observe(&Observation::Started {
            member: id,
            hard_state: &hard_state,
            applied,
            verdict: &verdict,
        })?;
        self.look_at_state(id)?;
        self.invariants.observe(&Observation::Written {
            member: id,
            hard_state: &hard_state,
            before: base,
            entries: &log,
        })?;
        self.after(Duration::from_millis(10), Event::Keep { member: id, life });
        self.settle(id)
    }

    /// Whether the state machine holds what was committed.
    pub(super) fn look_at_state(&mut self, id: MemberId) -> Result<(), Broken> {
        let running = self.members[&id].running.as_ref().expect("it runs");
        let machine = &running.machine;
        self.invariants.observe(&Observation::State {
            member: id,
            machine,
        })
    }
}
