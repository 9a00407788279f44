//! The admin service: what the operator, or a person with the token, asks of one node.
//!
//! Changes are idempotent by member ID: what is done already is answered as if it had just been
//! done, whatever configuration the caller planned against.

use std::collections::BTreeMap;

use raftery_config::{VERSION, parse_url};
use raftery_proto::admin as pb;
use raftery_proto::admin::admin_server::Admin;
use raftery_raft::{MemberId, RoleKind, Rollback, Status as Raft};
use sha2::{Digest, Sha256};
use tonic::service::Interceptor;
use tonic::{Request, Response, Status};

use super::status::{NOT_LEADER, to_status};
use crate::bootstrap::{AssignError, Assignment};
use crate::clock;
use crate::cluster_version::ClusterVersion;
use crate::error::{MembershipError, RequestError};
use crate::handle::{Handle, LedgerRows, MembershipChange};
use crate::members::MemberRecord;

/// Rows that a call without a limit gets.
const ROWS_DEFAULT: usize = 1_000;
/// The most rows that one call gets.
const ROWS_MAX: usize = 10_000;

/// Lets nobody pass without the token.
#[derive(Clone)]
pub(super) struct Guard {
    /// Digest of the token; `None`: everybody may pass. Digests are compared, so that the time
    /// it takes tells nothing about the token.
    token: Option<[u8; 32]>,
}

impl Guard {
    pub(super) fn new(token: Option<String>) -> Self {
        Self {
            token: token.map(|token| Sha256::digest(token.trim().as_bytes()).into()),
        }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(wanted) = self.token else {
            return Ok(request);
        };
        let given = request
            .metadata()
            .get("authorization")
            .map(|value| value.as_bytes());
        let given = given.and_then(|bytes| bytes.strip_prefix(b"Bearer "));
        // An empty token file must not let everybody in.
        let digest = given.filter(|bytes| !bytes.is_empty()).map(Sha256::digest);
        if digest.is_some_and(|digest| digest[..] == wanted) {
            Ok(request)
        } else {
            Err(Status::unauthenticated(
                "the admin service wants the bearer token",
            ))
        }
    }
}

pub(super) struct AdminService {
    handle: Handle,
}

impl AdminService {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Raft's picture, if this member leads.
    fn leading(&self) -> Result<Raft, Status> {
        let raft = self
            .handle
            .status()
            .ok_or(RequestError::NotOpen)
            .map_err(admin_status)?;
        if raft.role == RoleKind::Leader {
            Ok(raft)
        } else {
            Err(admin_status(RequestError::NotLeader {
                leader: raft.leader,
            }))
        }
    }

    async fn change(
        &self,
        change: MembershipChange,
        expected: u64,
    ) -> Result<Response<pb::ChangeResponse>, Status> {
        let expected = Some(expected).filter(|index| *index != 0);
        let changed = self.handle.change_membership_here(change, expected).await;
        let config_index = changed.map_err(admin_status)?;
        Ok(Response::new(pb::ChangeResponse { config_index }))
    }
}

/// The table's answer, but the caller is told where the leader is.
fn admin_status(error: RequestError) -> Status {
    match error {
        RequestError::NotLeader { leader } => {
            let leader = leader.map_or(0, |leader| leader.0);
            Status::failed_precondition(format!("{NOT_LEADER}; leader is {leader:x}"))
        }
        error => to_status(&error),
    }
}

/// What is done already.
fn done(raft: &Raft) -> Result<Response<pb::ChangeResponse>, Status> {
    Ok(Response::new(pb::ChangeResponse {
        config_index: raft.membership.index.0,
    }))
}

fn member_id(id: u64) -> Result<MemberId, Status> {
    if id == 0 {
        Err(Status::invalid_argument("a member ID is never 0"))
    } else {
        Ok(MemberId(id))
    }
}

fn checked_urls(urls: &[String]) -> Result<Vec<String>, Status> {
    let checked =
        |url: &String| parse_url(url).map_err(|e| Status::invalid_argument(e.to_string()));
    urls.iter().map(checked).collect()
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn status(
        &self,
        _request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        Ok(Response::new(status_response(&self.handle)))
    }

    async fn assign(
        &self,
        request: Request<pb::AssignRequest>,
    ) -> Result<Response<pb::AssignResponse>, Status> {
        let request = request.into_inner();
        let assignment = Assignment {
            incarnation: request.incarnation,
            cluster_id: request.cluster_id,
            lineage: request.lineage,
            member_id: member_id(request.member_id)?,
            found: request.found,
        };
        self.handle
            .assign(assignment)
            .await
            .map_err(|error| assign_status(&error))?;
        Ok(Response::new(pb::AssignResponse {}))
    }

    async fn add_learner(
        &self,
        request: Request<pb::AddLearnerRequest>,
    ) -> Result<Response<pb::ChangeResponse>, Status> {
        let request = request.into_inner();
        let id = member_id(request.id)?;
        let raft = self.leading()?;
        let incarnation = Some(request.incarnation).filter(|incarnation| *incarnation != 0);
        if let Some(known) = self.handle.members().get(&id) {
            return if known.incarnation == incarnation {
                done(&raft)
            } else {
                Err(to_status(&MembershipError::IncarnationTaken { id }.into()))
            };
        }
        if request.peer_urls.is_empty() {
            return Err(Status::invalid_argument("a member needs a peer URL"));
        }
        let record = MemberRecord {
            name: request.name,
            peer_urls: checked_urls(&request.peer_urls)?,
            client_urls: checked_urls(&request.client_urls)?,
            incarnation,
            promote_when_ready: false,
        };
        let change = MembershipChange::AddLearner { id, record };
        self.change(change, request.expected_config_index).await
    }

    async fn promote(
        &self,
        request: Request<pb::PromoteRequest>,
    ) -> Result<Response<pb::ChangeResponse>, Status> {
        let request = request.into_inner();
        let id = member_id(request.id)?;
        let raft = self.leading()?;
        if raft.membership.voters.contains(&id) {
            return done(&raft);
        }
        self.change(
            MembershipChange::Promote { id },
            request.expected_config_index,
        )
        .await
    }

    async fn remove(
        &self,
        request: Request<pb::RemoveRequest>,
    ) -> Result<Response<pb::ChangeResponse>, Status> {
        let request = request.into_inner();
        let id = member_id(request.id)?;
        let raft = self.leading()?;
        if raft.membership.removed.contains(&id) {
            return done(&raft);
        }
        self.change(
            MembershipChange::Remove { id },
            request.expected_config_index,
        )
        .await
    }

    async fn swap(
        &self,
        request: Request<pb::SwapRequest>,
    ) -> Result<Response<pb::ChangeResponse>, Status> {
        let request = request.into_inner();
        let promote = member_id(request.promote)?;
        let remove = member_id(request.remove)?;
        let raft = self.leading()?;
        let membership = &raft.membership;
        if membership.voters.contains(&promote) && membership.removed.contains(&remove) {
            return done(&raft);
        }
        if remove == raft.id {
            return Err(Status::failed_precondition(
                "the leader can't be swapped: hand leadership over first",
            ));
        }
        let change = MembershipChange::Swap { promote, remove };
        self.change(change, request.expected_config_index).await
    }

    async fn transfer(
        &self,
        request: Request<pb::TransferRequest>,
    ) -> Result<Response<pb::TransferResponse>, Status> {
        let raft = self.leading()?;
        let to = Some(request.into_inner().to)
            .filter(|to| *to != 0)
            .map(MemberId);
        let leader = if to == Some(raft.id) {
            raft.id
        } else {
            self.handle
                .transfer_leader(to)
                .await
                .map_err(admin_status)?
        };
        Ok(Response::new(pb::TransferResponse {
            leader_id: leader.0,
        }))
    }

    async fn open(
        &self,
        _request: Request<pb::OpenRequest>,
    ) -> Result<Response<pb::OpenResponse>, Status> {
        self.leading()?;
        if !self.handle.is_open() {
            self.handle.open().await.map_err(admin_status)?;
        }
        Ok(Response::new(pb::OpenResponse {}))
    }

    async fn configure(
        &self,
        request: Request<pb::ConfigureRequest>,
    ) -> Result<Response<pb::ConfigureResponse>, Status> {
        let Some(config) = request.into_inner().cluster_config else {
            return Err(Status::invalid_argument("cluster_config is missing"));
        };
        let present = self.handle.scoring();
        let scoring = config.scoring(present);
        scoring
            .validate()
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.leading()?;
        if scoring != present {
            self.handle.configure(scoring).await.map_err(admin_status)?;
        }
        Ok(Response::new(pb::ConfigureResponse {}))
    }

    async fn ledger(
        &self,
        request: Request<pb::LedgerRequest>,
    ) -> Result<Response<pb::LedgerResponse>, Status> {
        let request = request.into_inner();
        let limit = match usize::try_from(request.limit) {
            Ok(0) => ROWS_DEFAULT,
            Ok(limit) => limit.min(ROWS_MAX),
            Err(_) => ROWS_MAX,
        };
        let rows = async |from_index, limit| {
            let rows = self.handle.ledger_rows(from_index, limit).await;
            rows.map_err(|error| Status::internal(error.to_string()))
        };
        let mut ledger = rows(request.from_index, limit).await?;
        // Callers go on until an answer is empty: batches of a leader without followers, which
        // have no rows, must not look like the end.
        while ledger.rows.iter().all(|row| row.batch.verdicts.is_empty()) {
            let Some(last) = ledger.rows.last() else {
                break;
            };
            ledger = rows(last.index + 1, ROWS_MAX).await?;
        }
        Ok(Response::new(ledger_response(&ledger, limit)))
    }
}

fn assign_status(error: &AssignError) -> Status {
    let text = error.to_string();
    match error {
        AssignError::IncarnationMismatch { .. }
        | AssignError::NotBlank { .. }
        | AssignError::NotManaged => Status::failed_precondition(text),
        AssignError::Zero => Status::invalid_argument(text),
        AssignError::Write(_) => Status::internal(text),
        AssignError::Stopped => Status::unavailable(text),
    }
}

fn status_response(handle: &Handle) -> pb::StatusResponse {
    let header = handle.header();
    let mut response = pb::StatusResponse {
        incarnation: handle.incarnation(),
        blank: true,
        name: handle.name().to_owned(),
        version: VERSION.to_owned(),
        ..Default::default()
    };
    let Some(raft) = handle.status() else {
        return response;
    };
    response.blank = false;
    response.cluster_id = header.cluster_id;
    response.lineage = handle.lineage();
    response.member_id = raft.id.0;
    response.open = handle.is_open();
    response.role = role(raft.role).into();
    response.leader_id = raft.leader.map_or(0, |leader| leader.0);
    response.term = raft.term.0;
    response.commit_index = raft.commit.0;
    response.applied_index = raft.applied.0;
    response.last_index = raft.last_index.0;
    response.base_index = raft.base.index.0;
    response.config_index = raft.membership.index.0;
    response.members = members(handle, &raft);
    response.removed_ids = raft.membership.removed.iter().map(|id| id.0).collect();
    response.cluster_config = Some(handle.scoring().into());
    response.rolled_back = raft.rolled_back.map(rolled_back).unwrap_or_default();
    response.repairing = raft.repairing;
    response.cluster_version = handle.cluster_version().0;
    response.cluster_version_max = ClusterVersion::HIGHEST.0;
    let ledger = handle.ledger_status();
    response.ledger = Some(pb::LedgerStatus {
        mongodb: ledger.mongodb,
        last_index: ledger.last_index,
        exported_index: ledger.exported_index,
        pending: ledger.pending,
        error: ledger.error.unwrap_or_default(),
        lost: ledger.lost,
        judged_ago_ms: ledger
            .judged_at_unix_ms
            .map(|at| clock::wall_ms().saturating_sub(at)),
    });
    response
}

fn rolled_back(evidence: Rollback) -> String {
    match evidence {
        Rollback::LogEndsEarly { term, acknowledged } => format!(
            "in term {term} this member acknowledged entries up to {acknowledged}, and its log ends \
             before"
        ),
        Rollback::BootCounterWentBack => {
            "a peer knows of a later start of this member's node than this one".to_owned()
        }
    }
}

fn role(role: RoleKind) -> pb::Role {
    match role {
        RoleKind::Learner => pb::Role::Learner,
        RoleKind::Follower => pb::Role::Follower,
        RoleKind::PreCandidate | RoleKind::Candidate => pb::Role::Candidate,
        RoleKind::Leader => pb::Role::Leader,
    }
}

fn members(handle: &Handle, raft: &Raft) -> Vec<pb::Member> {
    let progress: BTreeMap<_, _> = handle.progress().into_iter().map(|p| (p.id, p)).collect();
    let scores = handle.scores();
    let member = |(id, record): (MemberId, MemberRecord)| {
        let (score, verdict) = scores.get(&id.0).cloned().unwrap_or_default();
        let mut member = pb::Member {
            id: id.0,
            name: record.name,
            peer_urls: record.peer_urls,
            client_urls: record.client_urls,
            incarnation: record.incarnation.unwrap_or(0),
            is_learner: raft.membership.learners.contains(&id),
            score: score.slow().into(),
            fast_score: score.fast().into(),
            last_verdict: verdict
                .map(|verdict| format!("{:+} {}", verdict.points, verdict.reason.name()))
                .unwrap_or_default(),
            ..Default::default()
        };
        if raft.role == RoleKind::Leader {
            let highest = handle.cluster_version_of(id);
            member.cluster_version_max = highest.map_or(0, |highest| highest.0);
        }
        if raft.role == RoleKind::Leader && id == raft.id {
            member.match_index = Some(raft.last_index.0);
            member.last_heard_ms = Some(0);
            member.active = true;
            member.caught_up = true;
        } else if let Some(seen) = progress.get(&id) {
            member.match_index = Some(seen.matched);
            member.last_heard_ms = seen
                .last_heard
                .map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
            member.active = seen.active;
            member.caught_up = seen.caught_up;
        }
        member
    };
    handle.members().into_iter().map(member).collect()
}

/// Whole batches, as many as fit into `rows_max` and at least one, so that a caller goes on at
/// the index after the last one's without a loss.
fn ledger_response(ledger: &LedgerRows, rows_max: usize) -> pb::LedgerResponse {
    let mut rows = Vec::new();
    for row in &ledger.rows {
        if !rows.is_empty() && rows.len() + row.batch.verdicts.len() > rows_max {
            break;
        }
        rows.extend(
            (0..)
                .zip(&row.batch.verdicts)
                .map(|(ordinal, verdict)| pb::LedgerRow {
                    index: row.index,
                    ordinal,
                    term: row.batch.term,
                    window: row.batch.window.0,
                    at_unix_ms: row.batch.at_unix_ms,
                    member_id: verdict.member.0,
                    points: verdict.points,
                    reason: verdict.reason.name().to_owned(),
                }),
        );
    }
    pb::LedgerResponse {
        rows,
        oldest_index: ledger.oldest_index,
        exported_index: ledger.exported_index,
    }
}

#[cfg(test)]
#[path = "admin_test.rs"]
mod admin_test;
