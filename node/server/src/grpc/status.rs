//! The one table from errors to etcd's codes and strings. Clients tell errors apart by the
//! string, so it must be etcd's to the letter (etcd's `rpctypes/error.go`).

use raftery_raft::ConfChangeError;
use raftery_store::{RequestError as InvalidRequest, StoreError};
use tonic::{Code, Status};

use crate::error::{MembershipError, RequestError};

/// What a follower recognises when it asked the wrong member: nothing was done there.
pub(crate) const NOT_LEADER: &str = "etcdserver: not leader";

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        to_status(&error)
    }
}

/// What a client is told. Where etcd has no such error, the message is our own.
pub(crate) fn to_status(error: &RequestError) -> Status {
    let (code, text) = match error {
        RequestError::Invalid(invalid) => invalid_request(*invalid),
        RequestError::Store(StoreError::KeyNotFound) => (Code::InvalidArgument, "key not found"),
        RequestError::Store(StoreError::LeaseNotFound { .. }) => {
            (Code::NotFound, "requested lease not found")
        }
        RequestError::Store(StoreError::Compacted { .. }) => (
            Code::OutOfRange,
            "mvcc: required revision has been compacted",
        ),
        RequestError::Store(StoreError::FutureRevision { .. }) => (
            Code::OutOfRange,
            "mvcc: required revision is a future revision",
        ),
        RequestError::TooLarge { .. } => (Code::InvalidArgument, "request is too large"),
        RequestError::NoSpace => (Code::ResourceExhausted, "mvcc: database space exceeded"),
        RequestError::TooManyRequests => (Code::ResourceExhausted, "too many requests"),
        RequestError::NoLeader => (Code::Unavailable, "no leader"),
        RequestError::LeaderChanged => (Code::Unavailable, "leader changed"),
        RequestError::TimedOut => (Code::Unavailable, "request timed out"),
        RequestError::Stopped => (Code::Unavailable, "server stopped"),
        RequestError::Learner => (Code::FailedPrecondition, "rpc not supported for learner"),
        RequestError::NotLeader { .. } => {
            return Status::failed_precondition(NOT_LEADER);
        }
        RequestError::BadTransferee(_) => (Code::FailedPrecondition, "bad leader transferee"),
        RequestError::Membership(membership) => return membership_change(membership),
        RequestError::FromLeader { code, message } => {
            return Status::new(Code::from_i32(*code), message.clone());
        }
        RequestError::Unreadable(_) => return ours(Code::DataLoss, error),
        RequestError::NotOpen => return ours(Code::Unavailable, error),
        RequestError::Store(StoreError::WriteInReadTxn) => return ours(Code::Internal, error),
    };
    etcds(code, text)
}

fn invalid_request(error: InvalidRequest) -> (Code, &'static str) {
    let text = match error {
        InvalidRequest::EmptyKey => "key is not provided",
        InvalidRequest::ValueProvided => "value is provided",
        InvalidRequest::LeaseProvided => "lease is provided",
        InvalidRequest::TooManyOps => "too many operations in txn request",
        InvalidRequest::DuplicateKey => "duplicate key given in txn request",
        InvalidRequest::InvalidSortOption => "invalid sort option",
        InvalidRequest::MissingOperation => "key not found",
    };
    (Code::InvalidArgument, text)
}

fn membership_change(error: &MembershipError) -> Status {
    let text = match error {
        MembershipError::Conf(ConfChangeError::AlreadyMember(_)) => "member ID already exist",
        MembershipError::Conf(ConfChangeError::WasRemoved(_) | ConfChangeError::NotMember(_)) => {
            return etcds(Code::NotFound, "member not found");
        }
        MembershipError::Conf(ConfChangeError::NotLearner(_)) => {
            "can only promote a learner member"
        }
        MembershipError::Conf(ConfChangeError::NotCaughtUp(_)) => {
            "can only promote a learner member which is in sync with leader"
        }
        MembershipError::Conf(ConfChangeError::LastVoter(_) | ConfChangeError::NoVoterLeft)
        | MembershipError::Unhealthy { .. } => {
            "re-configuration failed due to not enough started members"
        }
        MembershipError::PeerUrlTaken(_) => "Peer URLs already exists",
        MembershipError::InvalidUrl(_) => {
            return etcds(Code::InvalidArgument, "given member URLs are invalid");
        }
        MembershipError::TooManyLearners => "too many learner members in cluster",
        // Asking again is right, and what clients do when they hear this code.
        MembershipError::Busy | MembershipError::Conf(ConfChangeError::Joint) => {
            return ours(Code::Unavailable, error);
        }
        MembershipError::NotAdded { .. } => return ours(Code::NotFound, error),
        MembershipError::Malformed(_)
        | MembershipError::Conf(ConfChangeError::Duplicate(_) | ConfChangeError::Empty) => {
            return ours(Code::InvalidArgument, error);
        }
        MembershipError::Conf(
            ConfChangeError::AlreadyFounded
            | ConfChangeError::TooManyLoseVote { .. }
            | ConfChangeError::NotVoter(_)
            | ConfChangeError::NotJoint,
        )
        | MembershipError::ConfigurationMoved { .. }
        | MembershipError::ClusterVersion { .. }
        | MembershipError::IncarnationTaken { .. } => {
            return ours(Code::FailedPrecondition, error);
        }
    };
    etcds(Code::FailedPrecondition, text)
}

/// An error that etcd has too.
fn etcds(code: Code, text: &str) -> Status {
    Status::new(code, format!("etcdserver: {text}"))
}

/// An error of our own.
fn ours(code: Code, error: &impl std::error::Error) -> Status {
    Status::new(code, format!("etcdserver: {error}"))
}

#[cfg(test)]
mod tests {
    use raftery_raft::MemberId;

    use super::*;

    const MEMBER: MemberId = MemberId(0xa);

    /// Every error with what etcd's clients must see.
    fn table() -> Vec<(RequestError, Code, &'static str)> {
        use Code::{
            FailedPrecondition, Internal, InvalidArgument, NotFound, OutOfRange, ResourceExhausted,
            Unavailable,
        };
        use RequestError as E;
        let conf = |error| E::Membership(MembershipError::Conf(error));
        vec![
            (
                InvalidRequest::EmptyKey.into(),
                InvalidArgument,
                "key is not provided",
            ),
            (
                InvalidRequest::ValueProvided.into(),
                InvalidArgument,
                "value is provided",
            ),
            (
                InvalidRequest::LeaseProvided.into(),
                InvalidArgument,
                "lease is provided",
            ),
            (
                InvalidRequest::TooManyOps.into(),
                InvalidArgument,
                "too many operations in txn request",
            ),
            (
                InvalidRequest::DuplicateKey.into(),
                InvalidArgument,
                "duplicate key given in txn request",
            ),
            (
                InvalidRequest::InvalidSortOption.into(),
                InvalidArgument,
                "invalid sort option",
            ),
            (
                InvalidRequest::MissingOperation.into(),
                InvalidArgument,
                "key not found",
            ),
            (
                StoreError::KeyNotFound.into(),
                InvalidArgument,
                "key not found",
            ),
            (
                StoreError::LeaseNotFound { lease: 1 }.into(),
                NotFound,
                "requested lease not found",
            ),
            (
                StoreError::Compacted {
                    requested: 1,
                    compact_revision: 2,
                }
                .into(),
                OutOfRange,
                "mvcc: required revision has been compacted",
            ),
            (
                StoreError::FutureRevision {
                    requested: 2,
                    current_revision: 1,
                }
                .into(),
                OutOfRange,
                "mvcc: required revision is a future revision",
            ),
            (
                StoreError::WriteInReadTxn.into(),
                Internal,
                "a transaction that writes was handed to the read path",
            ),
            (
                E::TooLarge {
                    bytes: 2,
                    bytes_max: 1,
                },
                InvalidArgument,
                "request is too large",
            ),
            (E::TooManyRequests, ResourceExhausted, "too many requests"),
            (E::NoLeader, Unavailable, "no leader"),
            (E::LeaderChanged, Unavailable, "leader changed"),
            (E::TimedOut, Unavailable, "request timed out"),
            (E::Stopped, Unavailable, "server stopped"),
            (
                E::NotOpen,
                Unavailable,
                "the cluster is being founded and not open for clients yet",
            ),
            (
                E::Learner,
                FailedPrecondition,
                "rpc not supported for learner",
            ),
            (
                E::NotLeader {
                    leader: Some(MEMBER),
                },
                FailedPrecondition,
                "not leader",
            ),
            (
                E::BadTransferee(MEMBER),
                FailedPrecondition,
                "bad leader transferee",
            ),
            (
                conf(ConfChangeError::AlreadyMember(MEMBER)),
                FailedPrecondition,
                "member ID already exist",
            ),
            (
                conf(ConfChangeError::WasRemoved(MEMBER)),
                NotFound,
                "member not found",
            ),
            (
                conf(ConfChangeError::NotMember(MEMBER)),
                NotFound,
                "member not found",
            ),
            (
                conf(ConfChangeError::NotLearner(MEMBER)),
                FailedPrecondition,
                "can only promote a learner member",
            ),
            (
                conf(ConfChangeError::NotCaughtUp(MEMBER)),
                FailedPrecondition,
                "can only promote a learner member which is in sync with leader",
            ),
            (
                conf(ConfChangeError::LastVoter(MEMBER)),
                FailedPrecondition,
                "re-configuration failed due to not enough started members",
            ),
            (
                conf(ConfChangeError::NoVoterLeft),
                FailedPrecondition,
                "re-configuration failed due to not enough started members",
            ),
            (
                conf(ConfChangeError::TooManyLoseVote { lose: 2, voters: 3 }),
                FailedPrecondition,
                "2 of 3 voters would lose their vote at once: in one change at most a minority may, \
                 so do it in two",
            ),
            (
                conf(ConfChangeError::NotVoter(MEMBER)),
                FailedPrecondition,
                "a is not a voter",
            ),
            (
                conf(ConfChangeError::Duplicate(MEMBER)),
                InvalidArgument,
                "a is changed twice",
            ),
            (
                conf(ConfChangeError::Empty),
                InvalidArgument,
                "nothing changes",
            ),
            (
                conf(ConfChangeError::Joint),
                Unavailable,
                "the configuration is joint, and no other change follows until that is left",
            ),
            (
                conf(ConfChangeError::NotJoint),
                FailedPrecondition,
                "the configuration is not joint",
            ),
            (
                conf(ConfChangeError::AlreadyFounded),
                FailedPrecondition,
                "the cluster is founded already",
            ),
            (
                MembershipError::PeerUrlTaken("u".into()).into(),
                FailedPrecondition,
                "Peer URLs already exists",
            ),
            (
                MembershipError::InvalidUrl("u".into()).into(),
                InvalidArgument,
                "given member URLs are invalid",
            ),
            (
                MembershipError::Busy.into(),
                Unavailable,
                "another change of membership is under way",
            ),
            (
                MembershipError::ConfigurationMoved {
                    expected: 1,
                    actual: 2,
                }
                .into(),
                FailedPrecondition,
                "the configuration is that of index 2, not 1",
            ),
            (
                MembershipError::Unhealthy {
                    active: 1,
                    voters: 3,
                }
                .into(),
                FailedPrecondition,
                "re-configuration failed due to not enough started members",
            ),
            (
                MembershipError::TooManyLearners.into(),
                FailedPrecondition,
                "too many learner members in cluster",
            ),
            (
                MembershipError::Malformed("m".into()).into(),
                InvalidArgument,
                "malformed change of membership: m",
            ),
            (
                MembershipError::NotAdded { urls: "u".into() }.into(),
                NotFound,
                "no member was added with the peer URLs u: add it first (etcdctl member add)",
            ),
            (
                MembershipError::IncarnationTaken { id: MEMBER }.into(),
                FailedPrecondition,
                "member a has another disk already; remove it and add a new member for this one",
            ),
        ]
    }

    #[test]
    fn every_error_has_etcds_code_and_string() {
        for (error, code, text) in table() {
            let status = Status::from(error.clone());
            assert_eq!(status.code(), code, "{error:?}");
            assert_eq!(status.message(), format!("etcdserver: {text}"), "{error:?}");
        }
    }

    #[test]
    fn what_the_leader_said_is_passed_on_unchanged() {
        let error = RequestError::FromLeader {
            code: 9,
            message: "etcdserver: x".into(),
        };
        let status = Status::from(error);
        assert_eq!(
            (status.code(), status.message()),
            (Code::FailedPrecondition, "etcdserver: x")
        );
    }
}
