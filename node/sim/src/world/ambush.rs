//! Ambushes: faults that lie in wait for the moment at which they would do most harm.
//!
//! Chance alone hardly ever cuts a leader off in the very instant in which it hands over, or wakes
//! it when the lease that it slept through is the only thing that keeps a read from being stale.
//! An ambush waits for such a moment and then does what any fault does: it cuts links, delays
//! messages, crashes, suspends, damages a disk, and lets clients ask where it matters. It never
//! changes what a member may do. One at a time, each in a file of its own; while it springs, other
//! faults rest, so that they don't spoil it.

mod figure_eight;
mod forgotten_promise;
mod halves;
mod hand_over;
mod lagging_store;
mod later_term;
mod new_half;
mod old_half;
mod outslept_lease;
mod parted_halves;
mod rotten_witness;

use std::time::Duration;

use raftery_raft::{ConfChange, Instant, MemberId, PeerMessage, RoleKind};

use super::{Broken, World};
use crate::faults::micros;
use crate::queue::Event;
use figure_eight::FigureEight;
use forgotten_promise::ForgottenPromise;
use hand_over::HandOver;
use lagging_store::LaggingStore;
use later_term::LaterTerm;
use new_half::NewHalf;
use old_half::OldHalf;
use outslept_lease::OutsleptLease;
use parted_halves::PartedHalves;
use rotten_witness::RottenWitness;

/// How much clients write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Clients {
    #[default]
    Usual,
    Quiet,
    Busy,
}

/// What the ambush asks of the world.
#[derive(Debug, Default)]
pub(super) struct Scene {
    pub(super) clients: Clients,
    /// Where everyone reads.
    pub(super) reads_at: Option<MemberId>,
    /// Whose state machine is late to what is committed.
    pub(super) slow_machine: Option<MemberId>,
    /// Whose state machine takes long to become durable.
    pub(super) slow_store: Option<MemberId>,
    /// Other faults and the operator rest.
    pub(super) is_still: bool,
    /// … but the operator doesn't.
    pub(super) operator_works: bool,
    /// Who told another to campaign last.
    pub(super) handed_over: Option<MemberId>,
}

/// What is being prepared, or has sprung and takes its course, and until when.
#[derive(Debug)]
pub(super) struct Ambush {
    plot: Plot,
    until: Instant,
}

#[derive(Debug)]
enum Plot {
    FigureEight(FigureEight),
    ForgottenPromise(ForgottenPromise),
    HandOver(HandOver),
    LaggingStore(LaggingStore),
    LaterTerm(LaterTerm),
    NewHalf(NewHalf),
    OldHalf(OldHalf),
    OutsleptLease(OutsleptLease),
    PartedHalves(PartedHalves),
    RottenWitness(RottenWitness),
    /// In quiet weather everyone catches up and the operator is about to make a joint change.
    AwaitChange,
    /// It has done what it wanted; the scene stays for a while.
    Sprung,
}

/// How a plot goes on after a look around.
#[derive(Debug)]
enum Next {
    Wait(Plot),
    /// It has sprung and takes so long.
    Sprung(Duration),
    Over,
}

impl World<'_> {
    /// Lays one of the ambushes, if the cluster is in a state for it.
    pub(super) fn lay_ambush(&mut self) -> Result<(), Broken> {
        if self.ambush.is_some() || !self.network.cuts().is_empty() {
            self.try_again();
            return Ok(());
        }
        // Some more often, because they hardly ever find the cluster in a state for them.
        let laid = match self.rng.u8(0..28) {
            0..2 => HandOver::lay(self)?,
            2..4 => ForgottenPromise::lay(self),
            4..6 => OutsleptLease::lay(self),
            6..8 => LaggingStore::lay(self),
            8..12 => LaterTerm::lay(self),
            12..20 => RottenWitness::lay(self),
            20..24 => FigureEight::lay(self),
            _ => self.await_change(),
        };
        if let Some((plot, patience)) = laid {
            self.await_moment(plot, patience);
            self.again(Event::Ambush);
        } else {
            self.try_again();
        }
        Ok(())
    }

    /// A joint change is about to be made.
    fn await_change(&mut self) -> Option<(Plot, Duration)> {
        let membership = &self.members[&self.leader()?].shown()?.membership;
        let is_near = membership.voters.len() <= self.size
            && !membership.learners.is_empty()
            && !membership.is_joint();
        if !is_near {
            return None;
        }
        self.scene.is_still = true;
        self.scene.operator_works = true;
        Some((Plot::AwaitChange, Duration::from_millis(2500)))
    }

    /// The cluster wasn't in a state for it.
    fn try_again(&mut self) {
        let pause = micros(&mut self.rng, 20_000, 100_000);
        self.after(pause, Event::Ambush);
    }

    /// The leader took a change of membership: if it makes a joint configuration, an ambush may
    /// be laid around it.
    pub(super) fn ambush_change(&mut self, leader: MemberId, change: &ConfChange) {
        let awaits = |ambush: &Ambush| matches!(ambush.plot, Plot::AwaitChange);
        let is_free = self.ambush.as_ref().is_none_or(awaits);
        if !is_free || !self.network.cuts().is_empty() {
            return;
        }
        let laid = match self.rng.u8(0..3) {
            0 => PartedHalves::lay(self, leader, change),
            1 => OldHalf::lay(self, leader, change),
            _ => NewHalf::lay(self, leader, change),
        };
        if let Some((plot, patience)) = laid {
            self.scene.operator_works = false;
            self.await_moment(plot, patience);
        }
    }

    fn await_moment(&mut self, plot: Plot, patience: Duration) {
        self.say(format_args!("an ambush: {plot:?}"));
        let until = self.now + patience;
        self.ambush = Some(Ambush { plot, until });
        self.look_again_in(patience);
    }

    /// A moment at which the ambush looks around, even if nothing happens then.
    fn look_again_in(&mut self, delay: Duration) {
        self.after(delay, Event::Look);
    }

    /// After each event the ambush looks whether its moment has come.
    pub(super) fn look(&mut self) -> Result<(), Broken> {
        let Some(Ambush { plot, until }) = self.ambush.take() else {
            return Ok(());
        };
        if self.now >= until {
            self.end_ambush();
            return Ok(());
        }
        let next = match plot {
            Plot::FigureEight(plot) => plot.look(self),
            Plot::ForgottenPromise(plot) => plot.look(self),
            Plot::HandOver(plot) => plot.look(self),
            Plot::LaggingStore(plot) => plot.look(self),
            Plot::LaterTerm(plot) => plot.look(self),
            Plot::NewHalf(plot) => plot.look(self),
            Plot::OldHalf(plot) => plot.look(self),
            Plot::OutsleptLease(plot) => plot.look(self),
            Plot::PartedHalves(plot) => plot.look(self),
            Plot::RottenWitness(plot) => plot.look(self),
            Plot::AwaitChange => Next::Wait(Plot::AwaitChange),
            Plot::Sprung => Next::Wait(Plot::Sprung),
        };
        match next {
            Next::Wait(plot) => self.ambush = Some(Ambush { plot, until }),
            Next::Sprung(lasts) => self.await_moment(Plot::Sprung, lasts),
            Next::Over => self.end_ambush(),
        }
        Ok(())
    }

    /// The world is as usual again.
    pub(super) fn end_ambush(&mut self) {
        self.ambush = None;
        self.scene = Scene::default();
        let held = self.network.end_ambush();
        self.deliver_late(held);
    }

    /// What was held back arrives, in any order.
    fn deliver_late(&mut self, held: Vec<PeerMessage>) {
        self.deliver_after(Duration::ZERO, held);
    }

    /// As [`World::deliver_late`], still later.
    fn deliver_after(&mut self, delay: Duration, held: Vec<PeerMessage>) {
        for message in held {
            let member = message.to;
            let Some(life) = self.members.get(&member).map(|receiver| receiver.life) else {
                continue;
            };
            self.report.faults.delayed += 1;
            let takes = delay + micros(&mut self.rng, 300, 2_000);
            let event = Event::Deliver {
                member,
                life,
                message,
            };
            self.after(takes, event);
        }
    }

    /// A leader with a lease and its other voters, if all of them run and follow it.
    pub(super) fn calm_cluster(&self) -> Option<(MemberId, Vec<MemberId>)> {
        let leader = self.leader()?;
        let status = self.members[&leader].shown()?;
        let membership = &status.membership;
        let is_calm = !membership.is_joint()
            && membership.voters.contains(&leader)
            && membership.voters.iter().all(|id| self.follows(*id, leader))
            && self.has_lease(leader);
        let others = membership.voters.iter().copied();
        is_calm.then(|| (leader, others.filter(|id| *id != leader).collect()))
    }

    /// Whether a member is awake and follows that leader, or is it.
    fn follows(&self, id: MemberId, leader: MemberId) -> bool {
        let running = |id: MemberId| self.members.get(&id)?.running.as_ref();
        let (Some(member), Some(leading)) = (running(id), running(leader)) else {
            return false;
        };
        let (Some(own), Some(leads)) = (&member.shown, &leading.shown) else {
            return false;
        };
        !member.is_suspended() && own.term == leads.term && own.leader == Some(leader)
    }

    /// As [`World::calm_cluster`], of three voters: the leader and the others in any order.
    fn calm_three(&mut self) -> Option<(MemberId, MemberId, MemberId)> {
        let (leader, mut others) = self.calm_cluster()?;
        self.rng.shuffle(&mut others);
        match others[..] {
            [one, other] => Some((leader, one, other)),
            _ => None,
        }
    }

    fn has_lease(&self, id: MemberId) -> bool {
        let running = self.members[&id].running.as_ref();
        let until = running.and_then(|running| running.raft.lease_until());
        until.is_some_and(|until| self.local(id) < until)
    }

    /// When Raft's next deadline passes, in simulated time; `None` while the member is down.
    fn deadline(&self, id: MemberId) -> Option<Instant> {
        let member = self.members.get(&id)?;
        let running = member.running.as_ref()?;
        Some(member.clock.when(running.raft.next_deadline()))
    }

    fn role(&self, id: MemberId) -> Option<RoleKind> {
        self.members.get(&id)?.shown().map(|status| status.role)
    }

    /// Cuts a member off from all others.
    pub(super) fn isolate(&mut self, id: MemberId) {
        let others: Vec<_> = self.members.keys().copied().collect();
        for other in others.into_iter().filter(|other| *other != id) {
            self.network.part(id, other);
        }
    }
}
