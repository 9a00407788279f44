//! Raft from outside: inputs in, effects compared. No threads, sleeps, sockets; the only files
//! are the transcripts under `testdata/`, written anew with `RAFTERY_REWRITE=1`.

mod cluster;
mod guard;
mod member;
mod network;
mod random;
mod ready_follower;
mod ready_leader;
mod ready_snapshot;
mod ready_standing;
mod ready_timers;
mod stories_disks;
mod stories_elections;
mod stories_joint;
mod stories_leases;
mod stories_membership;
mod stories_reads;
mod stories_replication;
mod stories_snapshots;
mod text;
