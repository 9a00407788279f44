//! What members want done.

use raftery_raft::{Entry, LogId, LogIndex, MemberId, Payload, RoleKind, Status, dispatch};

use super::{Broken, World, wal};
use crate::faults::{happens, micros};
use crate::invariants::Observation;
use crate::member::{Effect, Effects};
use crate::queue::Event;

impl World {
    /// Carries out everything that a member wants done, with the loop that the server runs, and
    /// schedules its next tick.
    pub(super) fn settle(&mut self, id: MemberId) -> Result<(), Broken> {
        loop {
            let running = self
                .members
                .get_mut(&id)
                .and_then(|member| member.running.as_mut());
            let Some(running) = running else {
                return Ok(());
            };
            let mut effects = Effects::default();
            dispatch(&mut running.raft, &mut effects);
            running.raft.check_invariants();
            if effects.0.is_empty() {
                break;
            }
            for effect in effects.0 {
                self.carry_out(id, effect)?;
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
                let before = running.write(&batch.entries);
                let entries = &batch.entries;
                self.invariants.observe(&Observation::Written {
                    member: id,
                    before,
                    entries,
                })?;
                member.disk.queue(batch);
                self.begin_sync(id).map(drop)
            }
            Effect::Send(message) => {
                let Self {
                    rng,
                    weather,
                    faults,
                    now,
                    ..
                } = self;
                let arrivals = self.network.route(rng, weather, faults, *now, &message);
                for at in arrivals.into_iter().flatten() {
                    self.queue.put(at, Event::Deliver(message.clone()));
                }
                Ok(())
            }
            Effect::Apply(entries) => self.apply(id, &entries),
            Effect::ServeRead(grant) => {
                self.clients.reads += 1;
                self.invariants.observe(&Observation::ReadServed {
                    member: id,
                    read: grant.id,
                    index: grant.index,
                })
            }
            Effect::Status(status) => self.show(id, &status),
        }
    }

    /// Writes what has queued and schedules the end of the sync, if one begins.
    pub(super) fn begin_sync(&mut self, id: MemberId) -> Result<bool, Broken> {
        let member = self.members.get_mut(&id).expect("installed");
        let begins = member.disk.begin_sync().map_err(wal)?;
        if begins {
            let takes = if happens(&mut self.rng, self.weather.slow_syncs) {
                self.faults.slow_syncs += 1;
                micros(&mut self.rng, 50_000, 500_000)
            } else {
                micros(&mut self.rng, 500, 4_000)
            };
            let life = member.life;
            self.queue
                .put(self.now + takes, Event::Synced { member: id, life });
        }
        Ok(begins)
    }

    fn apply(&mut self, id: MemberId, entries: &[Entry]) -> Result<(), Broken> {
        let running = self
            .members
            .get_mut(&id)
            .and_then(|member| member.running.as_mut());
        let running = running.expect("it acts");
        let status = running.raft.status();
        let (member, term) = (id, status.term);
        self.invariants.observe(&Observation::Applied {
            member,
            term,
            entries,
        })?;
        for entry in entries {
            running.machine.apply(entry);
            self.changes += u64::from(
                status.role == RoleKind::Leader && matches!(entry.payload, Payload::ConfChange(_)),
            );
            let Some((term, write)) = running.waiters.remove(&entry.id.index) else {
                continue;
            };
            // Otherwise another leader's entry took its place: the client is told so.
            if term == entry.id.term {
                self.clients.acknowledged += 1;
                let id = LogId {
                    term,
                    index: entry.id.index,
                };
                self.invariants
                    .observe(&Observation::Acknowledged { write, id })?;
            }
        }
        let applied: LogIndex = running.machine.applied;
        running.raft.on_applied(self.now, applied);
        Ok(())
    }

    fn show(&mut self, id: MemberId, status: &Status) -> Result<(), Broken> {
        let running = self
            .members
            .get_mut(&id)
            .and_then(|member| member.running.as_mut());
        let running = running.expect("it acts");
        // A leader's first status: later ones say that it has committed.
        if status.role == RoleKind::Leader && !status.has_committed_in_term {
            self.elections += 1;
            let (member, term, log) = (id, status.term, &running.log[..]);
            self.invariants
                .observe(&Observation::Elected { member, term, log })?;
        }
        Ok(())
    }

    fn schedule_tick(&mut self, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let life = member.life;
        let Some(running) = &mut member.running else {
            return;
        };
        let due = running.raft.next_deadline().max(self.now);
        if running.tick_at.is_none_or(|at| due < at) {
            running.tick_at = Some(due);
            self.queue.put(due, Event::Tick { member: id, life });
        }
    }
}
