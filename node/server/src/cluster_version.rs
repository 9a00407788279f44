//! Which kinds of entries, frames and rules the cluster goes by: a replicated number, raised when
//! every member supports more.
//!
//! | version | switches on |
//! |---|---|
//! | 1 | what a cluster begins with |
//! | 2 | several changes of membership in one step ([`ConfChange::Change`], `LeaveJoint`) |
//! | 3 | members are scored by rules 2 ([`Rules::SHARED_MISSES`]) |
//!
//! Each member tells in its handshakes the highest version that it supports. The leader proposes a
//! higher one once all members are connected and support it; it never goes down. A node that
//! applies a version that it doesn't know ends, and one that doesn't know the applied one is
//! refused by its peers: an entry of an unknown kind would end it anyway, in the middle of its work.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use raftery_behaviour::Rules;
use raftery_raft::{ConfChange, MemberId, Membership};

use crate::command::CommandError;
use crate::error::MembershipError;

/// What a cluster goes by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClusterVersion(pub u32);

impl ClusterVersion {
    /// What a cluster begins with, and the lowest that this build supports.
    pub const LOWEST: Self = Self(1);
    /// From here on several members may change at once.
    pub const SEVERAL_CHANGES: Self = Self(2);
    /// From here on what all followers missed makes none of them slow.
    pub const SHARED_MISSES: Self = Self(3);
    /// The highest that this build supports.
    pub const HIGHEST: Self = Self::SHARED_MISSES;

    /// What a handshake tells: builds that knew of no versions told nothing, and support the first.
    #[must_use]
    pub fn from_wire(told: u32) -> Self {
        Self(told).max(Self::LOWEST)
    }

    /// The latest rules of scoring that all members know.
    #[must_use]
    pub fn rules(self) -> Rules {
        if self < Self::SHARED_MISSES {
            Rules::FIRST
        } else {
            Rules::SHARED_MISSES
        }
    }

    /// What is applied after an entry that asks for `version`.
    ///
    /// # Errors
    /// When this build doesn't support it: the process must end.
    pub(crate) fn raised_to(self, version: u32) -> Result<Self, CommandError> {
        if Self(version) > Self::HIGHEST {
            return Err(CommandError::ClusterVersion { version });
        }
        Ok(self.max(Self(version)))
    }

    /// Refuses a change of membership that not every member may understand.
    pub(crate) fn admits(self, change: &ConfChange) -> Result<(), MembershipError> {
        let needed = needed_by(change);
        if self < needed {
            return Err(MembershipError::ClusterVersion {
                needed,
                applied: self,
            });
        }
        Ok(())
    }
}

impl Default for ClusterVersion {
    fn default() -> Self {
        Self::LOWEST
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn needed_by(change: &ConfChange) -> ClusterVersion {
    match change {
        ConfChange::Found { .. }
        | ConfChange::AddLearner { .. }
        | ConfChange::Promote { .. }
        | ConfChange::Remove { .. } => ClusterVersion::LOWEST,
        ConfChange::Change { .. } | ConfChange::LeaveJoint => ClusterVersion::SEVERAL_CHANGES,
    }
}

/// What the peers that this member is connected to told of themselves.
#[derive(Debug, Default)]
pub struct Supported(Mutex<BTreeMap<MemberId, ClusterVersion>>);

impl Supported {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<MemberId, ClusterVersion>> {
        self.0.lock().expect("no holder of the lock panics")
    }

    /// A peer answered a handshake.
    pub fn told(&self, peer: MemberId, highest: ClusterVersion) {
        self.peers().insert(peer, highest);
    }

    /// The connection is gone: who comes back may be another build.
    pub fn gone(&self, peer: MemberId) {
        self.peers().remove(&peer);
    }

    /// The highest version that a connected peer supports.
    #[must_use]
    pub fn by(&self, peer: MemberId) -> Option<ClusterVersion> {
        self.peers().get(&peer).copied()
    }

    /// The highest version that all members support, `me` among them; `None` while one isn't
    /// connected.
    #[must_use]
    pub fn by_all(&self, me: MemberId, membership: &Membership) -> Option<ClusterVersion> {
        let others = membership.members().filter(|id| *id != me);
        others.map(|id| self.by(id)).try_fold(
            ClusterVersion::HIGHEST,
            |lowest, highest: Option<ClusterVersion>| Some(lowest.min(highest?)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: MemberId = MemberId(1);

    fn three_with_a_learner() -> Membership {
        Membership {
            voters: [1, 2, 3].map(MemberId).into(),
            learners: [MemberId(4)].into(),
            ..Membership::default()
        }
    }

    #[test]
    fn a_version_is_supported_by_all_only_when_voters_and_learners_are_connected_and_know_it() {
        let members = three_with_a_learner();
        let supported = Supported::default();
        supported.told(MemberId(2), ClusterVersion::HIGHEST);
        supported.told(MemberId(3), ClusterVersion(7));
        assert_eq!(supported.by_all(ME, &members), None, "4 said nothing yet");
        supported.told(MemberId(4), ClusterVersion::from_wire(0));
        assert_eq!(supported.by_all(ME, &members), Some(ClusterVersion(1)));
        supported.told(MemberId(4), ClusterVersion(2));
        assert_eq!(supported.by_all(ME, &members), Some(ClusterVersion(2)));
        supported.told(MemberId(4), ClusterVersion::HIGHEST);
        assert_eq!(
            supported.by_all(ME, &members),
            Some(ClusterVersion::HIGHEST)
        );
        supported.gone(MemberId(2));
        assert_eq!(supported.by_all(ME, &members), None, "2 may be replaced");
    }

    #[test]
    fn several_changes_at_once_are_refused_before_their_version_is_applied() {
        let several = ConfChange::Change { changes: vec![] };
        let one = ConfChange::Remove { id: MemberId(2) };
        assert_eq!(ClusterVersion::LOWEST.admits(&one), Ok(()));
        for change in [several, ConfChange::LeaveJoint] {
            let refused = ClusterVersion::LOWEST.admits(&change).unwrap_err();
            let told = refused.to_string();
            assert!(told.contains("cluster version 2"), "{told}");
            assert_eq!(ClusterVersion::SEVERAL_CHANGES.admits(&change), Ok(()));
        }
    }

    #[test]
    fn a_version_never_goes_down_and_an_unknown_one_is_an_error() {
        let two = ClusterVersion(2);
        assert_eq!(ClusterVersion::LOWEST.raised_to(2).unwrap(), two);
        assert_eq!(two.raised_to(1).unwrap(), two);
        let unknown = ClusterVersion::HIGHEST.0 + 1;
        assert!(matches!(
            two.raised_to(unknown),
            Err(CommandError::ClusterVersion { version }) if version == unknown
        ));
    }
}
