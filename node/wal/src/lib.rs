//! The write-ahead log of a Raft node.
//!
//! Owns the log's files: what a batch looks like on disk, when it counts as durable, and what
//! is left of it after a crash. It never decides what is in the log (that is `raftery-raft`),
//! and never cuts acknowledged data: damage to that is reported, and repaired only by the leader.
//!
//! ```text
//!   PersistBatch ──▶ WalWriter (queue) ──▶ Wal::append* ─▶ Wal::sync ──▶ Durable { seq }
//!                                              │               │
//!                                        frames in a     5 ms of quiet: Wal::seal
//!                                          segment       after every burst: Wal::housekeep
//!   cut(up_to) ──▶ lowest segments released ──▶ recycled ──▶ the next segment
//!   start:  Wal::open ──▶ replay ──▶ Recovered, or damage ──▶ Wal::begin_repair ──▶ Recovered
//! ```
//!
//! A batch is recovered whole or not at all, in the order written; a later batch replaces the
//! entries of an earlier one from its first index on. The log begins behind a base: a cut
//! releases segments that hold nothing above an index, and a batch with a base (a snapshot was
//! installed) makes the log empty behind that.

mod create;
mod entry;
mod error;
mod frame;
mod kept;
mod prepare;
mod recover;
mod repair;
mod replay;
mod segment;
mod types;
mod wal;
mod writer;

pub use error::WalError;
pub use types::{Damage, Recovered, TornTail, WalIdentity, WalOptions};
pub use wal::{Housekeeping, Wal};
pub use writer::{WalEvent, WalWriter};
