//! Deliberate defects of the product, to show that the simulator finds them.
//!
//! **Owns** the list of defects and the switch. A place in the product that has one asks
//! [`is_on`], which is the constant `false` unless everything is compiled with
//! `--cfg raftery_defects`: that is a flag of a separate build (`make mutants`) and no Cargo
//! feature, so that no selection of packages can switch it on in a product.
//!
//! While a defect is on, the product's own assertions about consistency are off
//! ([`are_assertions_off`]): what has to find the defect is what the simulator sees from outside.

macro_rules! defects {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A mistake that an implementer of Raft could make, or that somebody made.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Defect {
            $($(#[$doc])* $name,)*
        }

        impl Defect {
            /// All of them: the simulator has to find each.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

defects! {
    /// The log acknowledges batches that it hasn't synced.
    AcknowledgeBeforeSync,
    /// An entry is stamped with the batch before the one that wrote it: an acknowledgement of
    /// what was overwritten counts for it (the ABA case).
    StampOfOlderBatch,
    /// A leader counts itself for entries that its own disk may still lose.
    CountOwnUnsynced,
    /// A vote is answered before it is durable.
    AnswerVoteBeforeSync,
    /// Recovery forgets whom the member voted for.
    ForgetVote,
    /// Repair of a damaged log goes by the vote in what could still be read, not by the newest.
    ForgetVoteOfDamaged,
    /// Recovery keeps the entries of a batch that stand before the first bad one.
    RecoverHalfBatch,
    /// Recovery takes damage to acknowledged data for a torn tail.
    CutCorruptMiddle,
    /// A batch vouches for what was written before it and isn't durable.
    VouchForUnsynced,
    /// A second vote in one term.
    VoteTwice,
    /// A vote for a candidate whose log is behind.
    VoteForStaleLog,
    /// An answer to a pre-vote counts as a vote.
    CountPreVotes,
    /// Learners count for commitment.
    CountLearners,
    /// An entry of an earlier term is committed because a majority holds it (figure 3.7).
    CommitEarlierTerm,
    /// Heartbeats tell a follower to commit what it isn't known to hold.
    CommitBeyondTaken,
    /// Entries are applied before they are committed.
    ApplyUncommitted,
    /// A follower takes entries without the one before them.
    AppendWithoutMatch,
    /// An append replaces what is behind it though nothing in it is new.
    CutOnOldAppend,
    /// Messages of earlier terms are taken.
    TakeOldTerms,
    /// Messages for another receiver are taken.
    TakeOthersMessages,
    /// A change of membership is proposed while another one is pending.
    TwoChangesAtOnce,
    /// A leader names a read's index before it knows what is committed.
    ReadBeforeOwnCommit,
    /// A leader answers reads without asking whether it still leads.
    ReadUnconfirmed,
    /// A leader takes any sign of life of a member for a promise from then on.
    LeaseWithoutPromise,
    /// A member campaigns and votes though it has promised not to.
    BreakPromise,
    /// A read is granted at the time that the process knew before it was suspended.
    LeaseAtOldTime,
    /// A leader keeps its lease after it told another member to campaign.
    LeaseAfterTimeoutNow,
    /// A member waits for as long as its last leader wished before it campaigns, however long.
    ObeyAnyWish,
    /// A member campaigns and votes at once after a start, whatever it promised before.
    NoWaitAfterStart,
    /// While joint, a majority of the new half is enough to commit.
    CommitWithNewHalf,
    /// While joint, a majority of the old half is enough to commit.
    CommitWithOldHalf,
    /// While joint, a majority of the new half is enough to be elected.
    ElectWithNewHalf,
    /// While joint, a majority of the old half is enough to be elected.
    ElectWithOldHalf,
    /// A member that lost a part of its log votes as if that was all of it.
    VoteWhileRepairing,
    /// A repaired log doesn't say what has to be reached again.
    ForgetRepair,
    /// A snapshot is accepted before the log says durably that it begins behind it.
    AnswerSnapshotBeforeSync,
    /// The log isn't told that a snapshot took the place of its entries.
    ForgetBase,
    /// A received snapshot isn't made durable before it takes the state's place.
    SkipSnapshotSync,
    /// The log is cut behind what the store has applied, durable or not.
    CutBeyondDurable,
    /// A rewrite drops tombstones that still bury something older.
    DropTombstone,
    /// The store takes the entry whose frame a crash tore.
    RecoverHalfEntry,
}

#[cfg(raftery_defects)]
mod switch {
    use std::cell::Cell;

    use crate::Defect;

    thread_local! {
        static ON: Cell<Option<Defect>> = const { Cell::new(None) };
    }

    /// Whether this thread's code has the defect.
    #[must_use]
    pub fn is_on(defect: Defect) -> bool {
        ON.get() == Some(defect)
    }

    /// Whether assertions that would find a defect from inside are off.
    #[must_use]
    pub fn are_assertions_off() -> bool {
        ON.get().is_some()
    }

    /// Runs `work` with the defect, on this thread.
    pub fn with<T>(defect: Defect, work: impl FnOnce() -> T) -> T {
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                ON.set(None);
            }
        }
        ON.set(Some(defect));
        let _off = Off;
        work()
    }
}

#[cfg(not(raftery_defects))]
mod switch {
    use crate::Defect;

    /// Whether the code has the defect: never in this build.
    #[must_use]
    #[inline(always)]
    pub const fn is_on(_defect: Defect) -> bool {
        false
    }

    /// Whether assertions that would find a defect from inside are off: never in this build.
    #[must_use]
    #[inline(always)]
    pub const fn are_assertions_off() -> bool {
        false
    }
}

pub use switch::*;
