//! (contract; the algorithm is being written)
use std::time::Duration;
use crate::*;

/// Settings of one member; they may differ between members.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This member.
    pub id: MemberId,
    /// How often a leader beats.
    pub heartbeat_interval: Duration,
    /// A follower campaigns after a random time in `[election_timeout, 2 * election_timeout)`
    /// without a leader. At least five heartbeats.
    pub election_timeout: Duration,
    /// Seed of the election jitter.
    pub seed: u64,
}

/// What was found on disk.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// The whole log, from index 1.
    pub entries: Vec<Entry>,
}

/// The algorithm.
#[derive(Debug)]
pub struct Raft;

#[expect(unused_variables, clippy::unimplemented)]
impl Raft {
    /// Starts from what was found on disk.
    pub fn new(now: Instant, config: RaftConfig, recovered: Recovered) -> Self { unimplemented!() }
    /// Time passed. Call at least every half heartbeat interval.
    pub fn tick(&mut self, now: Instant) { unimplemented!() }
    /// When `tick` has something to do at the latest.
    pub fn next_deadline(&self) -> Instant { unimplemented!() }
    /// A message arrived.
    pub fn step(&mut self, now: Instant, message: PeerMessage) -> Result<(), StepError> { unimplemented!() }
    /// Appends to the log.
    pub fn propose(&mut self, now: Instant, payload: Payload) -> Result<LogId, ProposeError> { unimplemented!() }
    /// Proposes a change of membership; `expected` fences callers that planned against another one.
    pub fn propose_conf_change(&mut self, now: Instant, change: ConfChange, expected: Option<LogIndex>) -> Result<LogId, ProposeError> { unimplemented!() }
    /// Asks for a linearizable read.
    pub fn read_index(&mut self, now: Instant, id: ReadId) -> Result<(), ReadError> { unimplemented!() }
    /// Hands leadership over.
    pub fn transfer_leader(&mut self, now: Instant, to: MemberId) -> Result<(), TransferError> { unimplemented!() }
    /// Everything up to `seq` is durable.
    pub fn on_persisted(&mut self, now: Instant, seq: PersistSeq) { unimplemented!() }
    /// The state machine has applied up to `index`.
    pub fn on_applied(&mut self, now: Instant, index: LogIndex) { unimplemented!() }
    /// Effects to carry out.
    pub fn take_ready(&mut self) -> Option<Ready> { unimplemented!() }
    /// A picture.
    pub fn status(&self) -> Status { unimplemented!() }
    /// Asserts the invariants.
    pub fn check_invariants(&self) { unimplemented!() }
}
