//! The operator's notes of intent, and how each step changes them.

use k8s_openapi::jiff::Timestamp;

use super::{Disk, Slowness, Step};
use crate::api::MemberPhase;
use crate::ids::{ClusterId, Incarnation, MemberId};

/// How long a begun replacement counts against the hourly budget.
pub(crate) const BUDGET_SECONDS: i64 = 3600;

/// What the operator wrote down: intentions and latches, kept in the status.
///
/// Invariants:
/// - an ID appears once
/// - `founded` never goes back to false
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The cluster was complete once; it is never founded again.
    pub founded: bool,
    /// The cluster that these notes are about.
    pub cluster_id: Option<ClusterId>,
    /// Members: meant, present or on their way out.
    pub members: Vec<MemberNote>,
    /// When replacements were begun.
    pub replacements: Vec<Timestamp>,
    /// Leader and term as last seen, and since when.
    pub leadership: Option<Leadership>,
    /// The member that is being replaced while it lives, until it is out of the configuration.
    pub swap: Option<SwapNote>,
}

/// A member that fails slowly, and the ordinal where the one that takes its vote is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwapNote {
    /// The slow member.
    pub id: MemberId,
    /// Its ordinal.
    pub ordinal: u32,
    /// The ordinal beyond those that the spec asks for.
    pub extra: u32,
    /// When it was begun.
    pub since: Timestamp,
}

/// A leader's reign, as the operator has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Pod of the leader.
    pub pod: String,
    /// Its term.
    pub term: u64,
    /// When the operator first saw it.
    pub since: Timestamp,
}

/// What is noted of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberNote {
    /// Its ID.
    pub id: MemberId,
    /// Its place.
    pub ordinal: u32,
    /// The disk that the ID is for.
    pub incarnation: Incarnation,
    /// The claim that holds the disk; empty if unknown.
    pub claim_uid: String,
    /// Where the operator stands with it.
    pub phase: MemberPhase,
    /// Since when.
    pub since: Timestamp,
    /// How slow it was seen.
    pub slowness: Slowness,
}

impl Notes {
    /// The note of a member.
    pub fn member(&self, id: MemberId) -> Option<&MemberNote> {
        self.members.iter().find(|note| note.id == id)
    }

    /// Replacements that count against the budget at `now`.
    pub fn replacements_within_the_hour(&self, now: Timestamp) -> usize {
        self.replacements
            .iter()
            .filter(|at| is_recent(**at, now))
            .count()
    }

    /// The notes after a step. `draw` gives random non-zero numbers for new IDs.
    ///
    /// Steps that note nothing leave them as they are.
    pub fn after(&self, step: &Step, now: Timestamp, draw: &mut dyn FnMut() -> u64) -> Self {
        let mut next = self.clone();
        match step {
            Step::NoteFounding { disks } => {
                next.cluster_id = ClusterId::from_wire(draw());
                next.members = disks
                    .iter()
                    .map(|disk| MemberNote {
                        id: MemberId(draw().max(1)),
                        ordinal: disk.ordinal,
                        incarnation: disk.incarnation,
                        claim_uid: disk.claim_uid.clone(),
                        phase: MemberPhase::Joining,
                        since: now,
                        slowness: Slowness::default(),
                    })
                    .collect();
            }
            Step::Adopt {
                cluster_id,
                members,
                founded,
            } => {
                if next.cluster_id != Some(*cluster_id) {
                    next.members.clear();
                    next.swap = None;
                }
                next.cluster_id = Some(*cluster_id);
                next.founded |= *founded;
                for member in members {
                    next.members.retain(|note| note.id != member.id);
                    next.members.push(member.clone());
                }
            }
            Step::AbandonFounding {
                cluster_id,
                members,
            } => {
                next.cluster_id = Some(*cluster_id);
                next.members = members.clone();
            }
            Step::NoteJoin { disk } => next.members.push(MemberNote {
                id: MemberId(draw().max(1)),
                ordinal: disk.ordinal,
                incarnation: disk.incarnation,
                claim_uid: disk.claim_uid.clone(),
                phase: MemberPhase::Joining,
                since: now,
                slowness: Slowness::default(),
            }),
            Step::NoteRemoval { id, reason, .. } => {
                next.set_phase(*id, MemberPhase::Removing, now);
                if reason.is_replacement() {
                    next.count_replacement(now);
                }
            }
            Step::NoteSwap {
                id, ordinal, extra, ..
            } => {
                next.swap = Some(SwapNote {
                    id: *id,
                    ordinal: *ordinal,
                    extra: *extra,
                    since: now,
                });
                next.count_replacement(now);
            }
            Step::CancelSwap { extra, .. } => {
                next.swap = None;
                next.throw_away(extra.as_ref(), now, draw);
            }
            Step::CancelRemoval { id, .. } => next.set_phase(*id, MemberPhase::Active, now),
            Step::Forget { id, .. } => next.members.retain(|note| note.id != *id),
            Step::LatchFounded => next.founded = true,
            Step::Assign { .. }
            | Step::AddLearner { .. }
            | Step::Promote { .. }
            | Step::Remove { .. }
            | Step::Swap { .. }
            | Step::Transfer { .. }
            | Step::Open
            | Step::Configure { .. }
            | Step::DeleteClaim { .. }
            | Step::DeletePod { .. } => {}
        }
        next.members
            .sort_by_key(|note| (note.ordinal, note.since, note.id));
        next
    }

    fn count_replacement(&mut self, now: Timestamp) {
        self.replacements.retain(|at| is_recent(*at, now));
        self.replacements.push(now);
    }

    /// A disk that shall hold no member after all goes as one that held one.
    fn throw_away(&mut self, disk: Option<&Disk>, now: Timestamp, draw: &mut dyn FnMut() -> u64) {
        let Some(disk) = disk else { return };
        self.members.retain(|note| note.ordinal != disk.ordinal);
        self.members.push(MemberNote {
            id: MemberId(draw().max(1)),
            ordinal: disk.ordinal,
            incarnation: disk.incarnation,
            claim_uid: disk.claim_uid.clone(),
            phase: MemberPhase::Removing,
            since: now,
            slowness: Slowness::default(),
        });
    }

    /// Changes a member's phase, and when it last changed.
    pub(crate) fn set_phase(&mut self, id: MemberId, phase: MemberPhase, now: Timestamp) {
        for note in self
            .members
            .iter_mut()
            .filter(|note| note.id == id && note.phase != phase)
        {
            note.phase = phase;
            note.since = now;
        }
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.as_second().saturating_sub(at.as_second()) < BUDGET_SECONDS
}
