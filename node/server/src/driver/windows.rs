//! What the driver does about behaviour: windows end, timers follow what was measured, and a leader
//! that can't do the work gives leadership away.

use std::collections::BTreeMap;

use raftery_behaviour::{Score, delays};
use raftery_raft::{Instant, MemberId, Payload, Status};
use tracing::{debug, error, info, warn};

use super::judging::judged;
use super::{Driver, NOBODY};
use crate::clock;
use crate::command::{self, Command};

/// A follower that lacks at most so many entries can take over at once: as many are in flight at
/// full load.
const TAKES_OVER_ENTRIES_MAX: u64 = 1_000;

impl Driver {
    /// A follower tells its leader what it measured; a leader judges, once the cluster is open.
    pub(super) fn end_window(&mut self) {
        let now = self.world.now;
        let window = self.settings.window();
        let ends = self.world.judging.window_ends(window);
        if ends.is_none_or(|ends| now < ends) {
            return;
        }
        if self.world.leader == Some(self.world.me) {
            self.judge_window(now);
            return;
        }
        let oldest_write = self.world.own_disk.oldest(now);
        let (timers, scoring) = (self.raft.timers(), &self.settings.scoring);
        let told = self
            .world
            .judging
            .report(now, oldest_write, timers, scoring);
        if let Some((leader, told)) = told {
            self.world.transport.tell(leader, told);
        }
    }

    fn judge_window(&mut self, now: Instant) {
        let status = self.raft.status();
        if !self.settings.is_open || !status.has_committed_in_term {
            return;
        }
        let scoring = self.settings.scoring;
        let oldest_write = self.world.own_disk.oldest(now);
        let timers = self.raft.timers();
        let wall = clock::wall_ms();
        let judging = &mut self.world.judging;
        let Some(batch) = judging.judge(now, &status, oldest_write, timers, &scoring, wall) else {
            return;
        };
        if !self.has_space() {
            return; // The reserve is for better things.
        }
        let verdicts = batch.verdicts.clone();
        let data = match command::encode(NOBODY, &Command::Ledger(batch)) {
            Ok(data) => data,
            Err(error) => {
                error!(%error, "a ledger batch can't be encoded");
                return;
            }
        };
        match self.raft.propose(now, Payload::Data(data)) {
            Ok(_) => {
                let own = self.world.judging.batch_proposed(scoring, verdicts);
                if let Some(own) = own {
                    self.world.metrics.set_verdict(own.verdict.points);
                }
            }
            Err(error) => debug!(%error, "the ledger batch waits for the next window"),
        }
    }

    /// The scores of another window are applied: a leader tells whom it would like to succeed it,
    /// and hands over if it alone is slow.
    pub(super) fn act_on_scores(
        &mut self,
        now: Instant,
        scores: &BTreeMap<raftery_behaviour::MemberId, Score>,
    ) {
        if self.world.leader != Some(self.world.me) {
            return;
        }
        let status = self.raft.status();
        let score_of = |id: &MemberId| {
            let id = judged(*id);
            (id, scores.get(&id).copied().unwrap_or_default())
        };
        let voters: BTreeMap<_, _> = status.membership.voters.iter().map(score_of).collect();
        let me = judged(self.world.me);
        let mut others = voters.clone();
        others.remove(&me);
        let wishes = delays(&others, self.world.timing.step());
        let wishes = wishes
            .into_iter()
            .map(|(id, delay)| (MemberId(id.0), delay));
        self.raft.set_delays(wishes.collect());
        let full = &self.space.full_peers;
        let can_take_over = |id: raftery_behaviour::MemberId| {
            let id = MemberId(id.0);
            !full.contains(&id) && is_near(&status, id)
        };
        let to = self.hand_over.decide(now.0, me, &voters, can_take_over);
        let Some(to) = to.map(|id| MemberId(id.0)) else {
            return;
        };
        match self.raft.transfer_leader(now, to) {
            Ok(()) => info!(%to, "handing leadership over: this member alone is slow"),
            Err(error) => debug!(%to, %error, "leadership isn't handed over"),
        }
    }

    /// A leader whose disk hangs while those of a majority don't gives up: it can't be cured by
    /// waiting, and what it serves would soon hang, too.
    pub(super) fn resign_if_outrun(&mut self) {
        let now = self.world.now;
        self.world.own_disk.forget(now);
        let leads = self.world.leader == Some(self.world.me);
        let election_timeout = self.raft.timers().election_timeout;
        let (commit, disk) = (self.raft.commit(), &mut self.world.own_disk);
        if !leads || !disk.is_outrun(now, commit, election_timeout) {
            return;
        }
        let stuck = disk.oldest(now);
        disk.on_resigned(now);
        match self.raft.resign(now) {
            Some(to) => {
                self.world.metrics.count_resignation();
                warn!(
                    %to,
                    ?stuck,
                    "this disk hangs and those of a majority don't: leadership goes to another member"
                );
            }
            None => debug!("this disk hangs, and there is nobody to lead instead"),
        }
    }

    /// Raft goes by the timers that were measured.
    pub(super) fn retime(&mut self) {
        if let Some(timers) = self.world.timing.other_than(self.raft.timers()) {
            debug!(?timers, "timers follow what was measured");
            self.raft.set_timers(self.world.now, timers);
            self.world.metrics.set_timers(timers);
        }
    }
}

fn is_near(status: &Status, id: MemberId) -> bool {
    status.progress.get(&id).is_some_and(|peer| {
        status.last_index.0.saturating_sub(peer.matched.0) <= TAKES_OVER_ENTRIES_MAX
    })
}
