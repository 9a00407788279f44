//! Between etcd's messages and the store's types. Numbers of enums are checked here, once.

use raftery_proto::etcdserverpb as pb;
use raftery_proto::mvccpb;
use raftery_store::{
    Compare, CompareResult, CompareTarget, DeleteRangeOp, DeleteRangeResult, KeyRange, KeyValue,
    PutOp, PutResult, RangeOp, RangeResult, RequestError as InvalidRequest, TxnOp, TxnRequestOp,
    TxnResponseOp, TxnResult,
};
use tonic::Status;

use crate::error::RequestError;
use crate::handle::Header;

pub(super) fn range_op(request: pb::RangeRequest) -> Result<RangeOp, RequestError> {
    Ok(RangeOp {
        range: KeyRange::from_etcd(request.key, request.range_end),
        limit: request.limit,
        revision: request.revision,
        sort_order: request.sort_order.try_into()?,
        sort_target: request.sort_target.try_into()?,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    })
}

pub(super) fn put_op(request: pb::PutRequest) -> PutOp {
    PutOp {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

pub(super) fn delete_range_op(request: pb::DeleteRangeRequest) -> DeleteRangeOp {
    DeleteRangeOp {
        range: KeyRange::from_etcd(request.key, request.range_end),
        prev_kv: request.prev_kv,
    }
}

pub(super) fn txn_op(request: pb::TxnRequest) -> Result<TxnOp, Status> {
    let ops = |ops: Vec<pb::RequestOp>| {
        ops.into_iter()
            .map(request_op)
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(TxnOp {
        compare: request
            .compare
            .into_iter()
            .map(compare)
            .collect::<Result<_, Status>>()?,
        success: ops(request.success)?,
        failure: ops(request.failure)?,
    })
}

fn request_op(op: pb::RequestOp) -> Result<TxnRequestOp, Status> {
    use pb::request_op::Request;
    Ok(match op.request {
        Some(Request::RequestRange(range)) => TxnRequestOp::Range(range_op(range)?),
        Some(Request::RequestPut(put)) => TxnRequestOp::Put(put_op(put)),
        Some(Request::RequestDeleteRange(delete)) => {
            TxnRequestOp::DeleteRange(delete_range_op(delete))
        }
        Some(Request::RequestTxn(txn)) => TxnRequestOp::Txn(txn_op(txn)?),
        None => return Err(RequestError::from(InvalidRequest::MissingOperation).into()),
    })
}

/// Reads a condition. A value that is missing, or that belongs to another target, counts as 0
/// or empty, as protobuf has it.
fn compare(compare: pb::Compare) -> Result<Compare, Status> {
    use pb::compare::{CompareResult as Result_, CompareTarget as Target, TargetUnion};
    let result = match Result_::try_from(compare.result) {
        Ok(Result_::Equal) => CompareResult::Equal,
        Ok(Result_::Greater) => CompareResult::Greater,
        Ok(Result_::Less) => CompareResult::Less,
        Ok(Result_::NotEqual) => CompareResult::NotEqual,
        Err(_) => {
            return Err(Status::invalid_argument(
                "etcdserver: invalid compare result",
            ));
        }
    };
    let given = compare.target_union;
    let target = match Target::try_from(compare.target) {
        Ok(Target::Version) => CompareTarget::Version(match given {
            Some(TargetUnion::Version(version)) => version,
            _ => 0,
        }),
        Ok(Target::Create) => CompareTarget::CreateRevision(match given {
            Some(TargetUnion::CreateRevision(revision)) => revision,
            _ => 0,
        }),
        Ok(Target::Mod) => CompareTarget::ModRevision(match given {
            Some(TargetUnion::ModRevision(revision)) => revision,
            _ => 0,
        }),
        Ok(Target::Value) => CompareTarget::Value(match given {
            Some(TargetUnion::Value(value)) => value,
            _ => Default::default(),
        }),
        Ok(Target::Lease) => CompareTarget::Lease(match given {
            Some(TargetUnion::Lease(lease)) => lease,
            _ => 0,
        }),
        Err(_) => {
            return Err(Status::invalid_argument(
                "etcdserver: invalid compare target",
            ));
        }
    };
    Ok(Compare {
        range: KeyRange::from_etcd(compare.key, compare.range_end),
        result,
        target,
    })
}

/// Whether a transaction that only reads may be answered from what this member has: every
/// range says so. One without a range does too, as with etcd.
pub(super) fn is_serializable(request: &pb::TxnRequest) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .all(|op| match &op.request {
            Some(pb::request_op::Request::RequestRange(range)) => range.serializable,
            _ => false,
        })
}

/// The header of an answer about keys: its revision is the one the answer was read or written
/// at.
pub(super) fn header(header: &Header, revision: i64) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: header.cluster_id,
        member_id: header.member_id,
        revision,
        raft_term: header.raft_term,
    }
}

/// Answers inside a transaction carry a header with the revision alone, as with etcd.
fn inner_header(revision: i64) -> pb::ResponseHeader {
    pb::ResponseHeader {
        revision,
        ..Default::default()
    }
}

pub(super) fn range_response(header: pb::ResponseHeader, result: RangeResult) -> pb::RangeResponse {
    pb::RangeResponse {
        header: Some(header),
        kvs: result.kvs.into_iter().map(key_value).collect(),
        more: result.more,
        count: result.count,
    }
}

pub(super) fn put_response(header: pb::ResponseHeader, result: PutResult) -> pb::PutResponse {
    pb::PutResponse {
        header: Some(header),
        prev_kv: result.prev_kv.map(key_value),
    }
}

pub(super) fn delete_range_response(
    header: pb::ResponseHeader,
    result: DeleteRangeResult,
) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header: Some(header),
        deleted: result.deleted,
        prev_kvs: result.prev_kvs.into_iter().map(key_value).collect(),
    }
}

pub(super) fn txn_response(header: pb::ResponseHeader, result: TxnResult) -> pb::TxnResponse {
    pb::TxnResponse {
        header: Some(header),
        succeeded: result.succeeded,
        responses: result.responses.into_iter().map(response_op).collect(),
    }
}

fn response_op(response: TxnResponseOp) -> pb::ResponseOp {
    use pb::response_op::Response;
    let response = match response {
        TxnResponseOp::Range(result) => {
            Response::ResponseRange(range_response(inner_header(result.revision), result))
        }
        TxnResponseOp::Put(result) => {
            Response::ResponsePut(put_response(inner_header(result.revision), result))
        }
        TxnResponseOp::DeleteRange(result) => Response::ResponseDeleteRange(delete_range_response(
            inner_header(result.revision),
            result,
        )),
        TxnResponseOp::Txn(result) => Response::ResponseTxn(txn_response(inner_header(0), result)),
    };
    pb::ResponseOp {
        response: Some(response),
    }
}

fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn range(serializable: bool) -> pb::RequestOp {
        let range = pb::RangeRequest {
            key: "k".into(),
            serializable,
            ..Default::default()
        };
        pb::RequestOp {
            request: Some(pb::request_op::Request::RequestRange(range)),
        }
    }

    #[test]
    fn sort_options_that_do_not_exist_are_refused() {
        for (sort_order, sort_target) in [(3, 0), (0, 5), (-1, 0)] {
            let request = pb::RangeRequest {
                sort_order,
                sort_target,
                ..Default::default()
            };
            let error = range_op(request).expect_err("no such option");
            assert_eq!(
                error,
                RequestError::Invalid(InvalidRequest::InvalidSortOption)
            );
        }
    }

    #[test]
    fn operation_that_says_nothing_is_refused_in_etcds_words() {
        let empty = pb::RequestOp { request: None };
        let request = pb::TxnRequest {
            success: vec![empty],
            ..Default::default()
        };
        let status = txn_op(request).expect_err("empty");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "etcdserver: key not found");
    }

    #[test]
    fn compares_that_do_not_exist_are_refused() {
        for (result, target) in [(4, 0), (0, 5)] {
            let compare = pb::Compare {
                result,
                target,
                key: "k".into(),
                ..Default::default()
            };
            let request = pb::TxnRequest {
                compare: vec![compare],
                ..Default::default()
            };
            let status = txn_op(request).expect_err("no such compare");
            assert_eq!(status.code(), Code::InvalidArgument);
        }
    }

    #[test]
    fn compare_takes_the_value_of_its_own_target() {
        use pb::compare::{CompareResult as Result_, CompareTarget as Target, TargetUnion};
        let given = pb::Compare {
            result: Result_::Greater.into(),
            target: Target::Mod.into(),
            key: "a".into(),
            range_end: "b".into(),
            target_union: Some(TargetUnion::ModRevision(7)),
        };
        let read = compare(given.clone()).expect("valid");
        assert_eq!(read.result, CompareResult::Greater);
        assert_eq!(read.target, CompareTarget::ModRevision(7));
        assert_eq!(read.range, KeyRange::from_etcd("a".into(), "b".into()));
        let of_another = pb::Compare {
            target: Target::Version.into(),
            ..given
        };
        let read = compare(of_another).expect("valid");
        assert_eq!(read.target, CompareTarget::Version(0));
    }

    #[test]
    fn transaction_is_serializable_when_all_its_ranges_are() {
        let txn = |success, failure| pb::TxnRequest {
            success,
            failure,
            ..Default::default()
        };
        assert!(is_serializable(&txn(vec![], vec![])));
        assert!(is_serializable(&txn(vec![range(true)], vec![range(true)])));
        assert!(!is_serializable(&txn(
            vec![range(true)],
            vec![range(false)]
        )));
    }

    #[test]
    fn answers_inside_a_transaction_carry_their_revision_alone() {
        let inner = RangeResult {
            kvs: vec![],
            more: false,
            count: 0,
            revision: 7,
        };
        let nested = TxnResult {
            succeeded: true,
            responses: vec![TxnResponseOp::Range(inner)],
            revision: 7,
        };
        let result = TxnResult {
            succeeded: true,
            responses: vec![TxnResponseOp::Txn(nested)],
            revision: 7,
        };
        let outer = Header {
            cluster_id: 1,
            member_id: 2,
            revision: 7,
            raft_term: 3,
        };
        let response = txn_response(header(&outer, 7), result);
        assert_eq!(
            response.header.map(|h| (h.cluster_id, h.revision)),
            Some((1, 7))
        );
        let Some(pb::response_op::Response::ResponseTxn(nested)) = &response.responses[0].response
        else {
            panic!("a transaction")
        };
        assert_eq!(nested.header, Some(pb::ResponseHeader::default()));
        let Some(pb::response_op::Response::ResponseRange(range)) = &nested.responses[0].response
        else {
            panic!("a range")
        };
        assert_eq!(range.header, Some(inner_header(7)));
    }
}
