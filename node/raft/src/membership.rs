//! Who belongs to the cluster.

use std::collections::BTreeSet;

use crate::quorum::Quorum;
use crate::{ConfChange, ConfChangeError, LogIndex, MemberChange, MemberId};

/// Who belongs to the cluster, as of the committed configuration `index`.
///
/// While **joint** (§4.3) everything needs a majority of the old half and one of the new half,
/// and either may lead. It is left by an entry of its own, [`ConfChange::LeaveJoint`], that the
/// leader adds by itself.
///
/// Invariants:
/// - `learners` holds none of `voters` and `outgoing`, `removed` none of all
/// - `learners_next` is part of `outgoing` and holds none of `voters`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Index of the entry that made this configuration; 0 before founding.
    pub index: LogIndex,
    /// Members that vote; while joint, those of the new half.
    pub voters: BTreeSet<MemberId>,
    /// Voters of the old half; empty unless joint.
    pub outgoing: BTreeSet<MemberId>,
    /// Members that only receive.
    pub learners: BTreeSet<MemberId>,
    /// Voters of the old half that become learners when the joint configuration is left.
    pub learners_next: BTreeSet<MemberId>,
    /// Members that left; they never come back. Voters get here when the joint configuration
    /// that removes them is left.
    pub removed: BTreeSet<MemberId>,
}

impl Membership {
    /// Whether `id` belongs to the cluster now.
    #[must_use]
    pub fn contains(&self, id: MemberId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Whether `id` votes and may lead; while joint, in either half.
    #[must_use]
    pub fn is_voter(&self, id: MemberId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether this is a joint configuration.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// All members once each: voters of both halves and learners.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.all_voters().chain(self.learners.iter().copied())
    }

    /// Voters of both halves, once each.
    pub(crate) fn all_voters(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.voters.union(&self.outgoing).copied()
    }

    /// Whose word counts.
    pub(crate) fn quorum(&self) -> Quorum<'_> {
        Quorum {
            incoming: &self.voters,
            outgoing: &self.outgoing,
        }
    }

    /// Whether `change` makes sense from here. That a learner has caught up is for the leader
    /// to say.
    pub(crate) fn check(&self, change: &ConfChange) -> Result<(), ConfChangeError> {
        if self.is_joint() && *change != ConfChange::LeaveJoint {
            return Err(ConfChangeError::Joint);
        }
        match change {
            ConfChange::Found { .. } => Err(ConfChangeError::AlreadyFounded),
            ConfChange::AddLearner { id, .. } => self.check_add(*id),
            ConfChange::Promote { id } => self.check_promote(*id),
            ConfChange::Remove { id } => {
                if !self.contains(*id) {
                    return Err(ConfChangeError::NotMember(*id));
                }
                if self.voters.len() == 1 && self.voters.contains(id) {
                    return Err(ConfChangeError::LastVoter(*id));
                }
                Ok(())
            }
            ConfChange::Change { changes } => self.check_several(changes),
            ConfChange::LeaveJoint if self.is_joint() => Ok(()),
            ConfChange::LeaveJoint => Err(ConfChangeError::NotJoint),
        }
    }

    fn check_add(&self, id: MemberId) -> Result<(), ConfChangeError> {
        if self.removed.contains(&id) {
            return Err(ConfChangeError::WasRemoved(id));
        }
        if self.contains(id) {
            return Err(ConfChangeError::AlreadyMember(id));
        }
        Ok(())
    }

    fn check_promote(&self, id: MemberId) -> Result<(), ConfChangeError> {
        if self.learners.contains(&id) {
            return Ok(());
        }
        if self.voters.contains(&id) {
            return Err(ConfChangeError::NotLearner(id));
        }
        Err(ConfChangeError::NotMember(id))
    }

    fn check_several(&self, changes: &[MemberChange]) -> Result<(), ConfChangeError> {
        if changes.is_empty() {
            return Err(ConfChangeError::Empty);
        }
        let mut seen = BTreeSet::new();
        let (mut gain, mut lose) = (0, 0);
        for change in changes {
            let id = change.id();
            if !seen.insert(id) {
                return Err(ConfChangeError::Duplicate(id));
            }
            match change {
                MemberChange::AddLearner { .. } => self.check_add(id)?,
                MemberChange::Promote { .. } => {
                    self.check_promote(id)?;
                    gain += 1;
                }
                MemberChange::Demote { .. } => {
                    if !self.voters.contains(&id) {
                        return Err(ConfChangeError::NotVoter(id));
                    }
                    lose += 1;
                }
                MemberChange::Remove { .. } => {
                    if !self.contains(id) {
                        return Err(ConfChangeError::NotMember(id));
                    }
                    lose += usize::from(self.voters.contains(&id));
                }
            }
        }
        self.check_losses(gain, lose)
    }

    /// `lose` of the voters go, `gain` come. A joint change needs a majority of the old half until
    /// it is left, and those who lost their vote may be gone for ever before all who stay know
    /// that it was: if who leads then crashes and they were needed, nobody is elected ever again.
    fn check_losses(&self, gain: usize, lose: usize) -> Result<(), ConfChangeError> {
        let voters = self.voters.len();
        if voters + gain == lose {
            return Err(ConfChangeError::NoVoterLeft);
        }
        let becomes_joint = gain + lose > 1;
        if becomes_joint && lose > 0 && voters - lose <= voters / 2 {
            return Err(ConfChangeError::TooManyLoseVote { lose, voters });
        }
        Ok(())
    }

    /// The committed entry at `index` says `change`. Raft keeps its own configuration; this is for
    /// whoever records it with what is applied.
    pub fn activate(&mut self, index: LogIndex, change: &ConfChange) {
        self.index = index;
        match change {
            ConfChange::Found { members } => {
                self.voters = members.iter().map(|(id, _)| *id).collect();
            }
            ConfChange::AddLearner { id, .. } => {
                self.learners.insert(*id);
            }
            ConfChange::Promote { id } => self.promote(*id),
            ConfChange::Remove { id } => self.remove(*id),
            ConfChange::Change { changes } => self.activate_several(changes),
            ConfChange::LeaveJoint => {
                let outgoing = std::mem::take(&mut self.outgoing);
                self.learners.append(&mut self.learners_next);
                let gone = outgoing
                    .into_iter()
                    .filter(|id| !self.voters.contains(id) && !self.learners.contains(id));
                self.removed.extend(gone);
            }
        }
    }

    /// Majorities overlap when one voter changes; only more than one take the joint way.
    fn activate_several(&mut self, changes: &[MemberChange]) {
        let changes_voters = |change: &&MemberChange| match change {
            MemberChange::AddLearner { .. } => false,
            MemberChange::Promote { .. } | MemberChange::Demote { .. } => true,
            MemberChange::Remove { id } => self.voters.contains(id),
        };
        let becomes_joint = changes.iter().filter(changes_voters).count() > 1;
        if becomes_joint {
            self.outgoing.clone_from(&self.voters);
        }
        for change in changes {
            match change {
                MemberChange::AddLearner { id, .. } => {
                    self.learners.insert(*id);
                }
                MemberChange::Promote { id } => self.promote(*id),
                MemberChange::Demote { id } => {
                    self.voters.remove(id);
                    if becomes_joint {
                        self.learners_next.insert(*id);
                    } else {
                        self.learners.insert(*id);
                    }
                }
                MemberChange::Remove { id } if self.outgoing.contains(id) => {
                    // It votes in the old half until that is left.
                    self.voters.remove(id);
                }
                MemberChange::Remove { id } => self.remove(*id),
            }
        }
    }

    fn promote(&mut self, id: MemberId) {
        self.learners.remove(&id);
        self.voters.insert(id);
    }

    fn remove(&mut self, id: MemberId) {
        self.learners.remove(&id);
        self.voters.remove(&id);
        self.removed.insert(id);
    }

    /// Which invariant doesn't hold, if one doesn't.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        if self.learners.iter().any(|id| self.is_voter(*id)) {
            return Some("a voter is a learner");
        }
        if self.members().any(|id| self.removed.contains(&id)) {
            return Some("a removed member is a member");
        }
        let are_demoted = self.learners_next.is_subset(&self.outgoing)
            && self.learners_next.is_disjoint(&self.voters);
        (!are_demoted).then_some("who is being demoted isn't a voter of the old half only")
    }

    pub(crate) fn check_invariants(&self) {
        if let Some(what) = self.contradiction() {
            panic!("{what}: {self:?}");
        }
    }
}

#[cfg(test)]
#[path = "membership_test.rs"]
mod tests;
