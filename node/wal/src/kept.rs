//! Which segments the log consists of, and which of them a cut may release.

use std::collections::VecDeque;

use raftery_raft::{LogId, LogIndex};

/// Where a segment begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Begin {
    number: u64,
    /// Where the log ended when the segment began: what is at or below it needs no earlier
    /// segment. Zero when a reset in it or behind it makes all earlier ones useless.
    needs_above: LogIndex,
}

/// The segments of the log, ascending; the last is being written.
#[derive(Clone, Default, Debug)]
pub(crate) struct Kept(VecDeque<Begin>);

impl Kept {
    /// A segment got its leading seal, which says that the log ends at `last`.
    pub(crate) fn push(&mut self, number: u64, last: LogId) {
        let needs_above = last.index;
        self.0.push_back(Begin {
            number,
            needs_above,
        });
    }

    /// A reset was written to the newest segment: whoever starts reading at any of these comes
    /// by it, and forgets what was before.
    pub(crate) fn reset(&mut self) {
        for begin in &mut self.0 {
            begin.needs_above = LogIndex(0);
        }
    }

    /// The lowest segment, if nothing above `up_to` needs it.
    ///
    /// `up_to` is committed, but a seal at or below it may name an entry that was replaced
    /// later, before it was committed. Recovery then comes by the replacement and takes that
    /// one's term ([`crate::replay`]).
    pub(crate) fn releasable(&self, up_to: LogIndex) -> Option<u64> {
        // The second must be a good first one: a crash may come before the third is that.
        let is_free = self.0.get(1).is_some_and(|next| next.needs_above <= up_to);
        is_free.then(|| self.0[0].number)
    }

    /// The lowest is gone.
    pub(crate) fn pop(&mut self) {
        self.0.pop_front();
    }

    /// The number of the lowest one.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.0.front().map(|begin| begin.number)
    }
}
