//! Nothing but tests, which compare `raftery-raft` with the crate `raft` (TiKV's raft-rs): see
//! `tests/differential`. A crate of its own, so that no product is ever built with the other one.
