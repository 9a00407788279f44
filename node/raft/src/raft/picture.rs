//! Pictures of Raft for everyone else.

use std::collections::BTreeMap;

use super::Raft;
use crate::role::Role;
use crate::tracker::{Progress, ProgressState};
use crate::{LogIndex, MemberId, PeerProgress, PeerState, RoleKind, Rollback, Status, Term};

/// What makes a status worth handing out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StatusKey {
    role: RoleKind,
    term: Term,
    leader: Option<MemberId>,
    membership: LogIndex,
    has_committed_in_term: bool,
    transferee: Option<MemberId>,
    repairing: bool,
    rolled_back: Option<Rollback>,
}

impl Raft {
    /// A full picture, at any time.
    #[must_use]
    pub fn status(&self) -> Status {
        let StatusKey {
            role,
            term,
            leader,
            has_committed_in_term,
            transferee,
            repairing,
            rolled_back,
            membership: _,
        } = self.key();
        Status {
            id: self.me(),
            role,
            term,
            leader,
            commit: self.log.commit(),
            applied: self.log.applied(),
            base: self.log.base(),
            last_index: self.log.last_index(),
            repairing,
            rolled_back,
            has_committed_in_term,
            membership: self.membership.clone(),
            progress: self.progress(),
            lease_until: self.lease_until(),
            transferee,
        }
    }

    /// Up to where every member is known to hold the log durably; `None` when this one doesn't lead.
    #[must_use]
    pub fn held_by_all(&self) -> Option<LogIndex> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        leader.progress.values().map(|peer| peer.matched).min()
    }

    /// The status, if something of it changed that others wait for.
    pub(super) fn changed_status(&mut self) -> Option<Status> {
        let key = Some(self.key());
        if self.shown == key {
            return None;
        }
        self.shown = key;
        Some(self.status())
    }

    pub(super) fn leader(&self) -> Option<MemberId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.me()),
        }
    }

    fn key(&self) -> StatusKey {
        let role = match &self.role {
            Role::Follower(_) if self.is_voter() => RoleKind::Follower,
            Role::Follower(_) => RoleKind::Learner,
            Role::PreCandidate(_) => RoleKind::PreCandidate,
            Role::Candidate(_) => RoleKind::Candidate,
            Role::Leader(_) => RoleKind::Leader,
        };
        let transferee = match &self.role {
            Role::Leader(leader) => leader.transfer.as_ref().map(|transfer| transfer.to),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        StatusKey {
            role,
            term: self.term,
            leader: self.leader(),
            membership: self.membership.index,
            has_committed_in_term: self.has_committed_in_term(),
            transferee,
            repairing: self.repair_until.is_some(),
            rolled_back: self.rolled_back,
        }
    }

    fn progress(&self) -> BTreeMap<MemberId, PeerProgress> {
        let Role::Leader(leader) = &self.role else {
            return BTreeMap::new();
        };
        let picture = |(id, progress): (&MemberId, &Progress)| {
            (
                *id,
                PeerProgress {
                    matched: progress.matched,
                    state: match &progress.state {
                        ProgressState::Probe { .. } => PeerState::Probe,
                        ProgressState::Replicate { .. } => PeerState::Replicate,
                        ProgressState::Snapshot { pending } => {
                            PeerState::Snapshot { pending: *pending }
                        }
                    },
                    lost: progress.lost,
                    last_heard: progress.last_heard,
                },
            )
        };
        leader.progress.iter().map(picture).collect()
    }
}
