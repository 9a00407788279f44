//! Messages under way and links that are cut.

use std::collections::{BTreeSet, VecDeque};

use raftery_raft::{MemberId, PeerMessage};

/// First in, first out; a cut link loses what would cross it.
#[derive(Default)]
pub(crate) struct Network {
    queue: VecDeque<PeerMessage>,
    cut: BTreeSet<(MemberId, MemberId)>,
}

impl Network {
    pub(crate) fn send(&mut self, message: PeerMessage) {
        self.queue.push_back(message);
    }

    /// The next message and whether it arrives.
    pub(crate) fn next(&mut self) -> Option<(PeerMessage, bool)> {
        let message = self.queue.pop_front()?;
        let arrives = !self.cut.contains(&(message.from, message.to));
        Some((message, arrives))
    }

    /// Both directions.
    pub(crate) fn cut(&mut self, a: MemberId, b: MemberId) {
        self.cut.insert((a, b));
        self.cut.insert((b, a));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }
}
