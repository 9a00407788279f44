//! Who belongs to the cluster and who leads it.

use std::time::Duration;

use raftery_proto::peer as proto;
use raftery_raft::{
    ConfChange, ConfChangeError, LogIndex, MemberChange, MemberId, RoleKind, Status,
};
use tokio::sync::oneshot;
use tracing::debug;

use super::Handle;
use super::replicate::{forward, replicate};
use crate::clock;
use crate::command::{Command, CommandError, Outcome};
use crate::driver::Input;
use crate::error::{MembershipError, RequestError};
use crate::members::MemberRecord;
use crate::meta::taken;
use crate::node::Running;
use crate::transport::codec;

/// A change of membership that a person or the operator asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipChange {
    /// Adds a member that receives the log and doesn't vote.
    AddLearner {
        /// The new ID.
        id: MemberId,
        /// Its record.
        record: MemberRecord,
    },
    /// Makes a caught-up learner a voter.
    Promote {
        /// The learner.
        id: MemberId,
    },
    /// Removes a member, for ever.
    Remove {
        /// The member.
        id: MemberId,
    },
    /// Makes a caught-up learner a voter and removes a voter for ever, in one step.
    Swap {
        /// The learner.
        promote: MemberId,
        /// The voter.
        remove: MemberId,
    },
}

impl Handle {
    /// Changes the membership, wherever the leader is; answered once applied here.
    /// Gives the index of the new configuration.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn change_membership(&self, change: MembershipChange) -> Result<u64, RequestError> {
        let running = self.serving()?;
        let leader = running.driver.status.borrow().leader;
        match leader {
            None => Err(RequestError::NoLeader),
            Some(leader) if leader == running.me.id => {
                self.change_membership_here(change, None).await
            }
            Some(leader) => {
                let change = codec::encode_change(into_raft(change)?);
                let request = proto::forward_request::Request::ConfChange(change);
                let sent = forward(running, leader, request);
                let index = tokio::time::timeout(running.request_timeout, sent)
                    .await
                    .map_err(|_| RequestError::TimedOut)??;
                // The change is done. That this member hasn't heard of it yet (or ever will: it
                // may be the one removed) makes it no failure.
                if let Err(error) = self.linearizable_barrier().await {
                    debug!(%error, "the change of membership is not applied here yet");
                }
                Ok(index.0)
            }
        }
    }

    /// Changes the membership as another member asks on behalf of its client.
    ///
    /// # Errors
    /// As [`Handle::change_membership_here`]; also when the change isn't one that a client can
    /// ask for.
    pub async fn change_membership_for(&self, change: ConfChange) -> Result<u64, RequestError> {
        let change = match change {
            ConfChange::AddLearner { id, context } => {
                let record = MemberRecord::decode(&context);
                let record = record.map_err(|e| MembershipError::Malformed(e.to_string()))?;
                MembershipChange::AddLearner { id, record }
            }
            ConfChange::Promote { id } => MembershipChange::Promote { id },
            ConfChange::Remove { id } => MembershipChange::Remove { id },
            ConfChange::Found { .. } => {
                return Err(MembershipError::Conf(ConfChangeError::AlreadyFounded).into());
            }
            ConfChange::Change { .. } | ConfChange::LeaveJoint => {
                let why = "clients change one member at a time";
                return Err(MembershipError::Malformed(why.to_owned()).into());
            }
        };
        self.change_membership_here(change, None).await
    }

    /// Changes the membership if this member leads; `expected` fences callers that planned
    /// against another configuration.
    ///
    /// # Errors
    /// See [`MembershipError`]; `NotLeader` elsewhere.
    pub async fn change_membership_here(
        &self,
        change: MembershipChange,
        expected: Option<u64>,
    ) -> Result<u64, RequestError> {
        let running = self.running()?;
        self.check_change(running, &change)?;
        let index = running
            .change_here(into_raft(change)?, expected.map(LogIndex))
            .await?;
        Ok(index.0)
    }

    /// What only the leader can judge, besides what Raft itself refuses.
    fn check_change(
        &self,
        running: &Running,
        change: &MembershipChange,
    ) -> Result<(), MembershipError> {
        let status = running.driver.status.borrow().clone();
        match change {
            MembershipChange::AddLearner { id, record } => {
                if let Some(url) = record.peer_urls.iter().find(|url| !is_url(url)) {
                    return Err(MembershipError::InvalidUrl(url.clone()));
                }
                let state = running.state.read().expect("no holder of the lock panics");
                // The records lag behind the committed configuration until they are applied.
                if state.applied().index < status.membership.index {
                    return Err(MembershipError::Busy);
                }
                if let Some(url) = taken(&state.meta.members, Some(*id), &record.peer_urls) {
                    return Err(MembershipError::PeerUrlTaken(url));
                }
                // etcd's limit; one member at a time also keeps the operator's steps apart.
                if !status.membership.learners.is_empty() {
                    return Err(MembershipError::TooManyLearners);
                }
                Ok(())
            }
            // Adding a voter that has caught up costs no quorum.
            MembershipChange::Promote { .. } => Ok(()),
            MembershipChange::Remove { id } => {
                let timeout = self.shared.config.election_timeout;
                check_removal(&status, clock::now(), timeout, *id, None)
            }
            MembershipChange::Swap { promote, remove } => {
                let timeout = self.shared.config.election_timeout;
                check_removal(&status, clock::now(), timeout, *remove, Some(*promote))
            }
        }
    }

    /// Changes where peers reach a member.
    ///
    /// # Errors
    /// When it isn't a member, or a URL is another's or no URL.
    pub async fn update_member(
        &self,
        id: MemberId,
        peer_urls: Vec<String>,
    ) -> Result<(), RequestError> {
        if let Some(url) = peer_urls.iter().find(|url| !is_url(url)) {
            return Err(MembershipError::InvalidUrl(url.clone()).into());
        }
        let running = self.serving()?;
        let command = Command::UpdateMember {
            id: id.0,
            peer_urls,
        };
        match replicate(running, &command).await? {
            (_, Outcome::Updated(result)) => Ok(result?),
            _ => Err(RequestError::LeaderChanged),
        }
    }

    /// Hands leadership to `to`, or to the most caught-up other voter; answered once it leads.
    ///
    /// # Errors
    /// `NotLeader` elsewhere, `BadTransferee` for whom can't lead, `TimedOut`.
    pub async fn transfer_leader(&self, to: Option<MemberId>) -> Result<MemberId, RequestError> {
        let running = self.running()?;
        let mut status = running.driver.status.clone();
        let to = match to {
            Some(to) => to,
            None => {
                let now = status.borrow().clone();
                let not_leader = RequestError::NotLeader { leader: now.leader };
                best_follower(&now, |_| true).ok_or(not_leader)?
            }
        };
        let election_timeout = self.shared.config.election_timeout;
        let handed_over = async {
            ask_for_transfer(running, to).await?;
            // Raft gives up after an election timeout. The order to campaign may have been lost, or
            // have come in the wait after the target's start.
            loop {
                let leads = status.wait_for(|status| status.leader == Some(to));
                let waited = tokio::time::timeout(election_timeout, leads).await;
                match waited.map(|leads| leads.is_ok()) {
                    Ok(true) => return Ok(to),
                    Ok(false) => return Err(RequestError::Stopped),
                    Err(_) if running.is_leader() => ask_for_transfer(running, to).await?,
                    Err(_) => {}
                }
            }
        };
        tokio::time::timeout(running.request_timeout, handed_over)
            .await
            .unwrap_or(Err(RequestError::TimedOut))
    }
}

async fn ask_for_transfer(running: &Running, to: MemberId) -> Result<(), RequestError> {
    let (reply, answer) = oneshot::channel();
    let input = Input::Transfer { to, reply };
    running
        .driver
        .inputs
        .send(input)
        .map_err(|_| RequestError::Stopped)?;
    match answer.await.map_err(|_| RequestError::Stopped)? {
        Ok(()) => Ok(()),
        Err(raftery_raft::TransferError::NotLeader { leader }) => {
            Err(RequestError::NotLeader { leader })
        }
        Err(raftery_raft::TransferError::NotVoter(id)) => Err(RequestError::BadTransferee(id)),
    }
}

/// Refuses to remove a voter when those that remain, and the one that `joins` them, couldn't
/// commit (etcd's strict reconfiguration check).
fn check_removal(
    status: &Status,
    now: raftery_raft::Instant,
    election_timeout: Duration,
    id: MemberId,
    joins: Option<MemberId>,
) -> Result<(), MembershipError> {
    let voters = &status.membership.voters;
    if status.role != RoleKind::Leader || !voters.contains(&id) {
        return Ok(());
    }
    let is_active = |voter: &MemberId| {
        *voter == status.id
            || status
                .progress
                .get(voter)
                .and_then(|progress| progress.last_heard)
                .is_some_and(|at| now.since(at) < election_timeout)
    };
    let stay = voters.iter().filter(|voter| **voter != id);
    let active = stay.chain(&joins).filter(|voter| is_active(voter)).count();
    let remaining = voters.len() - 1 + usize::from(joins.is_some());
    if remaining > 0 && active < remaining / 2 + 1 {
        return Err(MembershipError::Unhealthy {
            active,
            voters: remaining,
        });
    }
    Ok(())
}

/// The most caught-up other voter among those that are `fit`.
pub(crate) fn best_follower(status: &Status, fit: impl Fn(MemberId) -> bool) -> Option<MemberId> {
    let voters = &status.membership.voters;
    let others = status
        .progress
        .iter()
        .filter(|(id, _)| voters.contains(id) && fit(**id));
    others
        .max_by_key(|(_, progress)| progress.matched)
        .map(|(id, _)| *id)
}

fn is_url(url: &str) -> bool {
    url.strip_prefix("http://")
        .and_then(|rest| rest.rsplit_once(':'))
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn into_raft(change: MembershipChange) -> Result<ConfChange, RequestError> {
    let encode = |record: &MemberRecord| -> Result<bytes::Bytes, CommandError> { record.encode() };
    Ok(match change {
        MembershipChange::AddLearner { id, record } => {
            let context = encode(&record).map_err(|_| RequestError::Stopped)?;
            ConfChange::AddLearner { id, context }
        }
        MembershipChange::Promote { id } => ConfChange::Promote { id },
        MembershipChange::Remove { id } => ConfChange::Remove { id },
        MembershipChange::Swap { promote, remove } => ConfChange::Change {
            changes: vec![
                MemberChange::Promote { id: promote },
                MemberChange::Remove { id: remove },
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_version::ClusterVersion;
    use raftery_raft::{Instant as RaftInstant, LogId, Membership, PeerProgress, PeerState, Term};

    /// A leader, 1, of three, that has heard from `heard` just now.
    fn leader(heard: &[u64]) -> Status {
        let now = RaftInstant(Duration::from_secs(100));
        let progress = [2, 3].map(|id| {
            let last_heard = heard.contains(&id).then_some(now);
            (
                MemberId(id),
                PeerProgress {
                    matched: LogIndex(9),
                    state: PeerState::Replicate,
                    lost: None,
                    last_heard,
                },
            )
        });
        Status {
            id: MemberId(1),
            role: RoleKind::Leader,
            term: Term(2),
            leader: Some(MemberId(1)),
            commit: LogIndex(9),
            applied: LogIndex(9),
            base: LogId::default(),
            last_index: LogIndex(9),
            repairing: false,
            rolled_back: None,
            has_committed_in_term: true,
            membership: Membership {
                voters: [1, 2, 3].map(MemberId).into(),
                ..Membership::default()
            },
            progress: progress.into(),
            lease_until: None,
            transferee: None,
        }
    }

    fn removal(heard: &[u64], id: u64) -> Result<(), MembershipError> {
        let now = RaftInstant(Duration::from_millis(100_500));
        let timeout = Duration::from_secs(1);
        check_removal(&leader(heard), now, timeout, MemberId(id), None)
    }

    #[test]
    fn a_swap_is_one_step_and_refused_until_every_member_understands_it() {
        let swap = MembershipChange::Swap {
            promote: MemberId(4),
            remove: MemberId(3),
        };
        let change = into_raft(swap).expect("has no record to encode");
        let ConfChange::Change { changes } = &change else {
            panic!("{change:?}");
        };
        assert_eq!(
            changes[..],
            [
                MemberChange::Promote { id: MemberId(4) },
                MemberChange::Remove { id: MemberId(3) },
            ]
        );
        let refused = ClusterVersion::LOWEST.admits(&change).expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "this change needs cluster version 2, and the cluster goes by 1: it is raised when \
             every member supports it"
        );
        assert_eq!(ClusterVersion::SEVERAL_CHANGES.admits(&change), Ok(()));
    }

    #[test]
    fn who_is_swapped_in_counts_among_those_that_must_be_active() {
        let swap = |heard: &[u64]| {
            let mut status = leader(heard);
            let learner = PeerProgress {
                last_heard: heard
                    .contains(&4)
                    .then_some(RaftInstant(Duration::from_secs(100))),
                ..status.progress[&MemberId(2)]
            };
            status.progress.insert(MemberId(4), learner);
            status.membership.learners.insert(MemberId(4));
            let now = RaftInstant(Duration::from_millis(100_500));
            let timeout = Duration::from_secs(1);
            check_removal(&status, now, timeout, MemberId(3), Some(MemberId(4)))
        };
        assert_eq!(swap(&[4]), Ok(()));
        assert_eq!(swap(&[2]), Ok(()));
        assert_eq!(
            swap(&[3]),
            Err(MembershipError::Unhealthy {
                active: 1,
                voters: 3
            })
        );
    }

    #[test]
    fn a_dead_member_may_be_removed_and_a_living_one_not_while_another_is_dead() {
        assert_eq!(removal(&[2], 3), Ok(()));
        assert_eq!(
            removal(&[2], 2),
            Err(MembershipError::Unhealthy {
                active: 1,
                voters: 2
            })
        );
        assert_eq!(removal(&[2, 3], 2), Ok(()));
    }

    #[test]
    fn the_most_caught_up_other_voter_takes_over() {
        let mut status = leader(&[2, 3]);
        status
            .progress
            .entry(MemberId(3))
            .and_modify(|p| p.matched = LogIndex(10));
        assert_eq!(best_follower(&status, |_| true), Some(MemberId(3)));
        let but_3 = best_follower(&status, |id| id != MemberId(3));
        assert_eq!(but_3, Some(MemberId(2)));
    }
}
