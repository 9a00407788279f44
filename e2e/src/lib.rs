//! What the tests of the whole and the demo share: real processes, a real Kubernetes, real
//! clients, and faults.
//!
//! - [`bare`]: nodes as processes of this machine, formed into a cluster by flags.
//! - [`kube`], [`pods`], [`members`]: a cluster that the operator runs, its faults, and what
//!   its members say over time.
//! - [`proxy`], [`slowfs`]: faults of the network and of disks, shared with the benchmarks as is all
//!   of [`raftery_rig`]. [`peer_proxy`]: of what peers say.
//! - [`writer`], [`etcd`], [`mongo`]: the clients' side.
//! - [`recorder`], [`linear`]: clients that record what they see, and whether that was right.
//! - [`environment`]: where programs are found. [`report`], [`wait`]: time.
//!
//! What is asserted hard is safety, read from histories. Times are reported with their
//! median and fail only at a multiple ([`report::Figure`]). Errors are `anyhow` here, unlike
//! in the product: they are read by people, and nobody matches on them.

pub use raftery_rig::{http, ports, process, proxy, slowfs, wait};

pub mod admin;
pub mod bare;
pub mod environment;
pub mod etcd;
pub mod kube;
pub mod linear;
pub mod members;
pub mod mongo;
pub mod outcome;
pub mod peer_proxy;
pub mod pods;
pub mod recorder;
pub mod report;
pub mod writer;
