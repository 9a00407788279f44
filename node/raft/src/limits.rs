//! Every queue and batch has a limit, and each limit has a name.
//!
//! Bytes are payload bytes and 32 for each entry. A single entry beyond a limit of bytes still
//! passes, alone.

/// Bytes of entries in one append.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Appends sent to one follower and not answered yet.
pub const INFLIGHT_MESSAGES_MAX: usize = 256;

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

/// Reads that wait for the leader to be confirmed: on a leader those of all members, on a
/// follower its own.
pub const READS_WAITING_MAX: usize = 1 << 16;
