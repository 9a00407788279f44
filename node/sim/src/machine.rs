//! The state machine: registers.

use raftery_raft::{Entry, LogIndex};

use crate::clients::{Key, Value, Write, WriteId};

/// Volatile: rebuilt from the log at each start.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) applied: LogIndex,
    pub(crate) registers: [Value; Key::COUNT],
    /// Which write each entry held, from index 1 on.
    pub(crate) writes: Vec<Option<WriteId>>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            applied: LogIndex(0),
            registers: [None; Key::COUNT],
            writes: Vec::new(),
        }
    }

    /// Gives the write that the entry holds, and whether it took effect.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Option<(Write, bool)> {
        self.applied = entry.id.index;
        let write = Write::of(&entry.payload);
        self.writes.push(write.map(|write| write.id));
        let write = write?;
        let register = &mut self.registers[write.key.place()];
        let takes_effect = write.expected.is_none_or(|expected| expected == *register);
        if takes_effect {
            *register = Some(write.id);
        }
        Some((write, takes_effect))
    }
}
