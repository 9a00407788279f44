//! What there is to know about members that can talk.

use std::ops::Range;

use crate::Term;

/// A member that is up and that the others can reach.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Member {
    /// Its election timeout, `E`.
    pub timeout: u8,
    /// What its timer is set to whenever it is reset.
    pub span: u8,
    /// When the timer fires.
    pub timer: u8,
    /// For how long it still ignores others for the leader it heard.
    pub hears: u8,
    /// For how long a promise or the wait after a start binds it. Nobody asks for a transfer in
    /// calm, so the two are the same.
    pub bound: u8,
    /// Its term.
    pub term: Term,
    /// Term of the last entry of its log.
    pub log: Term,
    /// Its place in the leader's order, 0 for the best.
    pub rank: u8,
    /// How often it campaigned because of a stalled leader (`k`).
    pub patience: u8,
}

impl Member {
    /// A member that could campaign at any moment.
    #[must_use]
    pub fn new(timeout: u8) -> Self {
        Self {
            timeout,
            span: timeout,
            timer: 0,
            hears: 0,
            bound: 0,
            term: Term(2),
            log: Term(1),
            rank: 0,
            patience: 0,
        }
    }

    /// Whether its timer fires now.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.timer == 0 && self.bound == 0
    }

    /// A draw from `[E, 2E)` and a delay up to `E`.
    #[must_use]
    pub fn spans(&self) -> Range<u8> {
        self.timeout..3 * self.timeout
    }
}

/// The members that can talk, and what is left of the time they have.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Those that may campaign.
    pub members: Vec<Member>,
    /// For how long the leader, which can talk to all of them, has applied nothing. `None`: nobody
    /// leads.
    pub stall: Option<u8>,
    /// Ticks until someone must have been elected.
    pub left: u8,
    /// Someone was.
    pub is_elected: bool,
}
