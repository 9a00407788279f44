//! Ranges: which pairs, in which order, cut where.

use std::cmp::Ordering;

use bytes::Bytes;
use raftery_fs::Fs;

use crate::error::{ReadError, StoreError, StoreIoError};
use crate::history::{Attributes, Seen};
use crate::key::Key;
use crate::log::Stored;
use crate::op::{RangeOp, SortOrder, SortTarget};
use crate::result::{KeyValue, RangeResult};
use crate::store::Store;

/// A pair of which only what the index knows was looked at.
type Found<'a> = (&'a Key, Seen<'a>);

impl<F: Fs> Store<F> {
    /// Reads a range at the revision asked for.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] below the compact revision (which itself can be read),
    /// [`StoreError::FutureRevision`] above the newest; [`ReadError::Io`] when a record can't be
    /// read: those of the values, and of what is asked about older writes than a key's newest.
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
        for (at, (key, seen)) in self.index.pairs(&op.range, revision).enumerate() {
            if at < read_limit && self.passes_filters(op, key, seen)? {
                found.push((key, seen));
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
        let mut found = self.sorted(found, op)?;
        found.truncate(limit);
        Ok(answer(self.key_values(&found, op.keys_only)?, more))
    }

    fn key_values(
        &self,
        found: &[Found<'_>],
        keys_only: bool,
    ) -> Result<Vec<KeyValue>, StoreIoError> {
        let without_value = |key: &Key, seen: Seen<'_>| {
            let attributes = self.attributes(key, seen)?;
            let key = Bytes::copy_from_slice(key);
            Ok(pair(key, seen, attributes, Bytes::new()))
        };
        let read = |(key, seen): &Found<'_>| match keys_only {
            true => without_value(key, *seen),
            false => self.key_value(key, *seen),
        };
        found.iter().map(read).collect()
    }

    /// Reads the value of a pair.
    pub(crate) fn key_value(&self, key: &[u8], seen: Seen<'_>) -> Result<KeyValue, StoreIoError> {
        let Stored {
            key,
            value,
            attributes,
        } = self.log.read(key, seen.write)?;
        Ok(pair(key, seen, attributes, value))
    }

    /// What the index knows, or else the record.
    pub(crate) fn attributes(
        &self,
        key: &[u8],
        seen: Seen<'_>,
    ) -> Result<Attributes, StoreIoError> {
        match seen.attributes {
            Some(attributes) => Ok(*attributes),
            None => Ok(self.log.read(key, seen.write)?.attributes),
        }
    }

    fn passes_filters(
        &self,
        op: &RangeOp,
        key: &[u8],
        seen: Seen<'_>,
    ) -> Result<bool, StoreIoError> {
        let within =
            |revision: i64, min: i64, max: i64| revision >= min && (max == 0 || revision <= max);
        let mod_revision = seen.write.revision().main;
        if !within(mod_revision, op.min_mod_revision, op.max_mod_revision) {
            return Ok(false);
        }
        let (min, max) = (op.min_create_revision, op.max_create_revision);
        // Who doesn't ask needn't wait for a record.
        Ok((min == 0 && max == 0) || within(self.attributes(key, seen)?.create_revision, min, max))
    }

    /// Sorts pairs that come in key order, by anything but the value; equal ones stay in key
    /// order.
    fn sorted<'a>(
        &self,
        mut found: Vec<Found<'a>>,
        op: &RangeOp,
    ) -> Result<Vec<Found<'a>>, StoreIoError> {
        let number = |(key, seen): Found<'_>| match op.sort_target {
            SortTarget::Key | SortTarget::Value => Ok(0),
            SortTarget::ModRevision => Ok(seen.write.revision().main),
            SortTarget::Version => self.attributes(key, seen).map(|of| of.version),
            SortTarget::CreateRevision => self.attributes(key, seen).map(|of| of.create_revision),
        };
        if op.sort_target == SortTarget::Key {
            if op.sort_order == SortOrder::Descend {
                found.reverse();
            }
            return Ok(found);
        }
        let numbered = found.into_iter().map(|found| Ok((number(found)?, found)));
        let mut numbered = numbered.collect::<Result<Vec<_>, StoreIoError>>()?;
        numbered.sort_by(|(a, _), (b, _)| in_order(op, a.cmp(b)));
        Ok(numbered.into_iter().map(|(_, found)| found).collect())
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

fn in_order(op: &RangeOp, ascending: Ordering) -> Ordering {
    match op.sort_order {
        SortOrder::None | SortOrder::Ascend => ascending,
        SortOrder::Descend => ascending.reverse(),
    }
}

fn pair(key: Bytes, seen: Seen<'_>, attributes: Attributes, value: Bytes) -> KeyValue {
    KeyValue {
        key,
        create_revision: attributes.create_revision,
        mod_revision: seen.write.revision().main,
        version: attributes.version,
        value,
        lease: attributes.lease,
    }
}
