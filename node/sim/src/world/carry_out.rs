//! What members want done.

use raftery_raft::{Entry, MemberId, MessageBody, PeerMessage, RoleKind, Status, dispatch};

use super::{Broken, World};
use crate::faults::{Weather, happens, micros};
use crate::invariants::{Observation, Promise};
use crate::member::{Effect, Effects};
use crate::queue::Event;

impl World<'_> {
    /// Carries out everything that a member wants done, with the loop that the server runs, and
    /// schedules its next tick.
    pub(super) fn settle(&mut self, id: MemberId) -> Result<(), Broken> {
        loop {
            let member = self.members.get_mut(&id).expect("installed");
            let Some(running) = &mut member.running else {
                return Ok(());
            };
            let mut effects = Effects::default();
            dispatch(&mut running.raft, &mut effects);
            if effects.0.is_empty() {
                break;
            }
            running.raft.check_invariants();
            for effect in effects.0 {
                self.carry_out(id, effect)?;
                if self.members[&id].running.is_none() {
                    return Ok(()); // its disk ended it
                }
            }
        }
        self.schedule_tick(id);
        Ok(())
    }

    fn carry_out(&mut self, id: MemberId, effect: Effect) -> Result<(), Broken> {
        match effect {
            Effect::Persist(batch) => {
                let member = self.members.get_mut(&id).expect("it acts");
                let running = member.running.as_mut().expect("it acts");
                let before = running.write(&batch);
                self.invariants.observe(&Observation::Written {
                    member: id,
                    hard_state: &batch.hard_state,
                    before,
                    entries: &batch.entries,
                })?;
                member.disk.queue(batch);
                self.begin_sync(id).map(drop)
            }
            Effect::Send(message) => self.send(id, message),
            Effect::Apply(entries) => self.take_committed(id, entries),
            Effect::Install(meta) => self.install_snapshot(id, &meta),
            Effect::SendSnapshot(to) => self.send_snapshot(id, to),
            Effect::ServeRead(grant) => self.serve_read(id, grant),
            Effect::Status(status) => self.show(id, status),
        }
    }

    fn send(&mut self, id: MemberId, message: PeerMessage) -> Result<(), Broken> {
        let member = &self.members[&id];
        let promise = match &message.body {
            MessageBody::VoteResponse { granted: true } => Some(Promise::Vote {
                term: message.term,
                to: message.to,
            }),
            MessageBody::AppendAccepted { matched } => {
                let running = member.running.as_ref().expect("it acts");
                running.id_at(*matched).map(Promise::Holds)
            }
            _ => None,
        };
        if let Some(promise) = promise {
            self.invariants.observe(&Observation::Promised {
                member: id,
                promise,
                shadow: &member.disk.shadow,
            })?;
        }
        let is_uncounted = matches!(message.body, MessageBody::HeartbeatResponse { number: 1.., promise }
            if promise.is_zero());
        self.report.faults.uncounted += u64::from(is_uncounted);
        self.report.transfers += u64::from(message.body == MessageBody::TimeoutNow);
        let calm = Weather::calm();
        let weather = if self.scene.is_still {
            &calm
        } else {
            &self.weather
        };
        let arrivals = self.network.route(
            &mut self.rng,
            weather,
            &mut self.report.faults,
            self.now,
            &message,
        );
        let mut to = message.to;
        if message.body == MessageBody::TimeoutNow {
            self.scene.handed_over = Some(id);
        }
        if arrivals[0].is_some() && happens(&mut self.rng, weather.misdelivered) {
            let ids: Vec<_> = self.members.keys().copied().collect();
            to = self.rng.choice(ids).expect("members exist");
            self.report.faults.misdelivered += u64::from(to != message.to);
        }
        let Some(receiver) = self.members.get(&to) else {
            return Ok(());
        };
        let (member, life) = (to, receiver.life);
        let deliver = |message| Event::Deliver {
            member,
            life,
            message,
        };
        match arrivals {
            [None, None] => {}
            [Some(at), None] | [None, Some(at)] => self.queue.put(at, deliver(message)),
            [Some(first), Some(second)] => {
                self.queue.put(first, deliver(message.clone()));
                self.queue.put(second, deliver(message));
            }
        }
        Ok(())
    }

    /// Writes what has queued and schedules the end of the sync, if one begins.
    pub(super) fn begin_sync(&mut self, id: MemberId) -> Result<bool, Broken> {
        let member = self.members.get_mut(&id).expect("installed");
        let begins = match member.disk.begin_sync() {
            Ok(begins) => begins,
            Err(error) => {
                self.disk_failed(id, error)?;
                return Ok(false);
            }
        };
        if begins {
            let takes = if self.now < member.disk.slow_until {
                micros(&mut self.rng, 20_000, 200_000)
            } else if happens(&mut self.rng, self.weather.slow_syncs) {
                self.report.faults.slow_syncs += 1;
                micros(&mut self.rng, 50_000, 500_000)
            } else {
                micros(&mut self.rng, 500, 4_000)
            };
            let life = member.life;
            self.after(takes, Event::Synced { member: id, life });
        }
        Ok(begins)
    }

    /// Committed entries for the state machine, which may lag.
    fn take_committed(&mut self, id: MemberId, entries: Vec<Entry>) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("it acts");
        let life = member.life;
        let running = member.running.as_mut().expect("it acts");
        let status = running.shown.as_ref().expect("the first effect");
        if status.role == RoleKind::Leader {
            self.report.count_changes(&entries);
        }
        self.invariants.observe(&Observation::Applied {
            member: id,
            term: status.term,
            entries: &entries,
        })?;
        let lags = !running.to_apply.is_empty();
        running.to_apply.extend(entries);
        if lags {
            return Ok(());
        }
        let is_ambushed = self.scene.slow_machine == Some(id);
        if is_ambushed || happens(&mut self.rng, self.weather.slow_applies) {
            self.faults().slow_applies += 1;
            let takes = if is_ambushed {
                micros(&mut self.rng, 60_000, 100_000)
            } else if happens(&mut self.rng, 2) {
                self.faults().hung_machines += 1;
                micros(&mut self.rng, 1_200_000, 4_000_000)
            } else {
                micros(&mut self.rng, 1_000, 100_000)
            };
            self.after(takes, Event::Apply { member: id, life });
            return Ok(());
        }
        self.apply(id)
    }

    /// The state machine does what it was handed.
    pub(super) fn apply(&mut self, id: MemberId) -> Result<(), Broken> {
        let now = self.local(id);
        let member = self.members.get_mut(&id).expect("it acts");
        let running = member.running.as_mut().expect("it acts");
        let mut done = Vec::new();
        let entries = std::mem::take(&mut running.to_apply);
        let Some(last) = entries.last().map(|entry| entry.id.index) else {
            return Ok(()); // a snapshot came first
        };
        for entry in entries {
            let effect = match running.machine.apply(&entry) {
                Ok(effect) => effect,
                Err(error) => return self.disk_failed(id, error),
            };
            let waiter = running.waiters.remove(&entry.id.index);
            // Otherwise another leader's entry took its place: the client is told so.
            if let Some((term, write)) = waiter
                && term == entry.id.term
            {
                let took_effect = effect.is_some_and(|(_, took_effect)| took_effect);
                done.push((write, entry.id, took_effect));
            }
        }
        if let Err(error) = running.machine.store.flush() {
            return self.disk_failed(id, error);
        }
        running.raft.on_applied(now, last);
        for (write, entry, took_effect) in done {
            self.acknowledge(self.now, write, entry, took_effect)?;
        }
        self.serve_reads(id)
    }

    fn show(&mut self, id: MemberId, status: Status) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("it acts");
        let running = member.running.as_mut().expect("it acts");
        self.trace.say(
            self.now,
            format_args!(
                "{id} is {:?} in term {}, leader {:?}, commit {}, voters {:?}, learners {:?}",
                status.role,
                status.term,
                status.leader,
                status.commit,
                status.membership.voters,
                status.membership.learners
            ),
        );
        let led = running
            .shown
            .as_ref()
            .is_some_and(|before| before.role == RoleKind::Leader && before.term == status.term);
        let (is_elected, term) = (status.role == RoleKind::Leader && !led, status.term);
        running.shown = Some(status);
        if is_elected {
            self.report.elections += 1;
            let (member, log) = (id, &*running);
            self.invariants
                .observe(&Observation::Elected { member, term, log })?;
        }
        Ok(())
    }

    fn schedule_tick(&mut self, id: MemberId) {
        let member = self.members.get_mut(&id).expect("installed");
        let (life, clock) = (member.life, member.clock);
        let Some(running) = &mut member.running else {
            return;
        };
        let due = clock.when(running.raft.next_deadline()).max(self.now);
        if running.tick_at.is_none_or(|at| due < at) {
            running.tick_at = Some(due);
            self.queue.put(due, Event::Tick { member: id, life });
        }
    }
}
