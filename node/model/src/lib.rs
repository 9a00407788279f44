//! A model of what Raftery adds to Raft's elections, small enough that every state of it is visited.
//!
//! The simulator runs the real code under random faults; this runs a drawing of the rules under
//! *all* faults, as far as three members, a few terms and a few ticks of time show them. It decides
//! nothing about the code. It answers whether the rules themselves can be kept and still go wrong:
//! promises, the leases that rest on them, hand-overs, resigning, delays by rank, heartbeats that
//! aren't counted.
//!
//! There are two models, because safety and liveness want opposite abstractions:
//!
//! | | [`storm`] | [`calm`] |
//! |---|---|---|
//! | asks | can a rule let something wrong happen? | can a rule keep a majority without a leader? |
//! | timers | any member may campaign whenever no promise forbids it | `[E, 2E)` plus a delay, counted down |
//! | network | whatever was ever sent may arrive at any time, often or never | whole; a campaign ends before the next begins |
//! | starts from | a cluster in service | every combination of timers, promises, logs and terms |
//! | property | nothing bad in any state | a countdown never runs out without a leader |
//!
//! What `storm` allows at any time covers every adaptive timeout, every change of it, every rank
//! and every delay: they only choose *when* a member does what it may do anyway.
//!
//! Neither models clock drift, changes of membership, learners, log contents, snapshots, reads
//! confirmed by a round of heartbeats, or the chance of split votes.
//!
//! Each [`Defect`] switches one rule off. A test per defect shows that the properties notice.

pub mod calm;
mod defect;
pub mod storm;
mod words;

pub use defect::Defect;
pub use words::{Id, MEMBERS, PROMISE_MAX, QUORUM, Set, Term};
