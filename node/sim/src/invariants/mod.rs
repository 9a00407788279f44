//! Properties that must hold, one a file, fed with what is observed. Sections are those of
//! Ongaro's thesis.

mod election_safety;
mod leader_completeness;
mod linearizable_reads;
mod log_matching;
mod no_lost_write;
mod state_machine_safety;

use raftery_raft::{Entry, LogId, LogIndex, MemberId, ReadId, Term};

use crate::machine::{Machine, WriteId};

/// Something that was seen.
#[derive(Debug)]
pub(crate) enum Observation<'a> {
    /// A member took office; its log as it was then.
    Elected {
        member: MemberId,
        term: Term,
        log: &'a [Entry],
    },
    /// A member's log has `entries` after `before` now.
    Written {
        member: MemberId,
        before: LogId,
        entries: &'a [Entry],
    },
    /// A member, in `term`, was handed entries to apply.
    Applied {
        member: MemberId,
        term: Term,
        entries: &'a [Entry],
    },
    /// A member started: its state machine is empty.
    Started { member: MemberId },
    /// A client was told that its write is safe.
    Acknowledged { write: WriteId, id: LogId },
    /// A client asks for a read.
    ReadAsked { read: ReadId },
    /// A read is served at `index`.
    ReadServed {
        member: MemberId,
        read: ReadId,
        index: LogIndex,
    },
    /// All is healed and quiet: a member's state machine.
    Converged {
        member: MemberId,
        machine: &'a Machine,
    },
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
            Box::<election_safety::ElectionSafety>::default(),
            Box::<log_matching::LogMatching>::default(),
            Box::<leader_completeness::LeaderCompleteness>::default(),
            Box::<state_machine_safety::StateMachineSafety>::default(),
            Box::<linearizable_reads::LinearizableReads>::default(),
            Box::<no_lost_write::NoLostWrite>::default(),
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
