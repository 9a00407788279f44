//! Who belongs to the cluster.

use std::collections::BTreeSet;

use crate::{ConfChange, ConfChangeError, LogIndex, MemberId};

/// Who belongs to the cluster, as of the committed configuration `index`.
///
/// Invariants: the three sets are disjoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Index of the entry that made this configuration; 0 before founding.
    pub index: LogIndex,
    /// Members that vote.
    pub voters: BTreeSet<MemberId>,
    /// Members that only receive.
    pub learners: BTreeSet<MemberId>,
    /// Members that left; they never come back.
    pub removed: BTreeSet<MemberId>,
}

impl Membership {
    /// Whether `id` belongs to the cluster now.
    #[must_use]
    pub fn contains(&self, id: MemberId) -> bool {
        self.voters.contains(&id) || self.learners.contains(&id)
    }

    /// Whether `id` votes and may lead.
    #[must_use]
    pub fn is_voter(&self, id: MemberId) -> bool {
        self.voters.contains(&id)
    }

    /// All members, voters and learners.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.voters.iter().chain(&self.learners).copied()
    }

    /// Whether `change` makes sense from here. That a learner has caught up is for the leader
    /// to say.
    pub(crate) fn check(&self, change: &ConfChange) -> Result<(), ConfChangeError> {
        match change {
            ConfChange::Found { .. } => Err(ConfChangeError::AlreadyFounded),
            ConfChange::AddLearner { id, .. } => {
                if self.removed.contains(id) {
                    return Err(ConfChangeError::WasRemoved(*id));
                }
                if self.contains(*id) {
                    return Err(ConfChangeError::AlreadyMember(*id));
                }
                Ok(())
            }
            ConfChange::Promote { id } => {
                if self.learners.contains(id) {
                    return Ok(());
                }
                if self.voters.contains(id) {
                    return Err(ConfChangeError::NotLearner(*id));
                }
                Err(ConfChangeError::NotMember(*id))
            }
            ConfChange::Remove { id } => {
                if !self.contains(*id) {
                    return Err(ConfChangeError::NotMember(*id));
                }
                if self.voters.len() == 1 && self.voters.contains(id) {
                    return Err(ConfChangeError::LastVoter(*id));
                }
                Ok(())
            }
        }
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
            ConfChange::Promote { id } => {
                self.learners.remove(id);
                self.voters.insert(*id);
            }
            ConfChange::Remove { id } => {
                self.learners.remove(id);
                self.voters.remove(id);
                self.removed.insert(*id);
            }
        }
    }

    pub(crate) fn check_invariants(&self) {
        assert!(
            self.voters.is_disjoint(&self.learners),
            "a voter is a learner: {self:?}"
        );
        assert!(
            self.members().all(|id| !self.removed.contains(&id)),
            "a removed member is a member: {self:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn founded() -> Membership {
        let mut membership = Membership::default();
        let members = [1, 2].map(|id| (MemberId(id), Bytes::new())).to_vec();
        membership.activate(LogIndex(1), &ConfChange::Found { members });
        membership
    }

    #[test]
    fn a_member_is_added_promoted_removed_and_never_comes_back() {
        let mut m = founded();
        let id = MemberId(3);
        let add = ConfChange::AddLearner {
            id,
            context: Bytes::new(),
        };
        let promote = ConfChange::Promote { id };
        let remove = ConfChange::Remove { id };
        assert_eq!(m.check(&promote), Err(ConfChangeError::NotMember(id)));
        assert_eq!(m.check(&remove), Err(ConfChangeError::NotMember(id)));
        assert_eq!(m.check(&add), Ok(()));
        m.activate(LogIndex(5), &add);
        assert!(m.learners.contains(&id) && !m.is_voter(id));
        assert_eq!(m.check(&add), Err(ConfChangeError::AlreadyMember(id)));
        assert_eq!(m.check(&promote), Ok(()));
        m.activate(LogIndex(6), &promote);
        assert!(m.is_voter(id));
        assert_eq!(m.check(&promote), Err(ConfChangeError::NotLearner(id)));
        m.activate(LogIndex(7), &remove);
        assert!(!m.contains(id));
        assert_eq!(m.index, LogIndex(7));
        assert_eq!(m.check(&add), Err(ConfChangeError::WasRemoved(id)));
        m.check_invariants();
    }

    #[test]
    fn the_last_voter_stays_and_a_log_is_founded_once() {
        let mut m = founded();
        m.activate(LogIndex(2), &ConfChange::Remove { id: MemberId(2) });
        let last = MemberId(1);
        assert_eq!(
            m.check(&ConfChange::Remove { id: last }),
            Err(ConfChangeError::LastVoter(last))
        );
        assert_eq!(
            m.check(&ConfChange::Found { members: vec![] }),
            Err(ConfChangeError::AlreadyFounded)
        );
    }
}
