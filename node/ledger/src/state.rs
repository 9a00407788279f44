//! The replicated state of the ledger: a function of the applied log entries alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use raftery_behaviour::{MemberId, Score, Scoring, Verdict, Window};
use serde::{Deserialize, Serialize};

use crate::batch::{Chain, LedgerBatch};

mod rows;

use rows::{Block, KeptRow, encode_block};
pub use rows::{BlockError, LoadedRows, Rows, Stretch};

/// Batches that are kept for queries and export: twelve hours of one-second windows. Part of the
/// protocol, because all members must drop the same.
pub const RETAINED_BATCHES_MAX: usize = 43_200;

/// Batches of a block: four minutes of them, some 60 KB with three members and 120 KB with five. Only
/// so many are in memory, and in each checkpoint; of the others there are the Raft indexes, 8 bytes
/// each, and a few bytes for each block. Part of the protocol as well.
const BLOCK_ROWS: usize = 256;

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
/// Batches are numbered from 0, and so are the blocks of equally many that they make. The last block
/// is open: its rows are here. When the batch after it comes, a full one goes to the disk, which is
/// the caller's: [`Ledger::full_block`] says what to keep there before the batch is applied, and
/// [`Ledger::oldest_block`] what may go after.
///
/// Invariants:
/// - `indexes` rise, and the rows' (term, window) with them; there are at most `retained_max`
/// - `exported_index <= last_index`, and no row is above `last_index`
/// - the last row's chain is `chain`
/// - `gaps` rise and don't overlap, and lie before the first row
/// - `open` begins with a block; `blocks` are those from the oldest with a retained row up to there
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Raft indexes of the retained batches.
    indexes: VecDeque<u64>,
    /// The number of the oldest retained batch.
    first: usize,
    blocks: VecDeque<Block>,
    open: Vec<KeptRow>,
    block_rows: usize,
    retained_max: usize,
    last_index: u64,
    last_window: Option<(u64, Window)>,
    exported_index: u64,
    chain: Chain,
    /// Raft index of the newest batch that says how members are judged; 0: none yet.
    said_scoring: u64,
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
        Self::with_limits(RETAINED_BATCHES_MAX, BLOCK_ROWS)
    }

    fn with_limits(retained_max: usize, block_rows: usize) -> Self {
        Self {
            indexes: VecDeque::new(),
            first: 0,
            blocks: VecDeque::new(),
            open: Vec::new(),
            block_rows,
            retained_max,
            last_index: 0,
            last_window: None,
            exported_index: 0,
            chain: Chain::default(),
            said_scoring: 0,
            standings: BTreeMap::new(),
            gaps: VecDeque::new(),
        }
    }

    /// The number of the open block and what it says, once it is full: the next batch makes it one
    /// of those on disk, whatever becomes of that batch.
    #[must_use]
    pub fn full_block(&self) -> Option<(u64, Vec<u8>)> {
        self.is_full()
            .then(|| (self.open_block(), encode_block(&self.open)))
    }

    /// The number of the oldest block with a retained batch: earlier ones are never asked for again.
    #[must_use]
    pub fn oldest_block(&self) -> u64 {
        (self.first / self.block_rows) as u64
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
        if self.is_full() {
            self.blocks.push_back(Block::of(&self.open));
            self.open.clear();
        }
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
        self.open.push(KeptRow {
            index,
            before: self.chain,
            at_unix_ms: batch.at_unix_ms,
            batch: encoded.as_slice().into(),
        });
        self.indexes.push_back(index);
        self.chain = self.chain.after_encoded(index, &encoded);
        if batch.scoring.is_some() {
            self.said_scoring = index;
        }
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
            let is_slow = verdicts
                .iter()
                .any(|verdict| verdict.is_slow_by(batch.rules));
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
        (self.indexes.len() - self.first_after(self.exported_index)) as u64
    }

    /// The first `max` batches behind `index`.
    pub fn batches_after(&self, index: u64, max: usize) -> Rows {
        let start = self.first_after(index);
        self.select(start..self.indexes.len().min(start.saturating_add(max)))
    }

    /// The first batches behind `index` up to the cursor, at most `max`.
    pub fn exported_after(&self, index: u64, max: usize) -> Rows {
        let (start, end) = (
            self.first_after(index),
            self.first_after(self.exported_index),
        );
        self.select(start..end.min(start.saturating_add(max)))
    }

    /// The first `limit` batches from `from_index` on.
    pub fn rows(&self, from_index: u64, limit: usize) -> Rows {
        self.batches_after(from_index.saturating_sub(1), limit)
    }

    /// The Raft index of the oldest retained batch; 0: none.
    #[must_use]
    pub fn oldest_index(&self) -> u64 {
        self.indexes.front().copied().unwrap_or(0)
    }

    /// The last `limit` batches, oldest first.
    pub fn last_rows(&self, limit: usize) -> Rows {
        let all = self.indexes.len();
        self.select(all.saturating_sub(limit)..all)
    }

    /// Rows by which a loss in MongoDB shows, of the exported ones: the first since `since_unix_ms` (where
    /// the beginning of a block on disk is older, the last of that block instead), the newest, and the
    /// newest that says how members are judged, however old those two are.
    pub fn exported_samples(&self, since_unix_ms: u64) -> Rows {
        let exported = self.first_after(self.exported_index);
        let said = self.indexes.binary_search(&self.said_scoring).ok();
        let places = [
            self.first_since(since_unix_ms),
            exported.checked_sub(1),
            said,
        ];
        let places: BTreeSet<usize> = places.into_iter().flatten().collect();
        let mut samples = Rows::default();
        for at in places.range(..exported) {
            samples.append(self.select(*at..at + 1));
        }
        samples
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

    /// How many batches were dropped before they were exported.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.batches).sum()
    }

    /// When the last window ended, by its leader's wall clock, in milliseconds since 1970; `None`
    /// without one.
    #[must_use]
    pub fn judged_at_unix_ms(&self) -> Option<u64> {
        self.open.last().map(|row| row.at_unix_ms)
    }

    /// Asserts the invariants listed at the type.
    ///
    /// # Panics
    /// When one doesn't hold.
    pub fn check_invariants(&self) {
        assert!(
            self.indexes.len() <= self.retained_max,
            "more rows than the cap"
        );
        let rises = self.indexes.iter().is_sorted_by(|a, b| a < b);
        assert!(rises, "indexes don't rise");
        assert!(
            self.indexes
                .back()
                .is_none_or(|index| *index <= self.last_index)
        );
        assert!(
            self.exported_index <= self.last_index,
            "exported what doesn't exist"
        );
        assert_eq!(self.open_from() % self.block_rows, 0);
        assert!(self.open.len() <= self.block_rows);
        if !self.blocks.is_empty() {
            assert_eq!(
                self.oldest_block() + self.blocks.len() as u64,
                self.open_block()
            );
        }
        let open = self.open.iter().rev().map(|row| row.index);
        assert!(
            self.indexes
                .iter()
                .rev()
                .zip(open)
                .all(|(index, open)| *index == open)
        );
        for (row, next) in self.open.iter().zip(self.open.iter().skip(1)) {
            let chain = row.before.after_encoded(row.index, &row.batch);
            assert_eq!(next.before, chain);
        }
        let mut free_from = 0;
        for gap in &self.gaps {
            assert!(gap.first_index >= free_from && gap.first_index <= gap.last_index);
            assert!(
                self.indexes
                    .front()
                    .is_none_or(|first| gap.last_index < *first)
            );
            free_from = gap.last_index + 1;
        }
        assert!(self.gaps.len() <= GAPS_MAX, "more gaps than the cap");
    }

    fn first_after(&self, index: u64) -> usize {
        self.indexes.partition_point(|row| *row <= index)
    }

    /// The number of the first batch of the open block.
    fn open_from(&self) -> usize {
        self.first + self.indexes.len() - self.open.len()
    }

    fn open_block(&self) -> u64 {
        (self.open_from() / self.block_rows) as u64
    }

    fn is_full(&self) -> bool {
        self.open.len() >= self.block_rows
    }

    /// Rows by their places among the retained ones.
    fn select(&self, places: Range<usize>) -> Rows {
        let open_from = self.open_from();
        let (mut at, end) = (self.first + places.start, self.first + places.end);
        let mut rows = Rows::default();
        while at < end.min(open_from) {
            let begin = at - at % self.block_rows;
            let behind = end.min(begin + self.block_rows);
            let number = (begin / self.block_rows) as u64;
            rows.blocks.push((number, at - begin..behind - begin));
            at = behind;
        }
        if at < end {
            let open = &self.open[at - open_from..end - open_from];
            rows.open = open.to_vec();
        }
        rows
    }

    /// The place of the first row since a time, or of one soon after.
    fn first_since(&self, unix_ms: u64) -> Option<usize> {
        let open_from = self.open_from();
        let begins = (0..open_from).step_by(self.block_rows);
        let begins = begins.skip(self.first / self.block_rows);
        for (begin, block) in begins.zip(&self.blocks) {
            if block.from_unix_ms >= unix_ms {
                return Some(begin.saturating_sub(self.first));
            }
            if block.until_unix_ms >= unix_ms {
                return Some(begin + self.block_rows - 1 - self.first);
            }
        }
        let mut open = self.open.iter().zip(open_from..);
        let found = open.find(|(row, at)| *at >= self.first && row.at_unix_ms >= unix_ms);
        found.map(|(_, at)| at - self.first)
    }

    /// The oldest rows go first; they are the exported ones, because the cursor only rises.
    fn drop_beyond_cap(&mut self) {
        while self.indexes.len() > self.retained_max {
            let Some(index) = self.indexes.pop_front() else {
                return;
            };
            if self.first % self.block_rows == self.block_rows - 1 {
                self.blocks.pop_front();
            }
            self.first += 1;
            if index > self.exported_index {
                self.record_gap(index);
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
