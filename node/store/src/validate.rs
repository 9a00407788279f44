//! The gate: what etcd refuses before a request reaches the log (its `v3rpc/key.go`).

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::error::RequestError;
use crate::op::{DeleteRangeOp, KeyRange, PutOp, RangeOp, TxnOp, TxnRequestOp};

/// etcd's default for `--max-txn-ops`.
pub const MAX_TXN_OPS_DEFAULT: usize = 128;

impl RangeOp {
    /// Checks the request.
    ///
    /// # Errors
    /// [`RequestError::EmptyKey`].
    pub fn validate(&self) -> Result<(), RequestError> {
        require_key(self.range.start())
    }
}

impl PutOp {
    /// Checks the request.
    ///
    /// # Errors
    /// [`RequestError::EmptyKey`], [`RequestError::ValueProvided`],
    /// [`RequestError::LeaseProvided`].
    pub fn validate(&self) -> Result<(), RequestError> {
        require_key(&self.key)?;
        if self.ignore_value && !self.value.is_empty() {
            return Err(RequestError::ValueProvided);
        }
        if self.ignore_lease && self.lease != 0 {
            return Err(RequestError::LeaseProvided);
        }
        Ok(())
    }
}

impl DeleteRangeOp {
    /// Checks the request.
    ///
    /// # Errors
    /// [`RequestError::EmptyKey`].
    pub fn validate(&self) -> Result<(), RequestError> {
        require_key(self.range.start())
    }
}

impl TxnOp {
    /// Checks the transaction and everything in it. A nested transaction may hold what `ops_max`
    /// leaves after the largest of its parent's three lists, which also bounds the nesting.
    ///
    /// # Errors
    /// [`RequestError::TooManyOps`], [`RequestError::DuplicateKey`], and what its operations
    /// refuse.
    pub fn validate(&self, ops_max: usize) -> Result<(), RequestError> {
        self.validate_ops(ops_max)?;
        // After the counts, so that a huge request isn't compared key by key.
        written_keys(&self.success)?;
        written_keys(&self.failure)?;
        Ok(())
    }

    fn validate_ops(&self, ops_max: usize) -> Result<(), RequestError> {
        let ops = self
            .compare
            .len()
            .max(self.success.len())
            .max(self.failure.len());
        let left = ops_max.checked_sub(ops).ok_or(RequestError::TooManyOps)?;
        for compare in &self.compare {
            require_key(compare.range.start())?;
        }
        for op in self.success.iter().chain(&self.failure) {
            match op {
                TxnRequestOp::Range(op) => op.validate()?,
                TxnRequestOp::Put(op) => op.validate()?,
                TxnRequestOp::DeleteRange(op) => op.validate()?,
                TxnRequestOp::Txn(op) => op.validate_ops(left)?,
            }
        }
        Ok(())
    }
}

fn require_key(key: &Bytes) -> Result<(), RequestError> {
    if key.is_empty() {
        Err(RequestError::EmptyKey)
    } else {
        Ok(())
    }
}

/// Keys put and ranges deleted by one branch.
#[derive(Default)]
struct Written<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<&'a KeyRange>,
}

impl<'a> Written<'a> {
    fn add_put(&mut self, key: &'a Bytes) -> Result<(), RequestError> {
        self.require_not_deleted(key)?;
        if self.puts.insert(key) {
            Ok(())
        } else {
            Err(RequestError::DuplicateKey)
        }
    }

    /// A delete of everything from a key on never clashes: etcd looks at the raw `range_end`
    /// `"\0"` here, and clients rely on "delete all, then put" in one transaction.
    fn require_not_deleted(&self, key: &Bytes) -> Result<(), RequestError> {
        let clashes = |range: &&&KeyRange| match range {
            KeyRange::From(_) => false,
            KeyRange::Key(_) | KeyRange::Span { .. } => range.contains(key),
        };
        match self.deletes.iter().find(clashes) {
            Some(_) => Err(RequestError::DuplicateKey),
            None => Ok(()),
        }
    }
}

/// Refuses two puts, or a put and a delete, of one key. The order is etcd's and can be seen from
/// outside: this level's deletes first, then nested transactions in turn (a later one's deletes
/// don't meet an earlier one's puts), then this level's puts. The branches of one transaction
/// exclude each other, so they may write the same key.
fn written_keys(ops: &[TxnRequestOp]) -> Result<Written<'_>, RequestError> {
    let mut written = Written::default();
    written.deletes.extend(ops.iter().filter_map(|op| match op {
        TxnRequestOp::DeleteRange(op) => Some(&op.range),
        TxnRequestOp::Range(_) | TxnRequestOp::Put(_) | TxnRequestOp::Txn(_) => None,
    }));
    for op in ops {
        let TxnRequestOp::Txn(nested) = op else {
            continue;
        };
        let success = written_keys(&nested.success)?;
        let failure = written_keys(&nested.failure)?;
        for key in &success.puts {
            written.add_put(key)?;
        }
        for key in failure.puts.difference(&success.puts) {
            written.add_put(key)?;
        }
        written.deletes.extend(success.deletes);
        written.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let TxnRequestOp::Put(put) = op {
            written.add_put(&put.key)?;
        }
    }
    Ok(written)
}
