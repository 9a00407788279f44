//! The ledger: the replicated sequence of verdicts and intervals, and its way into MongoDB.
//!
//! **Owns** the replicated state ([`Ledger`]: which batches are retained, the newest of them, export
//! cursor, scores), the shape of the documents and the MongoDB client. **Never** touches the disk:
//! older batches go there in blocks that the caller keeps. The state is changed only by applied log entries and
//! needs no clock; only [`ExportLoop`] waits, on the leader, and nothing waits for it.
//!
//! ```text
//! leader: LedgerBatch ── Raft log ──> Ledger::apply_batch          (every member)
//!                                        │ batches after the cursor
//!                                        v
//!                       ExportLoop ── Exporter ──> MongoDB         (the leader)
//!                            └── cursor ── Raft log ──> Ledger::mark_exported
//! ```
//!
//! **Exactly once.** A document's `_id` is `{lineage, index, ordinal}`: the unbroken history it
//! belongs to, the Raft index of its batch and its place there. A batch is exported until the
//! replicated cursor has passed it, so nothing is missing; the same batch always makes the same
//! documents, so a second attempt meets a duplicate key instead of making a second document. Such
//! a duplicate counts as success only if the stored hash is the document's own.

mod archive;
mod batch;
mod document;
mod error;
mod export_loop;
mod exporter;
mod page;
mod state;

pub use archive::Archive;
pub use batch::{Chain, LedgerBatch, LedgerRow};
pub use document::{
    COLLECTIONS, Documents, INTERVALS, REWARDS, SCHEMA, SCORINGS, documents, is_intact,
};
pub use error::ExportError;
pub use export_loop::{
    Batches, ExportLoop, ExportSettings, ExportStatus, MarkError, ReadError, Source,
};
pub use exporter::Exporter;
pub use page::{LedgerPage, MemberPage, PageError, RowPage, StandingPage, VerdictPage};
pub use state::{
    Applied, BlockError, Gap, Ignored, Ledger, LoadedRows, RETAINED_BATCHES_MAX, Rows, Standing,
    Stretch,
};
