//! Ranges: which pairs, in which order, cut where.

use std::cmp::Ordering;

use bytes::Bytes;
use raftery_fs::Fs;

use crate::error::{ReadError, StoreError, StoreIoError};
use crate::history::Kept;
use crate::index::Key;
use crate::op::{RangeOp, SortOrder, SortTarget};
use crate::result::{KeyValue, RangeResult};
use crate::store::Store;

/// A pair of which only what the index knows was looked at.
type Found<'a> = (&'a Key, &'a Kept);

impl<F: Fs> Store<F> {
    /// Reads a range at the revision asked for.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] below the compact revision (which itself can be read),
    /// [`StoreError::FutureRevision`] above the newest; [`ReadError::Io`] when a value can't be
    /// read.
    pub fn range(&self, op: &RangeOp) -> Result<RangeResult, ReadError> {
        self.range_at(op, self.revision())
    }

    /// Goes on with a range in key order, behind the key `after`: at most `max` pairs as of
    /// `revision`, which the first part told. Several short readings instead of a long one let
    /// writes in between.
    ///
    /// # Errors
    /// As [`Store::range`]: `revision` may have been compacted meanwhile.
    pub fn range_behind(
        &self,
        op: &RangeOp,
        after: &Bytes,
        revision: i64,
        max: usize,
    ) -> Result<Vec<KeyValue>, ReadError> {
        let at = RangeOp {
            revision,
            ..op.clone()
        };
        let revision = self.readable_revision(&at, self.revision())?;
        let pairs = self.index.pairs(&op.range.behind(after), revision);
        let found: Vec<Found<'_>> = pairs.take(max).collect();
        Ok(self.key_values(&found, op.keys_only)?)
    }

    /// Reads a range while `current_revision` is the newest revision: within a transaction that
    /// wrote, that is its own.
    pub(crate) fn range_at(
        &self,
        op: &RangeOp,
        current_revision: i64,
    ) -> Result<RangeResult, ReadError> {
        let revision = self.readable_revision(op, current_revision)?;
        let read_limit = if op.count_only { 0 } else { read_limit(op) };
        let mut found: Vec<Found<'_>> = Vec::new();
        let mut count = 0;
        for (at, (key, write)) in self.index.pairs(&op.range, revision).enumerate() {
            if at < read_limit && passes_filters(op, write) {
                found.push((key, write));
            }
            count += 1;
        }
        let answer = |kvs, more| RangeResult {
            kvs,
            more,
            count,
            revision: current_revision,
        };
        let limit = usize::try_from(op.limit).unwrap_or(0);
        let more = limit > 0 && found.len() > limit;
        let limit = if more { limit } else { found.len() };
        // Values are read last and only of what is returned, unless they decide about that.
        if op.sort_target == SortTarget::Value {
            let mut kvs = self.key_values(&found, false)?;
            kvs.sort_by(|a, b| in_order(op, a.value.cmp(&b.value)));
            kvs.truncate(limit);
            if op.keys_only {
                for kv in &mut kvs {
                    kv.value.clear();
                }
            }
            return Ok(answer(kvs, more));
        }
        sort(&mut found, op);
        found.truncate(limit);
        Ok(answer(self.key_values(&found, op.keys_only)?, more))
    }

    fn key_values(
        &self,
        found: &[Found<'_>],
        keys_only: bool,
    ) -> Result<Vec<KeyValue>, StoreIoError> {
        let read = |(key, write): &Found<'_>| match keys_only {
            true => Ok(pair(Bytes::copy_from_slice(key), write, Bytes::new())),
            false => self.key_value(key, write),
        };
        found.iter().map(read).collect()
    }

    /// Reads the value of a pair.
    pub(crate) fn key_value(&self, key: &[u8], write: &Kept) -> Result<KeyValue, StoreIoError> {
        let (key, value) = self.log.read(key, write)?;
        Ok(pair(key, write, value))
    }

    fn readable_revision(&self, op: &RangeOp, current_revision: i64) -> Result<i64, StoreError> {
        if op.revision > current_revision {
            return Err(StoreError::FutureRevision {
                requested: op.revision,
                current_revision,
            });
        }
        let revision = if op.revision <= 0 {
            current_revision
        } else {
            op.revision
        };
        if revision < self.compact_revision() {
            return Err(StoreError::Compacted {
                requested: revision,
                compact_revision: self.compact_revision(),
            });
        }
        Ok(revision)
    }
}

/// How many pairs are read before filtering and sorting. One more than the limit tells whether
/// there is more; an order that isn't the keys' own, or a filter, needs all of them. As in etcd a
/// target without an order doesn't count as an order here, though it is sorted afterwards.
fn read_limit(op: &RangeOp) -> usize {
    let is_key_order = op.sort_order == SortOrder::None
        || (op.sort_target == SortTarget::Key && op.sort_order == SortOrder::Ascend);
    let has_filters = op.min_mod_revision != 0
        || op.max_mod_revision != 0
        || op.min_create_revision != 0
        || op.max_create_revision != 0;
    match usize::try_from(op.limit) {
        Ok(limit) if limit > 0 && is_key_order && !has_filters => limit.saturating_add(1),
        _ => usize::MAX,
    }
}

fn passes_filters(op: &RangeOp, write: &Kept) -> bool {
    let within =
        |revision: i64, min: i64, max: i64| revision >= min && (max == 0 || revision <= max);
    within(
        write.revision().main,
        op.min_mod_revision,
        op.max_mod_revision,
    ) && within(
        write.create_revision,
        op.min_create_revision,
        op.max_create_revision,
    )
}

/// Sorts pairs that come in key order, by anything but the value; equal ones stay in key order.
fn sort(found: &mut [Found<'_>], op: &RangeOp) {
    let is_sorted = op.sort_target == SortTarget::Key && op.sort_order != SortOrder::Descend;
    if is_sorted {
        return;
    }
    found.sort_by(|(key_a, a), (key_b, b)| {
        let ascending = match op.sort_target {
            SortTarget::Key => key_a.cmp(key_b),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::CreateRevision => a.create_revision.cmp(&b.create_revision),
            SortTarget::ModRevision => a.revision().main.cmp(&b.revision().main),
            SortTarget::Value => Ordering::Equal,
        };
        in_order(op, ascending)
    });
}

fn in_order(op: &RangeOp, ascending: Ordering) -> Ordering {
    match op.sort_order {
        SortOrder::None | SortOrder::Ascend => ascending,
        SortOrder::Descend => ascending.reverse(),
    }
}

pub(crate) fn pair(key: Bytes, write: &Kept, value: Bytes) -> KeyValue {
    KeyValue {
        key,
        create_revision: write.create_revision,
        mod_revision: write.revision().main,
        version: write.version,
        value,
        lease: write.lease,
    }
}
