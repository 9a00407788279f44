//! Ranges: which pairs, in which order, cut where.

use crate::error::StoreError;
use crate::op::{RangeOp, SortOrder, SortTarget};
use crate::result::{KeyValue, RangeResult};
use crate::store::Store;

impl Store {
    /// Reads a range at the revision asked for.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] below the compact revision (which itself can be read),
    /// [`StoreError::FutureRevision`] above the newest.
    pub fn range(&self, op: &RangeOp) -> Result<RangeResult, StoreError> {
        self.range_at(op, self.revision())
    }

    /// Reads a range while `current_revision` is the newest revision: within a transaction that
    /// wrote, that is its own.
    pub(crate) fn range_at(
        &self,
        op: &RangeOp,
        current_revision: i64,
    ) -> Result<RangeResult, StoreError> {
        let revision = self.readable_revision(op, current_revision)?;
        let live = |(_, history): &(_, &crate::history::KeyHistory)| history.is_live_at(revision);
        let count = self.histories(&op.range).filter(live).count() as i64;
        if op.count_only {
            return Ok(RangeResult {
                kvs: Vec::new(),
                more: false,
                count,
                revision: current_revision,
            });
        }
        let mut kvs: Vec<KeyValue> = self
            .pairs(&op.range, revision)
            .take(read_limit(op))
            .filter(|kv| passes_filters(op, kv))
            .collect();
        sort(&mut kvs, op);
        let limit = usize::try_from(op.limit).unwrap_or(0);
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if op.keys_only {
            for kv in &mut kvs {
                kv.value.clear();
            }
        }
        Ok(RangeResult {
            kvs,
            more,
            count,
            revision: current_revision,
        })
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

fn passes_filters(op: &RangeOp, kv: &KeyValue) -> bool {
    let within =
        |revision: i64, min: i64, max: i64| revision >= min && (max == 0 || revision <= max);
    within(kv.mod_revision, op.min_mod_revision, op.max_mod_revision)
        && within(
            kv.create_revision,
            op.min_create_revision,
            op.max_create_revision,
        )
}

/// Sorts pairs that come in key order; equal ones stay in key order.
fn sort(kvs: &mut [KeyValue], op: &RangeOp) {
    let compare = |a: &KeyValue, b: &KeyValue| match op.sort_target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::CreateRevision => a.create_revision.cmp(&b.create_revision),
        SortTarget::ModRevision => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    match op.sort_order {
        SortOrder::None | SortOrder::Ascend if op.sort_target == SortTarget::Key => {}
        SortOrder::None | SortOrder::Ascend => kvs.sort_by(compare),
        SortOrder::Descend => kvs.sort_by(|a, b| compare(b, a)),
    }
}
