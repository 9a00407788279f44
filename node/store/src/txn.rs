//! Transactions: compare on the state before, then do one branch, in one revision.
//!
//! The branches of all (nested) transactions are chosen first, on the state before the outermost
//! one. The choices are kept in preorder; the two walks that follow (check, then execute) take
//! them from there one by one.

use std::cmp::Ordering;

use raftery_fs::Fs;

use crate::error::{ReadError, StoreError, StoreIoError};
use crate::history::Attributes;
use crate::op::{Compare, CompareResult, CompareTarget, RangeOp, TxnOp, TxnRequestOp};
use crate::result::{TxnResponseOp, TxnResult};
use crate::store::Store;
use crate::write::Write;

impl<F: Fs> Store<F> {
    /// Runs a transaction that only reads.
    ///
    /// # Errors
    /// [`StoreError::Compacted`], [`StoreError::FutureRevision`], and
    /// [`StoreError::WriteInReadTxn`] if it isn't [`TxnOp::is_read_only`]; [`ReadError::Io`]
    /// when a value can't be read.
    pub fn read_txn(&self, op: &TxnOp) -> Result<TxnResult, ReadError> {
        if !op.is_read_only() {
            return Err(StoreError::WriteInReadTxn.into());
        }
        let succeeded = self.compares_hold(&op.compare)?;
        let mut responses = Vec::new();
        for op in branch(op, succeeded) {
            if let TxnRequestOp::Range(range) = op {
                self.check_range(range)?;
                responses.push(TxnResponseOp::Range(self.range(range)?));
            }
        }
        Ok(TxnResult {
            succeeded,
            responses,
            revision: self.revision(),
        })
    }

    fn compares_hold(&self, compares: &[Compare]) -> Result<bool, StoreIoError> {
        for compare in compares {
            if !self.compare_holds(compare)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn compare_holds(&self, compare: &Compare) -> Result<bool, StoreIoError> {
        let mut pairs = self.index.pairs(&compare.range, self.revision()).peekable();
        if pairs.peek().is_none() {
            // There is no way to say "missing" in a value, so no compare with one holds.
            let order = number_compared(compare, 0, Attributes::default());
            return Ok(order.is_some_and(|order| holds(compare, order)));
        }
        for (key, seen) in pairs {
            let mod_revision = seen.write.revision().main;
            let number = number_compared(compare, mod_revision, self.attributes(key, seen)?);
            let order = match (number, &compare.target) {
                (None, CompareTarget::Value(value)) => self.key_value(key, seen)?.value.cmp(value),
                (order, _) => order.expect("all targets but the value are numbers"),
            };
            if !holds(compare, order) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Chooses the branches, in preorder.
    fn choose(&self, op: &TxnOp, choices: &mut Vec<bool>) -> Result<(), StoreIoError> {
        let succeeded = self.compares_hold(&op.compare)?;
        choices.push(succeeded);
        for op in branch(op, succeeded) {
            if let TxnRequestOp::Txn(nested) = op {
                self.choose(nested, choices)?;
            }
        }
        Ok(())
    }

    /// Refuses what can't be done before anything is done, in the order of the operations.
    fn check_txn(
        &self,
        op: &TxnOp,
        choices: &mut impl Iterator<Item = bool>,
    ) -> Result<(), StoreError> {
        for op in branch(op, next(choices)) {
            match op {
                TxnRequestOp::Range(op) => self.check_range(op)?,
                TxnRequestOp::Put(op) => self.check_put(op)?,
                TxnRequestOp::DeleteRange(_) => {}
                TxnRequestOp::Txn(op) => self.check_txn(op, choices)?,
            }
        }
        Ok(())
    }

    /// A range within a transaction asks about the state before it. Unlike outside, a negative
    /// revision is older than any compaction.
    fn check_range(&self, op: &RangeOp) -> Result<(), StoreError> {
        if op.revision > self.revision() {
            return Err(StoreError::FutureRevision {
                requested: op.revision,
                current_revision: self.revision(),
            });
        }
        if op.revision != 0 && op.revision < self.compact_revision() {
            return Err(StoreError::Compacted {
                requested: op.revision,
                compact_revision: self.compact_revision(),
            });
        }
        Ok(())
    }
}

impl<F: Fs> Write<'_, F> {
    pub(crate) fn txn(&mut self, op: &TxnOp) -> Result<TxnResult, ReadError> {
        let mut choices = Vec::new();
        self.store.choose(op, &mut choices)?;
        self.store.check_txn(op, &mut choices.iter().copied())?;
        let mut result = self.execute(op, &mut choices.iter().copied())?;
        result.revision = self.revision();
        Ok(result)
    }

    fn execute(
        &mut self,
        op: &TxnOp,
        choices: &mut impl Iterator<Item = bool>,
    ) -> Result<TxnResult, ReadError> {
        let succeeded = next(choices);
        let mut responses = Vec::new();
        for op in branch(op, succeeded) {
            responses.push(match op {
                TxnRequestOp::Range(op) => {
                    TxnResponseOp::Range(self.store.range_at(op, self.revision())?)
                }
                TxnRequestOp::Put(op) => TxnResponseOp::Put(self.put(op)?),
                TxnRequestOp::DeleteRange(op) => TxnResponseOp::DeleteRange(self.delete_range(op)?),
                TxnRequestOp::Txn(op) => TxnResponseOp::Txn(self.execute(op, choices)?),
            });
        }
        Ok(TxnResult {
            succeeded,
            responses,
            revision: 0,
        })
    }
}

fn branch(op: &TxnOp, succeeded: bool) -> &[TxnRequestOp] {
    if succeeded { &op.success } else { &op.failure }
}

fn next(choices: &mut impl Iterator<Item = bool>) -> bool {
    choices
        .next()
        .expect("there is one choice for each transaction on the way")
}

/// How what is compared stands to what was given, where that is a number; all of a missing key's
/// are 0.
fn number_compared(
    compare: &Compare,
    mod_revision: i64,
    attributes: Attributes,
) -> Option<Ordering> {
    Some(match &compare.target {
        CompareTarget::Version(version) => attributes.version.cmp(version),
        CompareTarget::CreateRevision(revision) => attributes.create_revision.cmp(revision),
        CompareTarget::ModRevision(revision) => mod_revision.cmp(revision),
        CompareTarget::Value(_) => return None,
        CompareTarget::Lease(lease) => attributes.lease.cmp(lease),
    })
}

fn holds(compare: &Compare, ordering: Ordering) -> bool {
    match compare.result {
        CompareResult::Equal => ordering == Ordering::Equal,
        CompareResult::NotEqual => ordering != Ordering::Equal,
        CompareResult::Greater => ordering == Ordering::Greater,
        CompareResult::Less => ordering == Ordering::Less,
    }
}
