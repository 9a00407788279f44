//! Deliberate mistakes in the rules.

/// One rule done wrong; the models are run with none or one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// A member votes though it has promised not to.
    GrantDespitePromise,
    /// The leader goes on reading on its lease after it told someone to campaign.
    LeaseAfterTimeoutNow,
    /// The lease rests on the timeout that the leader is configured with, not on what the follower,
    /// whose timeout is its own, has promised.
    LeaseOnConfiguredTimeout,
    /// A restarted member votes and campaigns at once.
    NoWaitAfterStart,
    /// A heartbeat that the follower didn't count, so for which it promised nothing, extends the
    /// lease as if it had.
    UncountedExtendsLease,
    /// A restarted member has forgotten for whom it voted.
    ForgetsVote,
    /// A voter doesn't look at the candidate's log.
    VotesForStaleLog,
    /// A voter refuses candidates that are ranked behind itself.
    RankVetoes,
}
