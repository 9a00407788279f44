//! The key-value state machine: revisions, ranges, transactions, compaction.
//!
//! **Owns** every key with its history down to the compaction revision, and the rules of etcd's
//! KV service. **Never** waits, reads a clock, draws a random number or touches a disk: the
//! state is a function of the [`WriteOp`]s applied, in order, so members that applied the same
//! log hold the same store. Today the store lives in memory and is rebuilt from the Raft log at
//! start.
//!
//! ```text
//! request ── validate() ──> op ── Raft log ──> Store::apply ──> WriteResult
//!                            └──── ReadIndex ─> Store::range, Store::read_txn
//! ```
//!
//! A request is checked once at the gate ([`PutOp::validate`] and its siblings, answered with a
//! [`RequestError`]); what depends on the state is decided in [`Store::apply`] and answered with
//! a [`StoreError`], the same on every member. A failing apply changes nothing.

mod error;
mod history;
mod op;
mod range;
mod result;
mod store;
mod txn;
mod validate;

#[cfg(test)]
mod model_test;
#[cfg(test)]
mod store_test;

pub use error::{RequestError, StoreError};
pub use op::{
    Compare, CompareResult, CompareTarget, DeleteRangeOp, KeyRange, PutOp, RangeOp, SortOrder,
    SortTarget, TxnOp, TxnRequestOp, WriteOp,
};
pub use result::{
    DeleteRangeResult, KeyValue, PutResult, RangeResult, TxnResponseOp, TxnResult, WriteResult,
};
pub use store::Store;
pub use validate::MAX_TXN_OPS_DEFAULT;
