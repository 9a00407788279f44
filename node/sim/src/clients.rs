//! What clients did and were told.

use raftery_raft::ReadId;

use crate::machine::WriteId;

/// Names for writes and reads, and how many were answered.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    next_write: u64,
    next_read: u64,
    pub(crate) acknowledged: u64,
    pub(crate) reads: u64,
}

impl Clients {
    pub(crate) fn next_write(&mut self) -> WriteId {
        self.next_write += 1;
        WriteId(self.next_write)
    }

    pub(crate) fn next_read(&mut self) -> ReadId {
        self.next_read += 1;
        ReadId(self.next_read)
    }
}
