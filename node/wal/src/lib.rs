//! The write-ahead log of a Raft node.
//!
//! Owns the log's files: what a batch looks like on disk, when it counts as durable, and what
//! is left of it after a crash. It never decides what is in the log (that is `raftery-raft`)
//! and never repairs: damaged acknowledged data is reported, not cut.
//!
//! ```text
//!   PersistBatch ──▶ WalWriter (queue) ──▶ Wal::append* ─▶ Wal::sync ──▶ Durable { seq }
//!                                              │               │
//!                                        frames in a     5 ms of quiet:
//!                                          segment         Wal::seal
//!   start:  Wal::open ──▶ replay, cut a torn tail or refuse damage ──▶ Recovered
//! ```
//!
//! A batch is recovered whole or not at all, in the order written; a later batch replaces the
//! entries of an earlier one from its first index on. The log is kept whole: no segment is
//! deleted.

mod create;
mod entry;
mod error;
mod frame;
mod le;
mod recover;
mod replay;
mod segment;
mod types;
mod wal;
mod writer;

pub use error::WalError;
pub use types::{Recovered, TornTail, WalIdentity, WalOptions};
pub use wal::Wal;
pub use writer::{WalEvent, WalWriter};
