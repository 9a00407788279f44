//! The key-value state machine and its revision log.
//!
//! **Owns** every key with its history down to the compaction revision, the rules of etcd's KV
//! service, and the files that hold all that: the **revision log** is history, database and
//! snapshot at once. **Never** reads a clock; randomness only names files. What it answers is a
//! function of the [`WriteOp`]s applied, in order, so members that applied the same log hold the
//! same store, wherever their records lie.
//!
//! ```text
//! request ── validate() ──> op ── Raft log ──> Store::apply, Store::note ──> WriteResult
//!                            │                   │ one frame for each entry
//!                            │                 buffer ── flush() ──> segment 7   (newest)
//!                            │                                       segment 6, 5, …  (sealed)
//!                            │                   index: key -> writes, where each value lies
//!                            └──── ReadIndex ─> Store::range, Store::read_txn ── one pread
//!
//! beside the work, without a lock on the store:
//!   SyncPoint::run     what is flushed becomes durable; the Raft log may be cut up to there
//!   Checkpoint::run    a manifest: sealed segments, and the caller's own state
//!   Rewrite::step      mostly dead segments become one, live one
//!   Snapshot::read_chunk ──> SnapshotReceiver::write, finish ──> Store::install
//! ```
//!
//! Keys, what is known about their newest write, and where each older one lies are in memory: some
//! 170 bytes for a key of 24, 130 for its second revision, 60 to 70 for each if there are many.
//! Values are on disk, in the page cache while they are in use; so are blobs, bytes of the caller's
//! under numbers that it drops when it needs them no more ([`Store::note`], [`Store::blob`]). An entry is one frame with one
//! checksum, so half an entry is never recovered. Nobody who applies waits for a sync: after a
//! crash the store is what it was after some entry, at or behind the last that was durable, and
//! the Raft log has the rest. Files: the modules `frame`, `record`, `segment`, `manifest` and
//! `snapshot` describe theirs byte by byte.
//!
//! A request is checked once at the gate ([`PutOp::validate`] and its siblings, answered with a
//! [`RequestError`]); what depends on the state is decided in [`Store::apply`] and answered with
//! a [`StoreError`], the same on every member; a refused entry changes nothing but that it is
//! applied. What goes wrong with files is a [`StoreIoError`], told apart from answers everywhere.
//!
//! The caller's loop:
//!
//! ```text
//! apply task     lock; apply or note each entry of a chunk; flush; unlock
//! housekeeping   sync_point().run(), on_synced                     now and then
//!                if wants_checkpoint(): checkpoint(meta).run(), on_checkpointed
//!                sweep() until false; next_rewrite(), its steps
//! ```

mod applied;
mod blobs;
mod chunked_queue;
mod error;
mod files;
mod frame;
mod hash;
mod history;
mod index;
mod key;
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
pub use blobs::{Blob, KeptBlob};
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
