//! The replicated state of the ledger: a function of the applied log entries alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use raftery_behaviour::{MemberId, Score, Scoring, Verdict, Window};
use serde::{Deserialize, Serialize};

use crate::batch::{Chain, LedgerBatch, LedgerRow};

/// Batches that are kept for queries and export: twelve hours of one-second windows, some 15 MB of
/// memory with three members and 30 MB with five. Part of the protocol, because all members must drop the same.
pub const RETAINED_BATCHES_MAX: usize = 43_200;

/// Gaps that are kept apart; further ones are merged into the oldest.
const GAPS_MAX: usize = 64;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is in the ledger now.
    Applied,
    /// It was left out, on every member alike.
    Ignored(Ignored),
}

/// Why a batch was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// The term in the batch isn't that of its entry: a deposed leader's words.
    ForeignTerm,
    /// The window, or a later one, is in the ledger already.
    AlreadyApplied,
}

/// A batch as it is kept: encoded as in the log, which takes a fifth of the memory.
///
/// Invariant: `batch` can be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredRow", try_from = "StoredRow")]
struct KeptRow {
    index: u64,
    chain: Chain,
    /// Of the batch, for who looks for a time or for a scoring.
    at_unix_ms: u64,
    says_scoring: bool,
    batch: Arc<[u8]>,
}

#[derive(Serialize, Deserialize)]
struct StoredRow {
    index: u64,
    chain: Chain,
    batch: Arc<[u8]>,
}

impl From<KeptRow> for StoredRow {
    fn from(row: KeptRow) -> Self {
        Self {
            index: row.index,
            chain: row.chain,
            batch: row.batch,
        }
    }
}

impl TryFrom<StoredRow> for KeptRow {
    type Error = postcard::Error;

    fn try_from(stored: StoredRow) -> Result<Self, postcard::Error> {
        let batch: LedgerBatch = postcard::from_bytes(&stored.batch)?;
        Ok(Self {
            index: stored.index,
            chain: stored.chain,
            at_unix_ms: batch.at_unix_ms,
            says_scoring: batch.scoring.is_some(),
            batch: stored.batch,
        })
    }
}

// Beside the encoded batch, which is below a kibibyte for five members.
const _: () = assert!(size_of::<KeptRow>() <= 72);

impl KeptRow {
    fn decode(&self) -> LedgerRow {
        let batch = postcard::from_bytes(&self.batch).expect("an invariant of the type");
        LedgerRow {
            index: self.index,
            chain: self.chain,
            batch: Arc::new(batch),
        }
    }
}

/// Batches of a ledger, oldest first, as they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows(Vec<KeptRow>);

impl Rows {
    /// To be read. Takes some microseconds for each, and no ledger: nobody needs to be kept from it
    /// for that.
    #[must_use]
    pub fn decode(&self) -> Vec<LedgerRow> {
        self.0.iter().map(KeptRow::decode).collect()
    }

    /// The Raft index of the first one.
    #[must_use]
    pub fn first_index(&self) -> Option<u64> {
        self.0.first().map(|row| row.index)
    }

    /// Only those up to this Raft index.
    #[must_use]
    pub fn up_to(mut self, index: u64) -> Self {
        self.0.retain(|row| row.index <= index);
        self
    }
}

/// What is known about a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What its verdicts add up to.
    pub score: Score,
    /// The gravest verdict on it in the last window in which it was judged.
    pub last_verdict: Verdict,
    /// The term of that verdict.
    pub term: u64,
    /// The window of that verdict.
    pub window: Window,
}

/// Batches that were dropped before they were exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The Raft index of the first lost batch.
    pub first_index: u64,
    /// The Raft index of the last lost batch.
    pub last_index: u64,
    /// How many were lost.
    pub batches: u64,
}

/// The ledger of one cluster.
///
/// Invariants:
/// - `rows` rise in index, and in (term, window); there are at most `retained_max`
/// - `exported_index <= last_index`, and no row is above `last_index`
/// - the last row's chain is `chain`
/// - `gaps` rise and don't overlap, and lie before the first row
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    rows: VecDeque<KeptRow>,
    retained_max: usize,
    last_index: u64,
    last_window: Option<(u64, Window)>,
    exported_index: u64,
    chain: Chain,
    standings: BTreeMap<MemberId, Standing>,
    gaps: VecDeque<Gap>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::with_retained_max(RETAINED_BATCHES_MAX)
    }

    fn with_retained_max(retained_max: usize) -> Self {
        Self {
            rows: VecDeque::new(),
            retained_max,
            last_index: 0,
            last_window: None,
            exported_index: 0,
            chain: Chain::default(),
            standings: BTreeMap::new(),
            gaps: VecDeque::new(),
        }
    }

    /// Applies the batch of a committed entry, by the replicated `scoring`. A batch is counted once,
    /// however often a leader proposed it, and only in the term in which it was judged.
    pub fn apply_batch(
        &mut self,
        index: u64,
        entry_term: u64,
        batch: &LedgerBatch,
        scoring: &Scoring,
    ) -> Applied {
        if batch.term != entry_term {
            return Applied::Ignored(Ignored::ForeignTerm);
        }
        let window = (batch.term, batch.window);
        if self.last_window.is_some_and(|last| window <= last) || index <= self.last_index {
            return Applied::Ignored(Ignored::AlreadyApplied);
        }
        self.score(batch, scoring);
        self.last_index = index;
        self.last_window = Some(window);
        let encoded = batch.encode();
        self.chain = self.chain.after_encoded(index, &encoded);
        self.rows.push_back(KeptRow {
            index,
            chain: self.chain,
            at_unix_ms: batch.at_unix_ms,
            says_scoring: batch.scoring.is_some(),
            batch: encoded.into(),
        });
        self.drop_beyond_cap();
        Applied::Applied
    }

    fn score(&mut self, batch: &LedgerBatch, scoring: &Scoring) {
        let mut by_member: BTreeMap<MemberId, Vec<&Verdict>> = BTreeMap::new();
        for verdict in &batch.verdicts {
            by_member.entry(verdict.member).or_default().push(verdict);
        }
        for (member, verdicts) in by_member {
            let before = self.standings.get(&member);
            let before = before.map_or_else(Score::default, |standing| standing.score);
            let points = verdicts
                .iter()
                .fold(0_i32, |sum, verdict| sum.saturating_add(verdict.points));
            let is_slow = verdicts.iter().any(|verdict| verdict.reason.is_slowness());
            let Some(gravest) = verdicts.into_iter().min_by_key(|verdict| verdict.points) else {
                continue;
            };
            let standing = Standing {
                score: before.after(points, is_slow, batch.window_ms, scoring),
                last_verdict: gravest.clone(),
                term: batch.term,
                window: batch.window,
            };
            self.standings.insert(member, standing);
        }
    }

    /// Applies the cursor of a committed entry: everything up to `index` is in MongoDB. It never
    /// goes back.
    pub fn mark_exported(&mut self, index: u64) {
        self.exported_index = self.exported_index.max(index.min(self.last_index));
    }

    /// Forgets the standing of a member that left the cluster; its rows stay.
    pub fn remove_member(&mut self, member: MemberId) {
        self.standings.remove(&member);
    }

    /// The Raft index up to which everything is exported; 0: nothing yet.
    #[must_use]
    pub fn exported_index(&self) -> u64 {
        self.exported_index
    }

    /// The Raft index of the last batch; 0: none yet.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.last_index
    }

    /// The term and window of the last batch.
    #[must_use]
    pub fn last_window(&self) -> Option<(u64, Window)> {
        self.last_window
    }

    /// The hash of all batches so far.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// How many batches wait for their export.
    #[must_use]
    pub fn pending(&self) -> u64 {
        (self.rows.len() - self.first_after(self.exported_index)) as u64
    }

    /// The first `max` batches behind `index`.
    #[must_use]
    pub fn batches_after(&self, index: u64, max: usize) -> Rows {
        let rows = self.rows.range(self.first_after(index)..);
        Rows(rows.take(max).cloned().collect())
    }

    /// The first `limit` batches from `from_index` on.
    #[must_use]
    pub fn rows(&self, from_index: u64, limit: usize) -> Rows {
        match from_index.checked_sub(1) {
            Some(before) => self.batches_after(before, limit),
            None => self.batches_after(0, limit),
        }
    }

    /// The Raft index of the oldest retained batch; 0: none.
    #[must_use]
    pub fn oldest_index(&self) -> u64 {
        self.rows.front().map_or(0, |row| row.index)
    }

    /// The last `limit` batches, oldest first.
    #[must_use]
    pub fn last_rows(&self, limit: usize) -> Rows {
        let rows = self.rows.range(self.rows.len().saturating_sub(limit)..);
        Rows(rows.cloned().collect())
    }

    /// The hash of all batches before the first one from `index` on; `None` where that isn't known
    /// any more.
    #[must_use]
    pub fn chain_before(&self, index: u64) -> Option<Chain> {
        let at = self.first_after(index.saturating_sub(1));
        let Some(before) = at.checked_sub(1) else {
            let is_first =
                |row: &KeptRow| Chain::default().after_encoded(row.index, &row.batch) == row.chain;
            let begins = self.rows.front().is_none_or(is_first);
            return begins.then(Chain::default);
        };
        self.rows.get(before).map(|row| row.chain)
    }

    /// Rows by which a loss in MongoDB shows, of the exported ones since `since_unix_ms`: the
    /// oldest, the newest, and the newest that says how members are judged.
    #[must_use]
    pub fn exported_samples(&self, since_unix_ms: u64) -> Rows {
        let exported = self.rows.range(..self.first_after(self.exported_index));
        let mut lasting = exported
            .clone()
            .filter(|row| row.at_unix_ms >= since_unix_ms);
        let oldest = lasting.next();
        let newest = lasting.next_back();
        let said = exported.rev().find(|row| row.says_scoring);
        let samples = oldest.into_iter().chain(newest).chain(said);
        Rows(samples.cloned().collect())
    }

    /// The score of every member that was judged, by ID.
    pub fn scores(&self) -> impl Iterator<Item = (MemberId, Score)> {
        self.standings
            .iter()
            .map(|(member, standing)| (*member, standing.score))
    }

    /// What is known about a member, if it was judged.
    #[must_use]
    pub fn standing(&self, member: MemberId) -> Option<&Standing> {
        self.standings.get(&member)
    }

    /// The last verdict on a member, if it was judged.
    #[must_use]
    pub fn last_verdict(&self, member: MemberId) -> Option<&Verdict> {
        self.standing(member).map(|standing| &standing.last_verdict)
    }

    /// What was dropped before it was exported, oldest first. Where nothing is ever exported
    /// (no MongoDB) this only says what queries don't find any more.
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter()
    }

    /// Asserts the invariants listed at the type.
    ///
    /// # Panics
    /// When one doesn't hold.
    pub fn check_invariants(&self) {
        assert!(
            self.rows.len() <= self.retained_max,
            "more rows than the cap"
        );
        let rows: Vec<LedgerRow> = self.rows.iter().map(KeptRow::decode).collect();
        let place = |row: &LedgerRow| (row.index, row.batch.term, row.batch.window);
        let rises = |(a, b): (&LedgerRow, &LedgerRow)| {
            let (a, b) = (place(a), place(b));
            a.0 < b.0 && (a.1, a.2) < (b.1, b.2)
        };
        assert!(
            rows.iter().zip(rows.iter().skip(1)).all(rises),
            "rows don't rise"
        );
        assert!(
            self.rows
                .back()
                .is_none_or(|row| row.index <= self.last_index)
        );
        assert!(
            self.exported_index <= self.last_index,
            "exported what doesn't exist"
        );
        assert!(
            self.rows.back().is_none_or(|row| row.chain == self.chain),
            "the chain ends elsewhere"
        );
        for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
            assert_eq!(next.chain, row.chain.after(next.index, &next.batch));
        }
        let mut free_from = 0;
        for gap in &self.gaps {
            assert!(gap.first_index >= free_from && gap.first_index <= gap.last_index);
            assert!(
                self.rows
                    .front()
                    .is_none_or(|row| gap.last_index < row.index)
            );
            free_from = gap.last_index + 1;
        }
        assert!(self.gaps.len() <= GAPS_MAX, "more gaps than the cap");
    }

    fn first_after(&self, index: u64) -> usize {
        self.rows.partition_point(|row| row.index <= index)
    }

    /// The oldest rows go first; they are the exported ones, because the cursor only rises.
    fn drop_beyond_cap(&mut self) {
        while self.rows.len() > self.retained_max {
            let Some(row) = self.rows.pop_front() else {
                return;
            };
            if row.index > self.exported_index {
                self.record_gap(row.index);
            }
        }
    }

    fn record_gap(&mut self, index: u64) {
        match self.gaps.back_mut() {
            // Whatever lies between was lost as well, unless the cursor has passed the gap.
            Some(gap) if self.exported_index < gap.last_index => {
                gap.last_index = index;
                gap.batches += 1;
            }
            Some(_) | None => {
                self.gaps.push_back(Gap {
                    first_index: index,
                    last_index: index,
                    batches: 1,
                });
            }
        }
        if self.gaps.len() > GAPS_MAX
            && let (Some(first), Some(second)) = (self.gaps.pop_front(), self.gaps.pop_front())
        {
            self.gaps.push_front(Gap {
                first_index: first.first_index,
                last_index: second.last_index,
                batches: first.batches + second.batches,
            });
        }
    }
}

#[cfg(test)]
#[path = "state/state_test.rs"]
mod state_test;
