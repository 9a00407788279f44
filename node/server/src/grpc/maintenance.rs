//! The part of etcd's Maintenance service that is there: status, the alarm for want of space, and
//! moving the leader.

use raftery_config::{ETCD_API_VERSION, ETCD_CLUSTER_VERSION};
use raftery_proto::etcdserverpb as pb;
use raftery_proto::etcdserverpb::maintenance_server::Maintenance;
use raftery_raft::{MemberId, RoleKind};
use tonic::{Request, Response, Status};

use super::convert;
use crate::error::RequestError;
use crate::handle::Handle;

pub(super) struct MaintenanceService {
    handle: Handle,
}

impl MaintenanceService {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    /// Lists NOSPACE for this member while it refuses writes for want of space; it goes by itself,
    /// so disarming changes nothing. Raising an alarm by hand isn't served.
    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        self.handle.admit()?;
        if request.into_inner().action() == pb::alarm_request::AlarmAction::Activate {
            return Err(Status::unimplemented("alarms can't be raised by hand"));
        }
        let header = self.handle.header();
        let mut alarms = Vec::new();
        if self.handle.is_out_of_space() {
            alarms.push(pb::AlarmMember {
                member_id: header.member_id,
                alarm: pb::AlarmType::Nospace.into(),
            });
        }
        let header = Some(convert::header(&header, header.revision));
        Ok(Response::new(pb::AlarmResponse { header, alarms }))
    }

    /// Served by every node at any time, from memory: kube-apiserver reads the version here,
    /// and people look here when nothing else answers.
    async fn status(
        &self,
        _request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let header = self.handle.header();
        // etcdctl divides by it.
        let db_bytes = i64::try_from(self.handle.db_bytes())
            .unwrap_or(i64::MAX)
            .max(1);
        let mut response = pb::StatusResponse {
            header: Some(convert::header(&header, header.revision)),
            version: ETCD_API_VERSION.to_owned(),
            storage_version: ETCD_CLUSTER_VERSION.to_owned(),
            db_size: db_bytes,
            db_size_in_use: db_bytes,
            downgrade_info: Some(pb::DowngradeInfo::default()),
            ..Default::default()
        };
        if let Some(raft) = self.handle.status() {
            response.leader = raft.leader.map_or(0, |leader| leader.0);
            response.raft_index = raft.commit.0;
            response.raft_term = raft.term.0;
            response.raft_applied_index = raft.applied.0;
            response.is_learner = raft.role == RoleKind::Learner;
        }
        if response.leader == 0 {
            response.errors.push("etcdserver: no leader".to_owned());
        }
        Ok(Response::new(response))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        self.handle.admit()?;
        let target = MemberId(request.into_inner().target_id);
        let raft = self.handle.status().ok_or(RequestError::NotOpen)?;
        if raft.role != RoleKind::Leader {
            return Err(RequestError::NotLeader {
                leader: raft.leader,
            }
            .into());
        }
        if target != raft.id {
            self.handle.transfer_leader(Some(target)).await?;
        }
        // etcd answers without a header.
        Ok(Response::new(pb::MoveLeaderResponse { header: None }))
    }
}
