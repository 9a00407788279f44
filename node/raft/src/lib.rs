//! Raft as a value: inputs and time go in, effects come out.
//!
//! **Owns** the algorithm: terms, votes, the log, commitment, membership, linearizable reads,
//! leadership and its transfer. **Never** reads a clock, a disk, a socket or a thread's source
//! of chance; never waits. Same seed and same inputs give the same outputs.
//!
//! ```text
//!   tick, step, propose, propose_conf_change,          ┌──────┐   take_ready → Ready {
//!   read_index, transfer_leader,             ────────► │ Raft │ ────►  messages   → peers
//!   on_persisted ◄── disk                              └──────┘        persist    → disk
//!   on_applied   ◄── state machine                                     committed,
//!   on_installed, on_rolled_back,
//!   campaign                                                           install    → state machine
//!   on_snapshot_sent ◄── stream to a peer                              snapshots  → streams
//!   compact                                                            reads, status }
//! ```
//!
//! After each burst of inputs the owner calls [`dispatch`], which hands every [`Ready`] to a
//! [`Host`]; the server and the simulator run this same loop.
//!
//! The semantics are those of etcd/raft 3.7: PreVote (thesis §9.6), CheckQuorum (§6.2),
//! pipelined replication, learners (§4.2.1), joint consensus (§4.3), ReadIndex (§6.4), leases on
//! promises (after §6.4.1), transfer (§3.10), asynchronous storage (§10.2.1). What promises
//! durability leaves only after [`Raft::on_persisted`]: module `raft::persist` says how. Of the log
//! only the tail is kept; who lacks more gets a snapshot of the state machine: module
//! `raft::snapshot`.

mod config;
mod error;
mod lease;
mod limits;
mod log;
mod membership;
mod message;
mod promise;
mod quorum;
mod raft;
mod ready;
mod role;
mod status;
mod tracker;
mod types;

pub use config::{RaftConfig, Recovered, Timers};
pub use error::{ConfChangeError, ProposeError, ReadError, StepError, TransferError};
pub use limits::{
    APPLY_BYTES_IN_FLIGHT_MAX, DISTRUST_DOUBLINGS_MAX, DISTRUST_FORGOTTEN_AFTER,
    INFLIGHT_BYTES_MAX, INFLIGHT_MESSAGES_MAX, LEASE_ROUNDS_MAX, MAX_CLOCK_DRIFT_PERCENT,
    MESSAGE_BYTES_MAX, PERSIST_BATCH_BYTES_MAX, PERSIST_BATCHES_IN_FLIGHT_MAX, PROMISE_MAX,
    READS_WAITING_MAX, STALLED_MIN, UNCOMMITTED_BYTES_MAX,
};
pub use membership::Membership;
pub use message::{Heartbeat, MessageBody, PeerMessage, SnapshotMeta};
pub use raft::Raft;
pub use ready::{Host, PersistBatch, ReadGrant, Ready, dispatch};
pub use status::{PeerProgress, PeerState, RoleKind, Rollback, Status};
pub use types::{
    ConfChange, Entry, HardState, Instant, LogId, LogIndex, MemberChange, MemberId, Payload,
    PersistSeq, ReadId, Term,
};
