//! What the driver does about behaviour: carries out what [`Conduct`](super::conduct::Conduct)
//! decides.

use std::collections::BTreeMap;

use raftery_behaviour::{self as behaviour, Score};
use raftery_ledger::LedgerBatch;
use raftery_raft::{Instant, Payload};
use tracing::{debug, error, info, warn};

use super::conduct::WindowEnd;
use super::{Driver, NOBODY};
use crate::clock;
use crate::command::{self, Command};

impl Driver {
    /// What there is to do each turn.
    pub(super) fn behave(&mut self) {
        let now = self.world.now;
        let conduct = &mut self.world.conduct;
        if let Some((stuck, to)) = conduct.resign_if_outrun(now, &mut self.raft) {
            self.world.metrics.count_resignation();
            warn!(
                ?to,
                ?stuck,
                "this disk hangs and those of a majority don't: leadership goes to another member"
            );
        }
        if let Some(timers) = conduct.retime(now, &mut self.raft) {
            debug!(?timers, "timers follow what was measured");
            self.world.metrics.set_timers(timers);
        }
        match conduct.end_window(now, &self.raft, &self.settings, clock::wall_ms()) {
            Some(WindowEnd::Tell(leader, told)) => self.world.transport.tell(leader, told),
            // Without room: the reserve is for better things.
            Some(WindowEnd::Judged(batch)) if self.has_space() => self.propose_batch(now, batch),
            Some(WindowEnd::Judged(_)) | None => {}
        }
    }

    fn propose_batch(&mut self, now: Instant, batch: LedgerBatch) {
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
                let said = self.settings.scoring;
                if let Some(own) = self.world.conduct.batch_proposed(said, verdicts) {
                    self.world.metrics.set_verdict(own.verdict.points);
                }
            }
            Err(error) => debug!(%error, "the ledger batch waits for the next window"),
        }
    }

    /// The scores of another window are applied.
    pub(super) fn act_on_scores(
        &mut self,
        now: Instant,
        scores: &BTreeMap<behaviour::MemberId, Score>,
    ) {
        let full = &self.space.full_peers;
        let has_room = |id| !full.contains(&id);
        let conduct = &mut self.world.conduct;
        match conduct.act_on_scores(now, &mut self.raft, scores, has_room) {
            Some((to, Ok(()))) => info!(%to, "handing leadership over: this member alone is slow"),
            Some((to, Err(error))) => debug!(%to, %error, "leadership isn't handed over"),
            None => {}
        }
    }
}
