//! What each event does.

use std::time::Duration;

use raftery_defects::are_assertions_off;
use raftery_raft::{Instant, MemberId, PeerMessage, Raft, StepError};

use super::ambush::Clients;
use super::{Broken, World};
use crate::faults::{around, happens, micros};
use crate::queue::Event;
use crate::trace::Line;

/// Mean times between what clients and the operator do.
const WRITE_EVERY: Duration = Duration::from_millis(12);
const READ_EVERY: Duration = Duration::from_millis(40);
const OPERATE_EVERY: Duration = Duration::from_millis(200);

impl World<'_> {
    /// The next event.
    pub(super) fn next(&mut self) -> Result<(), Broken> {
        let (at, event) = self.queue.next().expect("someone always has a deadline");
        self.now = at;
        self.report.events += 1;
        if self.is_healing() && event.is_chaos() {
            return Ok(());
        }
        if let Some(id) = event.runs() {
            let member = self.members.get_mut(&id).expect("installed");
            let Some(running) = &mut member.running else {
                return Ok(());
            };
            if let Some(held) = &mut running.held {
                if matches!(event, Event::Tick { .. }) {
                    running.tick_at = None;
                } else {
                    held.push(event);
                }
                return Ok(());
            }
        }
        self.happen(event)?;
        self.look()
    }

    pub(super) fn happen(&mut self, event: Event) -> Result<(), Broken> {
        let is_welcome = self.scene.operator_works && matches!(event, Event::Operate);
        if self.scene.is_still && event.disturbs() && !is_welcome {
            self.again(event);
            return Ok(());
        }
        match event {
            Event::Deliver {
                member,
                life,
                message,
            } => self.deliver(member, life, message),
            Event::Tick { member, life } => self.tick(member, life),
            Event::Synced { member, life } => self.synced(member, life),
            Event::Seal { member: id, life } if self.lives(id, life) => {
                let member = self.members.get_mut(&id).expect("installed");
                match member.disk.seal() {
                    Ok(()) => Ok(()),
                    Err(error) => self.disk_failed(id, error),
                }
            }
            Event::Apply { member, life } if self.lives(member, life) => {
                self.apply(member)?;
                self.settle(member)
            }
            Event::Keep { member, life } if self.lives(member, life) => self.keep(member),
            Event::Stream { member, life, to } if self.lives(member, life) => {
                self.stream(member, to)
            }
            Event::Streamed {
                member,
                life,
                to,
                last,
            } if self.lives(member, life) => self.streamed(member, to, last),
            Event::Install { member, life } if self.lives(member, life) => {
                self.install_received(member)
            }
            Event::Propose {
                member,
                life,
                write,
            } if self.lives(member, life) => self.propose(member, write),
            Event::ReadIndex {
                member,
                life,
                read,
                key,
            } if self.lives(member, life) => self.read_index(member, read, key),
            Event::Seal { .. }
            | Event::Apply { .. }
            | Event::Keep { .. }
            | Event::Stream { .. }
            | Event::Streamed { .. }
            | Event::Install { .. }
            | Event::Propose { .. }
            | Event::ReadIndex { .. } => Ok(()),
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
                self.split();
                Ok(())
            }
            Event::Heal => {
                self.say(format_args!("the network heals"));
                self.network.heal();
                self.again(Event::Split);
                Ok(())
            }
            Event::Suspend => {
                self.again(Event::Suspend);
                self.suspend();
                Ok(())
            }
            Event::Resume { member, life } => self.resume(member, life),
            Event::SlowDisk => {
                self.again(Event::SlowDisk);
                self.slow_disk();
                Ok(())
            }
            Event::Judge => {
                self.again(Event::Judge);
                self.judge()
            }
            Event::Ambush => self.lay_ambush(),
            Event::Look => Ok(()),
        }
    }

    /// Schedules what repeats. Once healing has begun, nothing does.
    pub(super) fn again(&mut self, event: Event) {
        if self.is_healing() {
            return;
        }
        let mean = match &event {
            Event::Write if self.scene.clients == Clients::Busy => WRITE_EVERY / 4,
            Event::Write => WRITE_EVERY,
            Event::Read if self.scene.reads_at.is_some() => READ_EVERY / 4,
            Event::Read => READ_EVERY,
            Event::Operate if self.scene.operator_works => OPERATE_EVERY / 3,
            Event::Operate => OPERATE_EVERY,
            Event::Crash => self.weather.crash_every,
            Event::Split => self.weather.partition_every,
            Event::Suspend => self.weather.suspend_every,
            Event::SlowDisk => self.weather.slow_disk_every,
            Event::Judge => self.weather.judge_every,
            Event::Ambush => self.weather.ambush_every,
            Event::Deliver { .. }
            | Event::Tick { .. }
            | Event::Synced { .. }
            | Event::Seal { .. }
            | Event::Apply { .. }
            | Event::Keep { .. }
            | Event::Stream { .. }
            | Event::Streamed { .. }
            | Event::Install { .. }
            | Event::Propose { .. }
            | Event::ReadIndex { .. }
            | Event::Start { .. }
            | Event::Heal
            | Event::Resume { .. }
            | Event::Look => return,
        };
        let delay = around(&mut self.rng, mean);
        self.after(delay, event);
    }

    /// Whether a member still lives the life that something was meant for.
    pub(super) fn lives(&self, id: MemberId, life: u64) -> bool {
        let member = &self.members[&id];
        member.life == life && member.running.is_some()
    }

    /// Feeds a running member and carries out what follows; `None` when it is down.
    pub(super) fn input<T>(
        &mut self,
        id: MemberId,
        input: impl FnOnce(&mut Raft, Instant) -> T,
    ) -> Result<Option<T>, Broken> {
        let member = self.members.get_mut(&id).expect("installed");
        let now = member.clock.read(self.now);
        let Some(running) = &mut member.running else {
            return Ok(None);
        };
        let result = input(&mut running.raft, now);
        running.raft.check_invariants();
        self.settle(id)?;
        Ok(Some(result))
    }

    pub(super) fn deliver(
        &mut self,
        id: MemberId,
        life: u64,
        message: PeerMessage,
    ) -> Result<(), Broken> {
        let (from, is_ours) = (message.from, message.to == id);
        if self.trace.is_on() {
            let line = Line(&message);
            self.trace.say(self.now, format_args!("{id} gets {line}"));
        }
        let is_later_life = self.members[&id].life != life;
        self.faults().across_lives += u64::from(is_later_life);
        match self.input(id, |raft, now| raft.step(now, message))? {
            None | Some(Ok(())) => Ok(()),
            Some(Err(StepError::WrongReceiver { .. })) if !is_ours => Ok(()),
            Some(Err(StepError::Removed { .. })) => {
                // The answer reaches whoever said it.
                self.retire(from);
                Ok(())
            }
            // With a defect, members contradict each other; whether that does harm is the
            // question.
            Some(Err(_)) if are_assertions_off() => Ok(()),
            Some(Err(error)) => Err(("honest messages are accepted", error.to_string())),
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
        if !self.lives(id, life) {
            return Ok(());
        }
        let member = self.members.get_mut(&id).expect("installed");
        if happens(&mut self.rng, self.weather.failed_syncs) {
            member.disk.fail_next_sync();
            self.report.faults.failed_syncs += 1;
        }
        match member.disk.end_sync() {
            Ok(None) => {}
            Ok(Some(seq)) => {
                self.input(id, |raft, now| raft.on_persisted(now, seq))?;
                self.look_at_repair(id);
            }
            Err(error) => self.disk_failed(id, error)?,
        }
        if self.lives(id, life) && !self.begin_sync(id)? && self.lives(id, life) {
            self.after(Duration::from_millis(5), Event::Seal { member: id, life });
        }
        Ok(())
    }

    fn look_at_repair(&mut self, id: MemberId) {
        let member = self.members.get_mut(&id).expect("installed");
        if member.disk.is_repairing
            && let Some(running) = &member.running
        {
            member.disk.is_repairing = running.raft.status().repairing;
            self.report.faults.repaired += u64::from(!member.disk.is_repairing);
        }
    }

    fn split(&mut self) {
        let members: Vec<_> = self.members.keys().copied().collect();
        let leader = self.leader();
        let faults = &mut self.report.faults;
        let kind = self.network.split(&mut self.rng, faults, &members, leader);
        let lasts = micros(&mut self.rng, 100_000, 1_500_000);
        if self.trace.is_on() {
            let cuts: Vec<_> = self.network.cuts().iter().collect();
            let what = format_args!("the network splits {kind} for {lasts:?}: {cuts:?}");
            self.trace.say(self.now, what);
        }
        self.after(lasts, Event::Heal);
    }
}
