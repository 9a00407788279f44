//! Which entry was applied last.

use std::fmt;

/// Names an entry of the Raft log. The store stands alone, so this is its own type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct AppliedId {
    /// The entry's term.
    pub term: u64,
    /// The entry's index; 0: nothing was applied.
    pub index: u64,
}

impl fmt::Display for AppliedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { term, index } = self;
        write!(f, "{index} of term {term}")
    }
}
