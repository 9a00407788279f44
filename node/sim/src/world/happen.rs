//! What each event does.

use std::time::Duration;

use raftery_raft::{Instant, MemberId, PeerMessage, Raft, RoleKind, StepError};

use super::{Broken, World, wal};
use crate::Syncs;
use crate::disk::Loss;
use crate::faults::{around, micros};
use crate::invariants::Observation;
use crate::queue::Event;

/// Mean times between what clients and the operator do.
const WRITE_EVERY: Duration = Duration::from_millis(12);
const READ_EVERY: Duration = Duration::from_millis(40);
const OPERATE_EVERY: Duration = Duration::from_millis(200);

impl World {
    /// The next event.
    pub(super) fn next(&mut self) -> Result<(), Broken> {
        let (at, event) = self.queue.next().expect("someone always has a deadline");
        self.now = at;
        self.events += 1;
        if self.is_healing() && event.is_chaos() {
            return Ok(());
        }
        match event {
            Event::Deliver(message) => self.deliver(message),
            Event::Tick { member, life } => self.tick(member, life),
            Event::Synced { member, life } => self.synced(member, life),
            Event::Seal { member, life } => {
                let member = self.members.get_mut(&member).expect("installed");
                if member.life == life {
                    member.disk.seal().map_err(wal)
                } else {
                    Ok(())
                }
            }
            Event::Write => {
                self.again(Event::Write);
                self.write()
            }
            Event::Read => {
                self.again(Event::Read);
                self.read()
            }
            Event::Operate => {
                self.again(Event::Operate);
                self.operate()
            }
            Event::Crash => {
                self.again(Event::Crash);
                self.crash();
                Ok(())
            }
            Event::Start { member } => self.start(member),
            Event::Split => {
                let members: Vec<_> = self.members.keys().copied().collect();
                self.network.split(&mut self.rng, &members);
                let lasts = micros(&mut self.rng, 100_000, 1_500_000);
                self.queue.put(self.now + lasts, Event::Heal);
                Ok(())
            }
            Event::Heal => {
                self.network.heal();
                self.again(Event::Split);
                Ok(())
            }
        }
    }

    /// Schedules what repeats. Once healing has begun, nothing does.
    pub(super) fn again(&mut self, event: Event) {
        if self.is_healing() {
            return;
        }
        let mean = match &event {
            Event::Write => WRITE_EVERY,
            Event::Read => READ_EVERY,
            Event::Operate => OPERATE_EVERY,
            Event::Crash => self.weather.crash_every,
            Event::Split => self.weather.partition_every,
            Event::Deliver(_)
            | Event::Tick { .. }
            | Event::Synced { .. }
            | Event::Seal { .. }
            | Event::Start { .. }
            | Event::Heal => return,
        };
        let at = self.now + around(&mut self.rng, mean);
        self.queue.put(at, event);
    }

    /// Feeds a running member and carries out what follows; `None` when it is down.
    pub(super) fn input<T>(
        &mut self,
        id: MemberId,
        input: impl FnOnce(&mut Raft, Instant) -> T,
    ) -> Result<Option<T>, Broken> {
        let now = self.now;
        let running = self
            .members
            .get_mut(&id)
            .and_then(|member| member.running.as_mut());
        let Some(running) = running else {
            return Ok(None);
        };
        let result = input(&mut running.raft, now);
        running.raft.check_invariants();
        self.settle(id)?;
        Ok(Some(result))
    }

    fn deliver(&mut self, message: PeerMessage) -> Result<(), Broken> {
        let (from, to) = (message.from, message.to);
        let result = self.input(to, |raft, now| raft.step(now, message))?;
        match result {
            None | Some(Ok(())) => Ok(()),
            Some(Err(StepError::Removed { .. })) => {
                self.retire(from);
                Ok(())
            }
            // Members that forgot contradict themselves; whether that does harm is the question.
            Some(Err(StepError::Malformed { .. })) if self.options.syncs == Syncs::TakenOut => {
                Ok(())
            }
            Some(Err(error)) => Err(("honest messages are accepted", error.to_string())),
        }
    }

    /// A removed member is told so: it stops for ever.
    fn retire(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.is_gone = true;
            member.running = None;
            member.disk.crash(&mut self.rng);
        }
    }

    fn tick(&mut self, id: MemberId, life: u64) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("installed");
        match &mut member.running {
            Some(running) if member.life == life && running.tick_at == Some(self.now) => {
                running.tick_at = None;
                self.input(id, |raft, now| raft.tick(now)).map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn synced(&mut self, id: MemberId, life: u64) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("installed");
        if member.life != life || member.running.is_none() {
            return Ok(());
        }
        if let Some(seq) = member.disk.end_sync().map_err(wal)? {
            self.input(id, |raft, now| raft.on_persisted(now, seq))?;
        }
        if !self.begin_sync(id)? {
            let at = self.now + Duration::from_millis(5);
            self.queue.put(at, Event::Seal { member: id, life });
        }
        Ok(())
    }

    /// A client writes to someone who believes to lead.
    fn write(&mut self) -> Result<(), Broken> {
        let leaders: Vec<_> = self
            .members
            .iter()
            .filter(|(_, m)| m.leads())
            .map(|(id, _)| *id)
            .collect();
        let Some(id) = self.rng.choice(leaders) else {
            return Ok(());
        };
        let write = self.clients.next_write();
        let now = self.now;
        let running = self
            .members
            .get_mut(&id)
            .and_then(|member| member.running.as_mut());
        let Some(running) = running else {
            return Ok(());
        };
        if let Ok(entry) = running.raft.propose(now, write.payload()) {
            running.waiters.insert(entry.index, (entry.term, write));
        }
        running.raft.check_invariants();
        self.settle(id)
    }

    /// A client reads from anyone, now and then several at once.
    fn read(&mut self) -> Result<(), Broken> {
        let ids: Vec<_> = self.members.keys().copied().collect();
        let id = self.rng.choice(ids).expect("members exist");
        for _ in 0..self.rng.u8(1..4) {
            let read = self.clients.next_read();
            self.invariants.observe(&Observation::ReadAsked { read })?;
            let now = self.now;
            let running = self
                .members
                .get_mut(&id)
                .and_then(|member| member.running.as_mut());
            // Without a leader the client goes away.
            let _ = running.map(|running| running.raft.read_index(now, read));
        }
        self.settle(id)
    }

    /// Someone crashes, a leader as likely as all others together, and starts again later.
    fn crash(&mut self) {
        let running: Vec<_> = self
            .members
            .iter()
            .filter(|(_, m)| m.running.is_some())
            .map(|(id, _)| *id)
            .collect();
        let leader = self.leader().map(|(id, _)| id).filter(|_| self.rng.bool());
        let Some(id) = leader.or_else(|| self.rng.choice(running)) else {
            return;
        };
        let member = self.members.get_mut(&id).expect("installed");
        self.faults.crashes += 1;
        let role = member.status().map(|status| status.role);
        self.faults.leader_crashes += u64::from(role == Some(RoleKind::Leader));
        match member.disk.crash(&mut self.rng) {
            Loss::Nothing => {}
            Loss::All => self.faults.discarded += 1,
            Loss::Some => self.faults.torn += 1,
        }
        member.running = None;
        let away = micros(&mut self.rng, 20_000, 1_200_000);
        self.queue.put(self.now + away, Event::Start { member: id });
    }
}
