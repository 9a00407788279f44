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

mod applied;
mod error;
mod frame;
mod hash;
mod history;
mod index;
mod le;
mod log;
mod manifest;
mod op;
mod range;
mod receive;
mod record;
mod recovery;
mod result;
mod rewrite;
mod segment;
mod snapshot;
mod store;
mod sync;
mod txn;
mod validate;
mod write;

#[cfg(test)]
mod model_test;
#[cfg(test)]
mod store_test;
#[cfg(test)]
mod testing;

pub use applied::AppliedId;
pub use error::{ReadError, RequestError, SnapshotError, StoreError, StoreIoError};
pub use op::{
    Compare, CompareResult, CompareTarget, DeleteRangeOp, KeyRange, PutOp, RangeOp, SortOrder,
    SortTarget, TxnOp, TxnRequestOp, WriteOp,
};
pub use receive::{ReceivedSnapshot, Retired, SnapshotReceiver};
pub use result::{
    DeleteRangeResult, KeyValue, PutResult, RangeResult, TxnResponseOp, TxnResult, WriteResult,
};
pub use rewrite::{Rewrite, RewriteNeeds};
pub use snapshot::{Snapshot, SnapshotChunk};
pub use store::{Opened, Store, StoreOptions};
pub use sync::{Checkpoint, Checkpointed, SyncPoint, Synced};
pub use validate::MAX_TXN_OPS_DEFAULT;
