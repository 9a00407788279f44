//! Processes, links and disks of this machine that fail when they are told to: what the tests of
//! the whole and the benchmarks share. It knows nothing of Raftery, so that etcd can have the same
//! faults, and little else, so that the benchmarks needn't build clients of Kubernetes.
//!
//! - [`process`]: servers that don't outlive who started them; [`ports`] for them.
//! - [`proxy`]: links between them that are slow, lose, are held or cut, one way or both.
//! - [`slowfs`]: disks that are slow, fail, fill up or freeze; the program of that name serves them.
//! - [`wait`], [`http`]: until something is so, and what a server says of itself.

pub mod http;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod slowfs;
pub mod wait;
