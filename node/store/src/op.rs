//! Operations: what callers ask for. They travel postcard-encoded in the Raft log, so variants
//! and fields are only ever added at the end.

use std::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::RequestError;

/// What an ordered map calls a range.
pub(crate) type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A set of keys that lie next to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRange {
    /// One key.
    Key(Bytes),
    /// Every key from this one on.
    From(Bytes),
    /// The keys `start <= key < end`; none if `end <= start`.
    Span {
        /// The first key of the range.
        start: Bytes,
        /// The first key behind the range.
        end: Bytes,
    },
}

impl KeyRange {
    /// Reads etcd's encoding: an empty `range_end` means the one key, `"\0"` means every key from
    /// `key` on (so both `"\0"` is everything), anything else is the exclusive end.
    #[must_use]
    pub fn from_etcd(key: Bytes, range_end: Bytes) -> Self {
        match range_end.as_ref() {
            [] => Self::Key(key),
            [0] => Self::From(key),
            _ => Self::Span {
                start: key,
                end: range_end,
            },
        }
    }

    /// The first key that can be in the range.
    #[must_use]
    pub fn start(&self) -> &Bytes {
        match self {
            Self::Key(key) | Self::From(key) | Self::Span { start: key, .. } => key,
        }
    }

    /// What of the range comes behind `key`.
    pub(crate) fn behind(&self, key: &Bytes) -> Self {
        let mut start = Vec::with_capacity(key.len() + 1);
        start.extend_from_slice(key);
        start.push(0);
        let start = Bytes::from(start);
        match self {
            Self::Key(_) => Self::Span {
                end: start.clone(),
                start,
            },
            Self::From(_) => Self::From(start),
            Self::Span { end, .. } => Self::Span {
                start,
                end: end.clone(),
            },
        }
    }

    /// Whether `key` is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(only) => key == only.as_ref(),
            Self::From(start) => key >= start.as_ref(),
            Self::Span { start, end } => key >= start.as_ref() && key < end.as_ref(),
        }
    }

    /// Bounds for an ordered map, or `None` for a range that can't hold a key (such bounds make
    /// `BTreeMap::range` panic).
    pub(crate) fn bounds(&self) -> Option<KeyBounds<'_>> {
        match self {
            Self::Key(key) => Some((Bound::Included(key.as_ref()), Bound::Included(key.as_ref()))),
            Self::From(start) => Some((Bound::Included(start.as_ref()), Bound::Unbounded)),
            Self::Span { start, end } if start < end => Some((
                Bound::Included(start.as_ref()),
                Bound::Excluded(end.as_ref()),
            )),
            Self::Span { .. } => None,
        }
    }
}

/// The order of a range's answer. With `None` a target other than the key sorts ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SortOrder {
    /// As the keys lie.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

impl TryFrom<i32> for SortOrder {
    type Error = RequestError;

    /// Reads the number of etcd's `RangeRequest.SortOrder`.
    fn try_from(number: i32) -> Result<Self, RequestError> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::Ascend),
            2 => Ok(Self::Descend),
            _ => Err(RequestError::InvalidSortOption),
        }
    }
}

/// What a range's answer is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The key's version.
    Version,
    /// The create revision.
    CreateRevision,
    /// The mod revision.
    ModRevision,
    /// The value.
    Value,
}

impl TryFrom<i32> for SortTarget {
    type Error = RequestError;

    /// Reads the number of etcd's `RangeRequest.SortTarget`.
    fn try_from(number: i32) -> Result<Self, RequestError> {
        match number {
            0 => Ok(Self::Key),
            1 => Ok(Self::Version),
            2 => Ok(Self::CreateRevision),
            3 => Ok(Self::ModRevision),
            4 => Ok(Self::Value),
            _ => Err(RequestError::InvalidSortOption),
        }
    }
}

/// Reads keys. Whether the read is linearizable or serializable is decided before the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeOp {
    /// The keys to read.
    pub range: KeyRange,
    /// How many keys to return at most; 0 or less: all.
    pub limit: i64,
    /// The revision to read at; 0 or less: the newest.
    pub revision: i64,
    /// The order of the answer.
    pub sort_order: SortOrder,
    /// What the answer is sorted by.
    pub sort_target: SortTarget,
    /// Leave values out.
    pub keys_only: bool,
    /// Return only the count.
    pub count_only: bool,
    /// Leave out keys with a smaller mod revision; 0: no bound.
    pub min_mod_revision: i64,
    /// Leave out keys with a larger mod revision; 0: no bound.
    pub max_mod_revision: i64,
    /// Leave out keys with a smaller create revision; 0: no bound.
    pub min_create_revision: i64,
    /// Leave out keys with a larger create revision; 0: no bound.
    pub max_create_revision: i64,
}

impl WriteOp {
    /// Whether it can make the store larger: the quota doesn't hold up what only takes away.
    #[must_use]
    pub fn adds(&self) -> bool {
        match self {
            Self::Put(_) => true,
            Self::DeleteRange(_) | Self::Compact { .. } => false,
            Self::Txn(txn) => txn.adds(),
        }
    }
}

impl TxnOp {
    fn adds(&self) -> bool {
        let mut ops = self.success.iter().chain(&self.failure);
        ops.any(|op| match op {
            TxnRequestOp::Put(_) => true,
            TxnRequestOp::Range(_) | TxnRequestOp::DeleteRange(_) => false,
            TxnRequestOp::Txn(txn) => txn.adds(),
        })
    }
}

impl RangeOp {
    /// Whether the answer is the range's keys in order, up to a limit: neither sorted otherwise
    /// nor filtered, so that it can be read in parts ([`crate::Store::range_behind`]).
    #[must_use]
    pub fn is_in_parts(&self) -> bool {
        let is_key_order = self.sort_order == SortOrder::None
            || (self.sort_target == SortTarget::Key && self.sort_order == SortOrder::Ascend);
        let is_unfiltered = self.min_mod_revision == 0
            && self.max_mod_revision == 0
            && self.min_create_revision == 0
            && self.max_create_revision == 0;
        is_key_order && self.sort_target == SortTarget::Key && is_unfiltered && !self.count_only
    }

    /// Reads all of `range` at the newest revision; set the other fields with `..`.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: 0,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }
}

/// Writes one key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PutOp {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The lease that the key is attached to; 0: none.
    pub lease: i64,
    /// Return the pair as it was before.
    pub prev_kv: bool,
    /// Keep the value that the key has.
    pub ignore_value: bool,
    /// Keep the lease that the key has.
    pub ignore_lease: bool,
}

/// Deletes keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRangeOp {
    /// The keys to delete.
    pub range: KeyRange,
    /// Return the pairs as they were before.
    pub prev_kv: bool,
}

/// How a compare holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareResult {
    /// The stored side equals the given one.
    Equal,
    /// The stored side is greater.
    Greater,
    /// The stored side is less.
    Less,
    /// The stored side differs.
    NotEqual,
}

/// What a compare looks at, with the value it is compared to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareTarget {
    /// The key's version; 0 for a missing key.
    Version(i64),
    /// The create revision; 0 for a missing key.
    CreateRevision(i64),
    /// The mod revision; 0 for a missing key.
    ModRevision(i64),
    /// The value; a compare with a missing key is false, whatever it asks.
    Value(Bytes),
    /// The lease; 0 for a missing key.
    Lease(i64),
}

/// A condition of a transaction. On a range it must hold for every key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The keys that are looked at.
    pub range: KeyRange,
    /// How the stored side must stand to the given one.
    pub result: CompareResult,
    /// What is compared, and to what.
    pub target: CompareTarget,
}

/// If all compares hold on the state before the transaction then `success`, else `failure`; all
/// of it in one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TxnOp {
    /// The conditions; none: true.
    pub compare: Vec<Compare>,
    /// What is done when all hold.
    pub success: Vec<TxnRequestOp>,
    /// What is done otherwise.
    pub failure: Vec<TxnRequestOp>,
}

impl TxnOp {
    /// Whether neither branch holds anything but ranges. A nested transaction counts as a write,
    /// as in etcd, even if it only reads.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.success
            .iter()
            .chain(&self.failure)
            .all(|op| matches!(op, TxnRequestOp::Range(_)))
    }
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnRequestOp {
    /// Reads keys.
    Range(RangeOp),
    /// Writes one key.
    Put(PutOp),
    /// Deletes keys.
    DeleteRange(DeleteRangeOp),
    /// A transaction inside the transaction; its compares too look at the state before the
    /// outermost one.
    Txn(TxnOp),
}

/// What the Raft log carries for the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteOp {
    /// Writes one key.
    Put(PutOp),
    /// Deletes keys.
    DeleteRange(DeleteRangeOp),
    /// A transaction.
    Txn(TxnOp),
    /// Forgets what no read at `revision` or later can see.
    Compact {
        /// The oldest revision that stays readable.
        revision: i64,
    },
}
