//! The same inputs for a cluster of ours and a cluster of raft-rs (TiKV, after etcd/raft).
//!
//! A schedule is drawn from a seed: someone campaigns, a leader takes a proposal or a change of
//! membership (of one member, or of two by way of a joint configuration), hands over or beats, a
//! member restarts, or a link delivers what is under way on it: in order, in reverse, twice, or not at all. After each input
//! both clusters must have the same terms, votes and roles; once everything under way is
//! delivered and a leader has sent again what was lost, the same logs, entry by entry, the same
//! commit indexes and the same configurations.
//!
//! What differs by design, and how it is brought together:
//!
//! - Timers: neither has any here. Ours gets a clock that only moves when something is meant to
//!   happen; raft-rs gets no ticks. Elections are explicit and without pre-votes. Who is asked
//!   for a vote hasn't heard a leader for long, unless everyone has just heard it.
//! - Each has its own messages. Links, not messages, are what a schedule decides about.
//! - raft-rs sends more empty appends, so that a leader whose term is over hears of it earlier; ours
//!   tells candidates, too. Such answers arrive only while leaders beat and nobody campaigns.
//! - raft-rs says in votes what is committed, and moves on with it; ours doesn't. Its votes are
//!   delivered without.
//! - Ours tells the next leader to campaign before it tells what is committed, raft-rs after it:
//!   ours is reordered.
//! - raft-rs sends again what was lost in more situations: nothing is lost between a leader and the
//!   member to whom it hands over, and nobody campaigns while a log is ahead in one cluster.
//! - Ours takes what is new of an append that begins below its commit index, raft-rs has it sent
//!   again: its appends are delivered without what is committed.
//! - Ours probes who refuses what it accepted, since its disk may have gone back; raft-rs takes
//!   that for an old answer: ours doesn't get it.
//! - Ours persists the commit index lazily; a restart gives it back what it knew.
//! - A leader of ours that hands over doesn't leave a joint configuration, one of raft-rs does:
//!   nobody hands over meanwhile.
//! - A removed leader of ours steps down, one of raft-rs stays; nobody who is being removed is
//!   elected here, nobody who was removed is asked for a vote (ours gives it
//!   sooner), and what becomes of removed members isn't compared.

mod ours;
mod schedule;
mod theirs;

use std::collections::BTreeSet;

use schedule::Schedule;

const SCHEDULES: u64 = 2000;
const STEPS: usize = 400;

/// What is compared of a member after each input.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Standing {
    term: u64,
    vote: u64,
    role: Role,
}

/// What is compared of a member once nothing is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Record {
    commit: u64,
    members: Members,
    /// From index 1 on.
    log: Vec<(u64, Content)>,
}

/// The configuration, as far as it is known to be committed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Members {
    voters: BTreeSet<u64>,
    /// Of the old half.
    outgoing: BTreeSet<u64>,
    learners: BTreeSet<u64>,
    learners_next: BTreeSet<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Follower,
    Candidate,
    Leader,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Content {
    Blank,
    Data(u64),
    Change(Change),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Add(u64),
    Promote(u64),
    Remove(u64),
    /// The first becomes a voter, the second is one no more.
    Swap(u64, u64),
    /// The first becomes a voter, the second a learner.
    Demote(u64, u64),
    /// Both become voters.
    Both(u64, u64),
    /// The old half of a joint configuration is left.
    Leave,
}

#[test]
fn ours_and_raft_rs_agree_after_every_input() {
    let only: Option<u64> = std::env::var("SEED")
        .ok()
        .map(|seed| seed.parse().expect("SEED is a number"));
    let mut sum = schedule::Counts::default();
    for seed in only.map_or(1..=SCHEDULES, |seed| seed..=seed) {
        let mut schedule = Schedule::new(seed, only.is_some());
        schedule.run(STEPS);
        sum.add(&schedule.counts);
    }
    println!("{sum:?}");
    if only.is_none() {
        assert!(sum.all_happened(), "{sum:?}");
    }
}
