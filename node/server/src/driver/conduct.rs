//! What a member does about behaviour: it measures itself and others, tells its leader or judges,
//! goes by timers that follow what it measured, and gives leadership away when it can't do the work.
//!
//! No clock, no network, no disk: the driver feeds it as it feeds Raft, and so does a simulated hour
//! in the tests.

mod judging;
mod own_disk;
mod timing;

#[cfg(test)]
mod hour_test;

use std::collections::BTreeMap;
use std::time::Duration;

use raftery_behaviour::{self as behaviour, Ceiling, Event, HandOver, Score, Scoring, delays};
use raftery_ledger::LedgerBatch;
use raftery_raft::{
    Instant, MemberId, PeerMessage, PersistBatch, PersistSeq, Raft, Status, Timers, TransferError,
};

use self::judging::{Judging, judged};
pub use self::judging::{Notice, Told};
use self::own_disk::OwnDisk;
use self::timing::Timing;
use crate::meta::Settings;

/// A follower that lacks at most so many entries can take over at once: as many are in flight at
/// full load.
const TAKES_OVER_ENTRIES_MAX: u64 = 1_000;

/// A member's conduct.
#[derive(Debug)]
pub(super) struct Conduct {
    me: MemberId,
    judging: Judging,
    timing: Timing,
    own_disk: OwnDisk,
    hand_over: HandOver,
}

/// What the end of a window comes to.
#[derive(Debug)]
pub(super) enum WindowEnd {
    /// To be told to the leader.
    Tell(MemberId, Told),
    /// To be proposed.
    Judged(LedgerBatch),
}

impl Conduct {
    /// `ceiling`: the configured timers; `is_adaptive`: shorter ones may follow from what is
    /// measured.
    #[must_use]
    pub(super) fn new(started: &Status, ceiling: Ceiling, is_adaptive: bool) -> Self {
        let mut judging = Judging::new(started.id, ceiling.election_timeout);
        if started.repairing {
            judging.on_repair();
        }
        Self {
            me: started.id,
            judging,
            timing: Timing::new(started.term, ceiling, is_adaptive),
            own_disk: OwnDisk::default(),
            hand_over: HandOver::default(),
        }
    }

    /// Role, term or membership changed.
    pub(super) fn status_changed(&mut self, now: Instant, status: &Status) {
        self.judging.status_changed(now, status);
        self.timing.status_changed(status);
    }

    /// A message leaves; a heartbeat takes the receiver's verdict along.
    pub(super) fn on_send(&mut self, now: Instant, message: &PeerMessage) -> Option<Notice> {
        self.judging.on_send(now, message)
    }

    /// A message arrived.
    pub(super) fn on_receive(&mut self, now: Instant, message: &PeerMessage) {
        if let Some(took) = self.judging.on_receive(now, message) {
            self.timing.on_round_trip(took);
        }
        self.timing.on_receive(now, message);
    }

    /// A batch goes to the own disk.
    pub(super) fn on_write(&mut self, now: Instant, batch: &PersistBatch) {
        self.own_disk.on_write(now, batch);
    }

    /// All up to this batch is durable on the own disk; the sync took so long.
    pub(super) fn on_durable(&mut self, seq: PersistSeq, sync_time: Duration) {
        self.own_disk.on_durable(seq);
        self.timing.on_sync(sync_time);
        self.judging.on_sync(sync_time);
    }

    /// A follower told what it measured.
    pub(super) fn on_told(&mut self, from: MemberId, told: Told) {
        self.judging.on_told(from, told);
    }

    /// A peer gave back a sign of life after so long.
    pub(super) fn on_sign_of_life(&mut self, peer: MemberId, took: Duration) {
        self.judging.on_round_trip(peer, took);
    }

    /// Something befell a peer.
    pub(super) fn on_event(&mut self, peer: MemberId, event: Event) {
        self.judging.on_event(peer, event);
    }

    /// A peer's handshake told what its start drew.
    pub(super) fn on_start(&mut self, peer: MemberId, start: u64) {
        self.judging.on_start(peer, start);
    }

    /// Ends the window if its time has come. A leader judges once the cluster is open and an entry
    /// of its term is committed.
    pub(super) fn end_window(
        &mut self,
        now: Instant,
        raft: &Raft,
        settings: &Settings,
        at_unix_ms: u64,
    ) -> Option<WindowEnd> {
        if self
            .judging
            .window_ends(settings.window())
            .is_none_or(|ends| now < ends)
        {
            return None;
        }
        let oldest_write = self.own_disk.oldest(now);
        let timers = raft.timers();
        if !self.judging.leads() {
            let scoring = &settings.scoring;
            let told = self.judging.report(now, oldest_write, timers, scoring);
            return told.map(|(leader, told)| WindowEnd::Tell(leader, told));
        }
        let status = raft.status();
        if !settings.is_open || !status.has_committed_in_term {
            return None;
        }
        self.judging
            .judge(now, &status, oldest_write, timers, settings, at_unix_ms)
            .map(WindowEnd::Judged)
    }

    /// The batch is in the log: its verdicts go out with the next heartbeats. Gives the verdict on
    /// this member itself.
    pub(super) fn batch_proposed(
        &mut self,
        said: Scoring,
        verdicts: Vec<behaviour::Verdict>,
    ) -> Option<Notice> {
        self.judging.batch_proposed(said, verdicts)
    }

    /// The scores of another window are applied: a leader tells whom it would like to succeed it,
    /// and hands over if it alone is slow; `can_lead` says who is able to. Gives to whom it tried.
    pub(super) fn act_on_scores(
        &mut self,
        now: Instant,
        raft: &mut Raft,
        scores: &BTreeMap<behaviour::MemberId, Score>,
        can_lead: impl Fn(MemberId) -> bool,
    ) -> Option<(MemberId, Result<(), TransferError>)> {
        if !self.judging.leads() {
            return None;
        }
        let status = raft.status();
        let score_of = |id: &MemberId| {
            let id = judged(*id);
            (id, scores.get(&id).copied().unwrap_or_default())
        };
        let voters: BTreeMap<_, _> = status.membership.voters.iter().map(score_of).collect();
        let me = judged(self.me);
        let mut others = voters.clone();
        others.remove(&me);
        let wishes = delays(&others, self.timing.step());
        let wishes = wishes
            .into_iter()
            .map(|(id, delay)| (MemberId(id.0), delay));
        raft.set_delays(wishes.collect());
        let can_take_over = |id: behaviour::MemberId| {
            let id = MemberId(id.0);
            can_lead(id) && is_near(&status, id)
        };
        let to = self.hand_over.decide(now.0, me, &voters, can_take_over)?;
        let to = MemberId(to.0);
        Some((to, raft.transfer_leader(now, to)))
    }

    /// A leader whose disk hangs while those of a majority don't gives up: it can't be cured by
    /// waiting, and what it serves would soon hang, too. Gives for how long the disk has hung, and who
    /// was told to campaign.
    pub(super) fn resign_if_outrun(
        &mut self,
        now: Instant,
        raft: &mut Raft,
    ) -> Option<(Duration, Option<MemberId>)> {
        self.own_disk.forget(now);
        let election_timeout = raft.timers().election_timeout;
        let is_outrun = self.judging.leads()
            && self
                .own_disk
                .is_outrun(now, raft.commit(), election_timeout);
        if !is_outrun {
            return None;
        }
        self.own_disk.on_resigned(now);
        Some((self.own_disk.oldest(now), raft.resign(now)))
    }

    /// Raft goes by the timers that were measured. Gives them when they changed.
    pub(super) fn retime(&mut self, now: Instant, raft: &mut Raft) -> Option<Timers> {
        let timers = self.timing.other_than(raft.timers())?;
        raft.set_timers(now, timers);
        Some(timers)
    }
}

fn is_near(status: &Status, id: MemberId) -> bool {
    status.progress.get(&id).is_some_and(|peer| {
        status.last_index.0.saturating_sub(peer.matched.0) <= TAKES_OVER_ENTRIES_MAX
    })
}
