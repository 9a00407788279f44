//! The simulator: members of a cluster on simulated time, network and disks.
//!
//! Every member is a real [`raftery_raft::Raft`], a real [`raftery_wal::Wal`] and a real
//! [`raftery_store::Store`] with a few registers in it, joined by the same loop that the server
//! runs ([`raftery_raft::dispatch`]). The log is cut close behind what the store has durable, so
//! that who lags gets a snapshot. Simulated are the clocks (they drift, processes are suspended),
//! the network (drops, delays, doubles, reorders, partitions of every shape, messages that outlive
//! their receiver), the disk below the log (syncs take time; a crash discards unsynced bytes or
//! tears the last writes; durable sectors rot), the clients, and an operator that replaces and
//! demotes members, one or two at a time, and moves leadership. Most faults come at random times;
//! some lie in wait for the moment at which they hurt most (`world/ambush`). All of it follows from
//! one number, the seed.
//!
//! ```text
//!          ┌─────────── events in the order of simulated time ───────────┐
//!          ▼                                                             │
//!   World ── input ──► Raft ── dispatch ──► effects ──► disk, network, machine
//!                        │                     │
//!                check_invariants      observations ──► invariants/*, one property a file
//! ```
//!
//! A run has two phases: chaos, in which faults come and go while clients write and read; then
//! everything heals, and the members must agree on a log that holds each acknowledged write. A
//! write is acknowledged when the leader that took it has applied it.
//!
//! [`run`] gives a [`Report`] or the first [`Violation`], which names the seed. `make sim SEED=17`
//! repeats a run and tells it event by event; `make sim` looks for new seeds that break something,
//! `make mutants` shows that deliberate defects (`raftery-defects`) are found.

mod clients;
mod clock;
mod disk;
mod faults;
mod invariants;
mod keeper;
mod machine;
mod member;
mod model;
mod network;
mod queue;
mod report;
mod shadow;
mod streams;
mod trace;
mod world;

pub use faults::Faults;
pub use report::{NO_PANIC, Options, Report, Violation};
pub use trace::Listener;
pub use world::{run, run_told};
