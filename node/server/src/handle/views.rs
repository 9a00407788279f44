//! What gateways show of the node.

use std::collections::BTreeMap;
use std::time::Duration;

use raftery_behaviour::{Score, Verdict};
use raftery_ledger::{LedgerPage, LedgerRow, MemberPage, RowPage, StandingPage};
use raftery_raft::MemberId;

use super::Handle;
use crate::clock;
use crate::cluster_version::ClusterVersion;
use crate::node::Running;
use crate::state::{LocatedRows, StateError};

/// A follower with at most this many entries to go counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// A leader's view of another member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberProgress {
    /// The member.
    pub id: MemberId,
    /// Highest index known durable there.
    pub matched: u64,
    /// How long ago it last answered; `None`: never in this leadership.
    pub last_heard: Option<Duration>,
    /// It answered within an election timeout.
    pub active: bool,
    /// It is close to the leader's last index.
    pub caught_up: bool,
}

/// How the ledger stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LedgerStatus {
    /// A MongoDB is configured on this node.
    pub mongodb: bool,
    /// Raft index of the newest batch; 0: none.
    pub last_index: u64,
    /// Raft index of the newest batch known exported; 0: none.
    pub exported_index: u64,
    /// Batches that wait for export.
    pub pending: u64,
    /// Why exporting fails at the moment; set on the leader only.
    pub error: Option<String>,
    /// Batches that were dropped before they were exported; where a MongoDB is configured.
    pub lost: u64,
    /// When the last window that was judged ended, by its leader's wall clock, in milliseconds since
    /// 1970.
    pub judged_at_unix_ms: Option<u64>,
}

/// Rows of the ledger, with where it begins.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LedgerRows {
    /// Rows, oldest first.
    pub rows: Vec<LedgerRow>,
    /// Index of the oldest retained batch; 0: none.
    pub oldest_index: u64,
    /// Raft index of the newest batch known exported.
    pub exported_index: u64,
}

/// Which batches of the ledger are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LedgerPart {
    /// The first ones from this Raft index on.
    From(u64),
    /// The last ones.
    Last,
}

/// The lineage as documents and pages have it.
pub(crate) fn lineage_name(lineage: u64) -> String {
    format!("{lineage:016x}")
}

impl Handle {
    /// A leader's view of the others; empty elsewhere.
    #[must_use]
    pub fn progress(&self) -> Vec<MemberProgress> {
        let Some(status) = self.status() else {
            return Vec::new();
        };
        let now = clock::now();
        let timeout = self.shared.config.election_timeout;
        let last = status.last_index.0;
        let progress = |(id, peer): (&MemberId, &raftery_raft::PeerProgress)| {
            let last_heard = peer.last_heard.map(|at| now.since(at));
            MemberProgress {
                id: *id,
                matched: peer.matched.0,
                last_heard,
                active: last_heard.is_some_and(|ago| ago < timeout),
                caught_up: last.saturating_sub(peer.matched.0) <= CAUGHT_UP_ENTRIES,
            }
        };
        status.progress.iter().map(progress).collect()
    }

    /// How the ledger stands.
    #[must_use]
    pub fn ledger_status(&self) -> LedgerStatus {
        let Some(running) = self.cell().get() else {
            return LedgerStatus::default();
        };
        let state = running.state.read().expect("no holder of the lock panics");
        let ledger = &state.meta.ledger;
        let has_mongodb = running.export.is_some();
        LedgerStatus {
            mongodb: has_mongodb,
            last_index: ledger.last_index(),
            exported_index: ledger.exported_index(),
            pending: ledger.pending(),
            lost: if has_mongodb { ledger.lost() } else { 0 },
            judged_at_unix_ms: ledger.judged_at_unix_ms(),
            error: running
                .export
                .as_ref()
                .and_then(crate::exporting::ExportHandle::error),
        }
    }

    /// What the cluster goes by.
    #[must_use]
    pub fn cluster_version(&self) -> ClusterVersion {
        let running = self.cell().get();
        running.map_or(ClusterVersion::LOWEST, |running| {
            running.pulse.cluster_version()
        })
    }

    /// The highest cluster version that a member supports, while it is connected.
    #[must_use]
    pub fn cluster_version_of(&self, member: MemberId) -> Option<ClusterVersion> {
        let running = self.cell().get()?;
        if member == running.me.id {
            return Some(ClusterVersion::HIGHEST);
        }
        running.supported.by(member)
    }

    /// Rows of the ledger from a Raft index on.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn ledger_rows(
        &self,
        from_index: u64,
        limit: usize,
    ) -> Result<LedgerRows, StateError> {
        let Some(running) = self.cell().get() else {
            return Ok(LedgerRows::default());
        };
        let (rows, oldest_index, exported_index) = {
            let state = running.state.read().expect("no holder of the lock panics");
            let ledger = &state.meta.ledger;
            let rows = state.locate(ledger.rows(from_index, limit));
            (rows, ledger.oldest_index(), ledger.exported_index())
        };
        Ok(LedgerRows {
            rows: rows.read().await?.rows,
            oldest_index,
            exported_index,
        })
    }

    /// The ledger as pages show it: at most `limit` batches of `part`; `None` before there is one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn ledger_page(
        &self,
        part: LedgerPart,
        limit: usize,
    ) -> Result<Option<LedgerPage>, StateError> {
        let Some(running) = self.cell().get() else {
            return Ok(None);
        };
        let (page, located) = Self::page_head(running, part, limit);
        let stretch = located.read().await?;
        Ok(Some(LedgerPage {
            chain_before: stretch.chain_before,
            rows: stretch.rows.iter().map(RowPage::from).collect(),
            ..page
        }))
    }

    /// A page without rows, and where those are.
    fn page_head(running: &Running, part: LedgerPart, limit: usize) -> (LedgerPage, LocatedRows) {
        let state = running.state.read().expect("no holder of the lock panics");
        let meta = &state.meta;
        let ledger = &meta.ledger;
        let rows = match part {
            LedgerPart::From(index) => ledger.rows(index, limit),
            LedgerPart::Last => ledger.last_rows(limit),
        };
        let located = state.locate(rows);
        let names = meta
            .members
            .iter()
            .map(|(id, record)| (id.0, record.name.as_str()));
        let mut members: BTreeMap<u64, &str> = names.collect();
        for (id, _) in ledger.scores() {
            members.entry(id.0).or_default();
        }
        let member = |(id, name): (u64, &str)| {
            let id = raftery_behaviour::MemberId(id);
            MemberPage {
                id,
                name: name.to_owned(),
                standing: ledger.standing(id).map(StandingPage::from),
            }
        };
        let page = LedgerPage {
            lineage: lineage_name(running.me.lineage),
            oldest_index: ledger.oldest_index(),
            last_index: ledger.last_index(),
            exported_index: ledger.exported_index(),
            chain_before: None,
            gaps: ledger.gaps().copied().collect(),
            scoring: meta.settings.scoring,
            members: members.into_iter().map(member).collect(),
            rows: Vec::new(),
        };
        (page, located)
    }

    /// Scores and last verdicts by member.
    #[must_use]
    pub fn scores(&self) -> BTreeMap<u64, (Score, Option<Verdict>)> {
        let Some(running) = self.cell().get() else {
            return BTreeMap::new();
        };
        let state = running.state.read().expect("no holder of the lock panics");
        let ledger = &state.meta.ledger;
        let score = |(id, score): (raftery_behaviour::MemberId, Score)| {
            (id.0, (score, ledger.last_verdict(id).cloned()))
        };
        ledger.scores().map(score).collect()
    }

    /// Bytes of keys and values, the same on every member.
    #[must_use]
    pub fn db_bytes(&self) -> u64 {
        let Some(running) = self.cell().get() else {
            return 0;
        };
        running
            .state
            .read()
            .expect("no holder of the lock panics")
            .store
            .logical_bytes()
    }
}
