//! etcd's Cluster service. Nodes that an operator manages only list their members: two hands
//! on one membership would undo each other's work.

use raftery_config::parse_url;
use raftery_proto::etcdserverpb as pb;
use raftery_proto::etcdserverpb::cluster_server::Cluster;
use raftery_raft::MemberId;
use tonic::{Request, Response, Status};

use crate::error::{MembershipError, RequestError};
use crate::handle::{Handle, MembershipChange};
use crate::incarnation::random_id;
use crate::members::{MemberRecord, Members};

const MANAGED: &str = "etcdserver: an operator manages the membership of this cluster: edit its \
                       RaftCluster instead (kubectl scale raftcluster, or spec.replicas)";

pub(super) struct ClusterService {
    handle: Handle,
}

impl ClusterService {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    fn admit_change(&self) -> Result<(), Status> {
        if self.handle.is_managed() {
            return Err(Status::failed_precondition(MANAGED));
        }
        Ok(self.handle.admit()?)
    }

    /// etcd's Cluster service leaves the revision out.
    fn header(&self) -> pb::ResponseHeader {
        super::convert::header(&self.handle.header(), 0)
    }

    /// The members after a change that was committed elsewhere, perhaps: waits until this
    /// member has it too. It isn't worth failing a change that is done.
    async fn members_after_change(&self) -> Vec<pb::Member> {
        if let Err(error) = self.handle.linearizable_barrier().await {
            tracing::debug!(%error, "answering a change of membership before it is applied here");
        }
        self.members()
    }

    fn members(&self) -> Vec<pb::Member> {
        let raft = self.handle.status();
        let is_learner = |id| {
            raft.as_ref()
                .is_some_and(|r| r.membership.learners.contains(&id))
        };
        let member = |(id, record)| proto_member(id, record, is_learner(id));
        self.handle.members().into_iter().map(member).collect()
    }

    /// A random ID that no member has or had.
    fn new_id(&self, members: &Members) -> Result<MemberId, Status> {
        let removed = self
            .handle
            .status()
            .map(|raft| raft.membership.removed)
            .unwrap_or_default();
        loop {
            let id = MemberId(random_id()?);
            if !members.contains_key(&id) && !removed.contains(&id) {
                return Ok(id);
            }
        }
    }
}

fn proto_member(id: MemberId, record: MemberRecord, is_learner: bool) -> pb::Member {
    pb::Member {
        id: id.0,
        name: record.name,
        peer_ur_ls: record.peer_urls,
        client_ur_ls: record.client_urls,
        is_learner,
    }
}

/// Peer URLs as they are kept; at least one.
fn peer_urls(given: &[String]) -> Result<Vec<String>, RequestError> {
    if given.is_empty() {
        return Err(MembershipError::InvalidUrl(String::new()).into());
    }
    let invalid = |url: &String| MembershipError::InvalidUrl(url.clone()).into();
    given
        .iter()
        .map(|url| parse_url(url).map_err(|_| invalid(url)))
        .collect()
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    /// A member that isn't asked for as learner is added as one all the same, and promoted by
    /// the leader as soon as it has caught up: an empty voter would count for the quorum
    /// without being able to help it.
    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        self.admit_change()?;
        let request = request.into_inner();
        let record = MemberRecord {
            peer_urls: peer_urls(&request.peer_ur_ls)?,
            promote_when_ready: !request.is_learner,
            ..MemberRecord::default()
        };
        let id = self.new_id(&self.handle.members())?;
        let member = proto_member(id, record.clone(), true);
        let change = MembershipChange::AddLearner { id, record };
        self.handle.change_membership(change).await?;
        let mut members = self.members_after_change().await;
        // Scripts build the new member's --initial-cluster from this answer.
        if members.iter().all(|known| known.id != member.id) {
            members.push(member.clone());
        }
        let header = Some(self.header());
        Ok(Response::new(pb::MemberAddResponse {
            header,
            member: Some(member),
            members,
        }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        self.admit_change()?;
        let id = MemberId(request.into_inner().id);
        self.handle
            .change_membership(MembershipChange::Remove { id })
            .await?;
        let mut members = self.members_after_change().await;
        members.retain(|member| member.id != id.0);
        Ok(Response::new(pb::MemberRemoveResponse {
            header: Some(self.header()),
            members,
        }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        self.admit_change()?;
        let request = request.into_inner();
        let urls = peer_urls(&request.peer_ur_ls)?;
        self.handle
            .update_member(MemberId(request.id), urls)
            .await?;
        let members = self.members_after_change().await;
        Ok(Response::new(pb::MemberUpdateResponse {
            header: Some(self.header()),
            members,
        }))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        self.handle.admit()?;
        if request.into_inner().linearizable {
            self.handle.linearizable_barrier().await?;
        }
        let members = self.members();
        Ok(Response::new(pb::MemberListResponse {
            header: Some(self.header()),
            members,
        }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        self.admit_change()?;
        let id = MemberId(request.into_inner().id);
        self.handle
            .change_membership(MembershipChange::Promote { id })
            .await?;
        let members = self.members_after_change().await;
        Ok(Response::new(pb::MemberPromoteResponse {
            header: Some(self.header()),
            members,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_checked_like_the_flags() {
        assert_eq!(
            peer_urls(&["http://a:1".into()]),
            Ok(vec!["http://a:1".into()])
        );
        for bad in [
            vec![],
            vec!["a:1".to_owned()],
            vec!["http://a:1".into(), "http://a".into()],
        ] {
            let error = peer_urls(&bad).expect_err("not URLs");
            assert!(matches!(
                error,
                RequestError::Membership(MembershipError::InvalidUrl(_))
            ));
        }
    }
}
