//! Crashes, rot and suspensions.

use std::ops::Range;
use std::time::Duration;

use raftery_raft::{Entry, MemberId, Payload, RoleKind};

use super::{Broken, World, broken};
use crate::disk::{DiskError, Loss};
use crate::faults::{happens, micros};
use crate::keeper::Keeper;
use crate::member::Running;
use crate::queue::Event;

/// How somebody crashes.
#[derive(Clone, Debug)]
pub(super) struct Crash {
    /// Every unsynced byte is lost, or some by chance.
    pub(super) loses_all: bool,
    pub(super) rots: bool,
    /// For how many microseconds it is down.
    pub(super) away: Range<u64>,
}

impl World<'_> {
    /// A running member, the leader as likely as all others together.
    fn victim(&mut self) -> Option<MemberId> {
        let leader = self.leader().filter(|_| self.rng.bool());
        let running = self.members.iter().filter(|(_, m)| m.running.is_some());
        let running: Vec<_> = running.map(|(id, _)| *id).collect();
        leader.or_else(|| self.rng.choice(running))
    }

    pub(super) fn leads(&self, id: MemberId) -> bool {
        self.members[&id]
            .shown()
            .is_some_and(|status| status.role == RoleKind::Leader)
    }

    /// Someone crashes and starts again later.
    pub(super) fn crash(&mut self) {
        let Some(id) = self.victim() else {
            return;
        };
        if self.rng.u8(0..3) == 0 {
            let operations = self.rng.u64(0..12);
            let member = self.members.get_mut(&id).expect("installed");
            member.disk.die_within(operations);
            return;
        }
        self.crash_now(id);
    }

    /// The file system refused something: if it was told to, that ends the process.
    pub(super) fn disk_failed(
        &mut self,
        id: MemberId,
        error: impl Into<DiskError>,
    ) -> Result<(), Broken> {
        let error = error.into();
        if !self.members[&id].disk.is_doomed() {
            return Err(broken(error));
        }
        self.say(format_args!("{id}: {error}"));
        self.faults().mid_work += 1;
        self.crash_now(id);
        Ok(())
    }

    fn crash_now(&mut self, id: MemberId) {
        let how = Crash {
            loses_all: self.rng.bool(),
            rots: happens(&mut self.rng, self.weather.rotten) && self.may_lose_one(),
            away: 20_000..1_200_000,
        };
        self.crash_so(id, how);
    }

    pub(super) fn crash_so(&mut self, id: MemberId, how: Crash) {
        let leads = self.leads(id);
        let Crash {
            loses_all,
            rots,
            away,
        } = how;
        let member = self.members.get_mut(&id).expect("installed");
        let loss = member.disk.crash(&mut self.rng, loses_all);
        let running = member.running.take();
        let had = |has: fn(&Running) -> bool| u64::from(running.as_ref().is_some_and(has));
        let (receiving, sending) = (
            had(|running| running.receiving.is_some()),
            had(|running| !running.sending.is_empty()),
        );
        let installing = had(|running| running.received.is_some());
        let keeping = had(|running| matches!(running.keeper, Keeper::Rewrite(_)));
        let rots = rots && member.disk.rot(&mut self.rng);
        let faults = self.faults();
        faults.crashes += 1;
        faults.leader_crashes += u64::from(leads);
        faults.rotten += u64::from(rots);
        faults.while_receiving += receiving;
        faults.while_sending += sending;
        faults.while_installing += installing;
        faults.while_rewriting += keeping;
        match loss {
            Loss::Nothing => {}
            Loss::All => faults.discarded += 1,
            Loss::Some => faults.torn += 1,
        }
        self.say(format_args!(
            "{id} crashes, of what wasn't synced it loses: {loss:?}{}",
            if rots { "; a sector rots" } else { "" }
        ));
        let away = micros(&mut self.rng, away.start, away.end);
        self.after(away, Event::Start { member: id });
    }

    /// Whether those who are left can go on when one of them loses its log for ever: nobody else
    /// has, and everyone's disk knows the latest configuration and of none to come. (A member that
    /// came back with an older one might need the vote of one that was removed since.)
    pub(super) fn may_lose_one(&self) -> bool {
        let Some(status) = self.latest() else {
            return false;
        };
        let since = status.membership.index;
        status.membership.members().all(|id| {
            let Some(member) = self.members.get(&id) else {
                return false;
            };
            let knows = member.disk.shadow.durable.hard_state.commit >= since;
            let is_change = |entry: &Entry| {
                entry.id.index > since && matches!(entry.payload, Payload::ConfChange(_))
            };
            let running = member.running.as_ref();
            let knows_of_none = running.is_some_and(|r| !r.log.iter().rev().any(is_change));
            knows && knows_of_none && !member.disk.is_rotten && !member.disk.is_repairing
        })
    }

    /// A removed member is told so: it stops for ever.
    pub(super) fn retire(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id)
            && !member.is_gone
        {
            member.is_gone = true;
            member.running = None;
            let loses_all = self.rng.bool();
            member.disk.crash(&mut self.rng, loses_all);
            self.say(format_args!("{id} hears that it was removed"));
        }
    }

    /// A process stops; what is for it queues.
    pub(super) fn suspend(&mut self) {
        if let Some(id) = self.victim() {
            let lasts = micros(&mut self.rng, 5_000, 1_500_000);
            self.suspend_for(id, lasts);
        }
    }

    pub(super) fn suspend_for(&mut self, id: MemberId, lasts: Duration) {
        let leads = self.leads(id);
        let member = self.members.get_mut(&id).expect("installed");
        let life = member.life;
        let running = member.running.as_mut().expect("it runs");
        if running.is_suspended() {
            return;
        }
        running.held = Some(Vec::new());
        self.faults().suspensions += 1;
        self.faults().leader_suspensions += u64::from(leads);
        self.say(format_args!("{id} is suspended for {lasts:?}"));
        self.after(lasts, Event::Resume { member: id, life });
    }

    /// It goes on. What has queued comes in order; whether time or messages come first is chance.
    pub(super) fn resume(&mut self, id: MemberId, life: u64) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("installed");
        let Some(running) = member.running.as_mut().filter(|_| member.life == life) else {
            return Ok(());
        };
        let Some(mut held) = running.held.take() else {
            return Ok(());
        };
        let reads_first = std::mem::take(&mut running.wakes_to_reads);
        self.say(format_args!("{id} goes on, {} events wait", held.len()));
        if reads_first {
            held.sort_by_key(|event| !event.is_read());
        } else if self.rng.bool() {
            self.input(id, |raft, now| raft.tick(now))?;
        }
        for event in held {
            self.happen(event)?;
        }
        // The tick that came meanwhile is void.
        self.settle(id)
    }

    /// A disk becomes slow.
    pub(super) fn slow_disk(&mut self) {
        let ids: Vec<_> = self.members.keys().copied().collect();
        let id = self.rng.choice(ids).expect("members exist");
        let lasts = micros(&mut self.rng, 100_000, 2_000_000);
        let member = self.members.get_mut(&id).expect("installed");
        member.disk.slow_until = self.now + lasts;
        self.faults().slow_disks += 1;
        self.say(format_args!("{id}'s disk is slow for {lasts:?}"));
    }
}
