//! etcd's KV service.

use raftery_proto::etcdserverpb as pb;
use raftery_proto::etcdserverpb::kv_server::Kv;
use raftery_store::{MAX_TXN_OPS_DEFAULT, WriteOp, WriteResult};
use tonic::{Request, Response, Status};

use super::{convert, within_limit};
use crate::error::RequestError;
use crate::handle::{Handle, Header};

pub(super) struct KvService {
    handle: Handle,
}

impl KvService {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    async fn write(&self, op: WriteOp) -> Result<(Header, WriteResult), Status> {
        let (header, result) = self.handle.write(op).await?;
        Ok((header, result))
    }
}

/// The state machine answers every kind of write with its own kind of result.
fn mismatch(result: &WriteResult) -> Status {
    tracing::error!(?result, "a write was answered with another kind of result");
    Status::internal("a write was answered with another kind of result")
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let request = request.into_inner();
        let is_serializable = request.serializable;
        if !is_serializable {
            self.handle.admit()?;
        }
        let op = convert::range_op(request)?;
        op.validate().map_err(RequestError::from)?;
        let (header, result) = self.handle.range(op, is_serializable).await?;
        let header = convert::header(&header, result.revision);
        Ok(Response::new(convert::range_response(header, result)))
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        self.handle.admit()?;
        let request = request.into_inner();
        within_limit(&request)?;
        let op = convert::put_op(request);
        op.validate().map_err(RequestError::from)?;
        match self.write(WriteOp::Put(op)).await? {
            (header, WriteResult::Put(result)) => {
                let header = convert::header(&header, result.revision);
                Ok(Response::new(convert::put_response(header, result)))
            }
            (_, other) => Err(mismatch(&other)),
        }
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        self.handle.admit()?;
        let request = request.into_inner();
        within_limit(&request)?;
        let op = convert::delete_range_op(request);
        op.validate().map_err(RequestError::from)?;
        match self.write(WriteOp::DeleteRange(op)).await? {
            (header, WriteResult::DeleteRange(result)) => {
                let header = convert::header(&header, result.revision);
                Ok(Response::new(convert::delete_range_response(
                    header, result,
                )))
            }
            (_, other) => Err(mismatch(&other)),
        }
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        self.handle.admit()?;
        let request = request.into_inner();
        within_limit(&request)?;
        let is_serializable = convert::is_serializable(&request);
        let op = convert::txn_op(request)?;
        op.validate(MAX_TXN_OPS_DEFAULT)
            .map_err(RequestError::from)?;
        let (header, result) = if op.is_read_only() {
            self.handle.read_txn(op, is_serializable).await?
        } else {
            match self.write(WriteOp::Txn(op)).await? {
                (header, WriteResult::Txn(result)) => (header, result),
                (_, other) => return Err(mismatch(&other)),
            }
        };
        let header = convert::header(&header, result.revision);
        Ok(Response::new(convert::txn_response(header, result)))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        self.handle.admit()?;
        // `physical` asks to wait until space is free: it is when the entry is applied.
        let revision = request.into_inner().revision;
        let (header, result) = self.write(WriteOp::Compact { revision }).await?;
        let header = convert::header(&header, result.revision());
        Ok(Response::new(pb::CompactionResponse {
            header: Some(header),
        }))
    }
}
