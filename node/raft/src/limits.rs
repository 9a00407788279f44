//! Every queue and batch has a limit, and each limit has a name.
//!
//! Bytes are payload bytes and 32 for each entry. A single entry beyond a limit of bytes still
//! passes, alone.

/// Bytes of entries in one append. With defects in the code it is small, so that messages and what
/// a leader has to send differ often: figure 3.7 of the thesis needs an entry that arrives and the
/// one behind it that doesn't.
pub const MESSAGE_BYTES_MAX: usize = if cfg!(raftery_defects) { 128 } else { 1 << 20 };

/// Appends sent to one follower and not answered yet. Few with defects in the code, where they are
/// small: each that is lost has all behind it sent again.
pub const INFLIGHT_MESSAGES_MAX: usize = if cfg!(raftery_defects) { 4 } else { 256 };

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
