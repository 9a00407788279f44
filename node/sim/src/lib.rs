//! The simulator: members of a cluster on simulated time, network and disks.
//!
//! Every member is a real [`raftery_raft::Raft`] and a real [`raftery_wal::Wal`], joined by the
//! same loop that the server runs ([`raftery_raft::dispatch`]), and a trivial state machine.
//! Simulated are the clock, the network (drops, delays, doubles, reorders, partitions), the disk
//! below the log (syncs take time, a crash discards every unsynced byte or tears the last
//! writes), the clients, and an operator that replaces members and moves leadership. All of it
//! follows from one number, the seed.
//!
//! ```text
//!          ┌─────────── events in the order of simulated time ───────────┐
//!          ▼                                                             │
//!   World ── input ──► Raft ── dispatch ──► effects ──► disk, network, machine
//!                        │                     │
//!                check_invariants      observations ──► invariants/*, one property a file
//! ```
//!
//! A run has two phases: chaos, in which faults come and go and clients write; then everything
//! heals, and the members must agree on a log that holds each acknowledged write. A write is
//! acknowledged when the leader that took it has applied it.
//!
//! [`run`] gives a [`Report`] or the first [`Violation`], which names the seed. To repeat one run
//! of the tests: `SEED=17 cargo test --release -p raftery-sim`.

mod clients;
mod disk;
mod faults;
mod invariants;
mod machine;
mod member;
mod network;
mod queue;
mod report;
mod world;

pub use faults::Faults;
pub use report::{Options, Report, Syncs, Violation};
pub use world::run;
