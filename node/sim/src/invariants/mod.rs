//! Properties that must hold, one a file, fed with what is observed. Sections are those of
//! Ongaro's thesis.

mod acknowledged_is_recovered;
mod durable_promises;
mod election_safety;
mod leader_completeness;
mod linearizability;
mod log_matching;
mod no_lost_write;
mod no_veto;
mod state_is_replayed;
mod state_machine_safety;
mod terms_and_votes;
mod unexpired_promises;

use std::time::Duration;

use raftery_raft::{Entry, HardState, LogId, LogIndex, MemberId, ReadId, Term};

use crate::clients::{Key, Value, Write, WriteId};
use crate::machine::Machine;
use crate::member::Running;
use crate::shadow::Shadow;

/// Something that was seen.
#[derive(Debug)]
pub(crate) enum Observation<'a> {
    /// A member started. The verdict on what its disk gave back.
    Started {
        member: MemberId,
        hard_state: &'a HardState,
        /// What the state machine holds.
        applied: LogIndex,
        verdict: &'a Result<(), String>,
    },
    /// A member's log has `entries` after `before` now, or nothing new if there are none.
    Written {
        member: MemberId,
        hard_state: &'a HardState,
        before: LogId,
        entries: &'a [Entry],
    },
    /// A member took office; its log as it was then.
    Elected {
        member: MemberId,
        term: Term,
        log: &'a Running,
    },
    /// A member made a promise; what its disk has acknowledged.
    Promised {
        member: MemberId,
        promise: Promise,
        shadow: &'a Shadow,
    },
    /// A member, in `term`, was handed entries to apply.
    Applied {
        member: MemberId,
        term: Term,
        entries: &'a [Entry],
    },
    /// A client asks for a write.
    WriteAsked { write: Write },
    /// A client was told that its write is safe, and whether the comparison held.
    WriteAnswered {
        write: WriteId,
        id: LogId,
        took_effect: bool,
    },
    /// A client asks for a read.
    ReadAsked { read: ReadId },
    /// A read is served from the state as of `at`.
    ReadAnswered {
        member: MemberId,
        read: ReadId,
        key: Key,
        at: LogIndex,
        value: Value,
    },
    /// A leader of this term grants a read by its lease.
    ReadGranted {
        member: MemberId,
        read: ReadId,
        term: Term,
    },
    /// A member's state machine, at a time when it matters.
    State {
        member: MemberId,
        machine: &'a Machine,
    },
    /// A snapshot took the state machine's place.
    Installed { member: MemberId, last: LogId },
    /// All is healed, and for so long nobody has led.
    Healed { leaderless: Duration },
    /// All is healed and quiet, and a member has applied up to here.
    Converged { member: MemberId, applied: LogIndex },
}

/// What others build on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Promise {
    /// The vote of this term.
    Vote { term: Term, to: MemberId },
    /// The log up to here.
    Holds(LogId),
}

/// One property.
pub(crate) trait Invariant: std::fmt::Debug {
    /// What it says.
    fn name(&self) -> &'static str;

    /// Looks at an observation; an `Err` says what contradicts the property.
    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String>;
}

/// All properties.
#[derive(Debug)]
pub(crate) struct Invariants(Vec<Box<dyn Invariant>>);

impl Default for Invariants {
    fn default() -> Self {
        Self(vec![
            Box::<acknowledged_is_recovered::AcknowledgedIsRecovered>::default(),
            Box::<durable_promises::DurablePromises>::default(),
            Box::<election_safety::ElectionSafety>::default(),
            Box::<leader_completeness::LeaderCompleteness>::default(),
            Box::<linearizability::Linearizability>::default(),
            Box::<log_matching::LogMatching>::default(),
            Box::<no_lost_write::NoLostWrite>::default(),
            Box::<no_veto::NoVeto>::default(),
            Box::<state_is_replayed::StateIsReplayed>::default(),
            Box::<state_machine_safety::StateMachineSafety>::default(),
            Box::<terms_and_votes::TermsAndVotes>::default(),
            Box::<unexpired_promises::UnexpiredPromises>::default(),
        ])
    }
}

impl Invariants {
    /// The first property that is contradicted, and by what.
    pub(crate) fn observe(
        &mut self,
        observation: &Observation<'_>,
    ) -> Result<(), (&'static str, String)> {
        for invariant in &mut self.0 {
            invariant
                .observe(observation)
                .map_err(|what| (invariant.name(), what))?;
        }
        Ok(())
    }
}
