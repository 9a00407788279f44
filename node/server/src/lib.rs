//! The world around Raft: everything that waits.
//!
//! **Owns** the node's tasks (driver, apply, transport, export), its identity on disk and its
//! gateways (gRPC, HTTP). **Never** decides: decisions are made in `raft`, `store`, `behaviour`
//! and `ledger`, and this crate carries them out.
//!
//! ```text
//!  client ─> grpc ─> handle ─> driver ─> WAL thread ─┐
//!                                │  └──> peer tasks  │ quorum durable
//!                                └<──────────────────┘
//!                                │ committed
//!                                └──> apply ─> state ─> the client is answered
//! ```

pub mod apply;
mod boots;
pub mod bootstrap;
mod clock;
pub mod cluster_version;
pub mod command;
pub mod driver;
pub mod error;
mod exporting;
pub mod grpc;
pub mod handle;
mod housekeeping;
pub mod http;
mod incarnation;
mod keeper;
mod listen;
pub mod members;
pub mod meta;
pub mod metrics;
pub mod node;
pub mod pulse;
mod run;
pub mod state;
pub mod transport;

pub use run::{RunError, run};
