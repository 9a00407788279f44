//! Every queue and batch has a limit, and each limit has a name.
//!
//! Bytes are payload bytes and 32 for each entry. A single entry beyond a limit of bytes still
//! passes, alone.

use std::time::Duration;

/// Bytes of entries in one append.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Appends sent to one follower and not answered yet. As many as a busy leader sends in the two
/// seconds that a follower with syncs of one second needs: with fewer, that follower's clients
/// would wait for its disk, though what they wrote is committed.
pub const INFLIGHT_MESSAGES_MAX: usize = 16_384;

/// Bytes of entries sent to one follower and not answered yet.
pub const INFLIGHT_BYTES_MAX: usize = 16 << 20;

/// Bytes of payload that a leader has in its log beyond its commit index; further proposals are
/// refused.
pub const UNCOMMITTED_BYTES_MAX: usize = 64 << 20;

/// Batches handed out to be persisted and not acknowledged yet. Past it they grow instead.
pub const PERSIST_BATCHES_IN_FLIGHT_MAX: u64 = 32;

/// Bytes of entries in one batch to persist.
pub const PERSIST_BATCH_BYTES_MAX: usize = 4 << 20;

/// Bytes of entries handed out to be applied and not applied yet.
pub const APPLY_BYTES_IN_FLIGHT_MAX: usize = 16 << 20;

/// The longest promise of a follower to its leader, and the wait of a member after its start, in
/// which promises of its earlier life may hold. A constant of the protocol: all members share it.
pub const PROMISE_MAX: Duration = Duration::from_secs(2);

/// A leader that has applied nothing for twice a follower's election timeout, or for so long,
/// though something waits, isn't counted on any more.
pub const STALLED_MIN: Duration = Duration::from_secs(1);

/// How often that bound doubles at most: to 64 times its least.
pub const DISTRUST_DOUBLINGS_MAX: u32 = 6;

/// The bound falls back after so long without an election that distrust began.
pub const DISTRUST_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// By how much the clocks of two members may drift apart while a promise holds, in percent.
pub const MAX_CLOCK_DRIFT_PERCENT: u32 = 1;

/// Heartbeat rounds whose time of sending a leader remembers.
pub const LEASE_ROUNDS_MAX: usize = 128;

/// Reads that wait for the leader to be confirmed: on a leader those of all members, on a
/// follower its own.
pub const READS_WAITING_MAX: usize = 1 << 16;
