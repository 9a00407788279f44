//! What clients do.

use raftery_raft::{Instant, LogId, MemberId, ReadGrant, ReadId};

use super::ambush::Clients;
use super::{Broken, World};
use crate::clients::{Key, Write};
use crate::faults::micros;
use crate::invariants::Observation;
use crate::queue::Event;

impl World<'_> {
    /// A client writes to someone who believes to lead.
    pub(super) fn write(&mut self) -> Result<(), Broken> {
        let leaders = self.members.iter().filter(|(_, m)| m.leads());
        let leaders: Vec<_> = leaders.map(|(id, _)| *id).collect();
        if self.scene.clients == Clients::Quiet {
            return Ok(());
        }
        let Some(member) = self.rng.choice(leaders) else {
            return Ok(());
        };
        for _ in 0..self.burst() {
            let write = self.clients.next_write(&mut self.rng);
            self.invariants
                .observe(&Observation::WriteAsked { write })?;
            let life = self.members[&member].life;
            let event = Event::Propose {
                member,
                life,
                write,
            };
            let takes = micros(&mut self.rng, 20, 200);
            self.after(takes, event);
        }
        Ok(())
    }

    /// A client reads from anyone, now and then several at once.
    pub(super) fn read(&mut self) -> Result<(), Broken> {
        let ids: Vec<_> = self.members.keys().copied().collect();
        let leader = self.leader().filter(|_| self.rng.u8(0..3) == 0);
        let ambushed = self.scene.reads_at;
        let member = ambushed.or(leader).or_else(|| self.rng.choice(ids));
        let member = member.expect("members exist");
        for _ in 0..self.burst() {
            let read = self.clients.next_read();
            self.invariants.observe(&Observation::ReadAsked { read })?;
            let key = Key::draw(&mut self.rng);
            let life = self.members[&member].life;
            let event = Event::ReadIndex {
                member,
                life,
                read,
                key,
            };
            let takes = micros(&mut self.rng, 20, 200);
            self.after(takes, event);
        }
        Ok(())
    }

    fn burst(&mut self) -> u8 {
        if self.rng.u8(0..4) == 0 {
            self.rng.u8(2..6)
        } else {
            1
        }
    }

    /// A client's write arrives. When it is refused the client goes away.
    pub(super) fn propose(&mut self, id: MemberId, write: Write) -> Result<(), Broken> {
        let now = self.local(id);
        let member = self.members.get_mut(&id).expect("installed");
        let running = member.running.as_mut().expect("it lives");
        let payload = write.payload();
        let proposed = running.raft.propose(now, payload);
        if let Ok(entry) = &proposed {
            running.waiters.insert(entry.index, (entry.term, write));
        }
        running.raft.check_invariants();
        match proposed {
            Ok(entry) => self.say(format_args!("{id} takes {write} as {entry}")),
            Err(error) => self.say(format_args!("{id} refuses {write}: {error}")),
        }
        self.settle(id)
    }

    /// A client's read arrives. When it is refused the client goes away.
    pub(super) fn read_index(
        &mut self,
        id: MemberId,
        read: ReadId,
        key: Key,
    ) -> Result<(), Broken> {
        let now = self.local(id);
        let member = self.members.get_mut(&id).expect("installed");
        let running = member.running.as_mut().expect("it lives");
        if running.raft.read_index(now, read).is_ok() {
            running.asked.insert(read, key);
        }
        running.raft.check_invariants();
        self.settle(id)
    }

    /// Raft says that a read may be served once an index is applied.
    pub(super) fn serve_read(&mut self, id: MemberId, grant: ReadGrant) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("installed");
        let running = member.running.as_mut().expect("it acts");
        running.reads.push(grant);
        if grant.valid_until.is_some() {
            let term = running.raft.status().term;
            self.invariants.observe(&Observation::ReadGranted {
                member: id,
                read: grant.id,
                term,
            })?;
        }
        self.serve_reads(id)
    }

    /// Serves what has waited for the state machine.
    pub(super) fn serve_reads(&mut self, id: MemberId) -> Result<(), Broken> {
        let now = self.local(id);
        let member = self.members.get_mut(&id).expect("installed");
        let running = member.running.as_mut().expect("it acts");
        let mut place = 0;
        while let Some(grant) = running.reads.get(place).copied() {
            let at = running.machine.applied().index;
            if grant.index > at {
                place += 1;
                continue;
            }
            running.reads.swap_remove(place);
            let read = grant.id;
            let Some(key) = running.asked.remove(&read) else {
                return Err(("reads", format!("{id} serves {read} twice, or unasked")));
            };
            // As in the server, it doesn't matter whether the lease still holds: see `serve_read`
            // there.
            if grant.valid_until.is_some() {
                self.report.lease_reads += 1;
                let until = running.raft.lease_until();
                if until.is_none_or(|until| until <= now) {
                    self.report.faults.lapsed_leases += 1;
                }
            }
            let value = running.machine.value(key);
            let value = value.map_err(|error| ("reads", error.to_string()))?;
            self.clients.read(key, value);
            self.trace.say(
                self.now,
                format_args!("{id} answers read {read} of {}: {value:?} at {at}", key.0),
            );
            self.invariants.observe(&Observation::ReadAnswered {
                member: id,
                read,
                key,
                at,
                value,
            })?;
        }
        Ok(())
    }

    /// The client hears that its write is in the log at `id`.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        write: Write,
        id: LogId,
        took_effect: bool,
    ) -> Result<(), Broken> {
        self.clients.written(&write, took_effect);
        self.trace
            .say(now, format_args!("{write} is done at {id}: {took_effect}"));
        self.invariants.observe(&Observation::WriteAnswered {
            write: write.id,
            id,
            took_effect,
        })
    }
}
