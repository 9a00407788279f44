//! What a caller does over and over.

use std::fmt;

use bytes::Bytes;
use clap::ValueEnum;
use fastrand::Rng;
use raftery_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use raftery_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op, response_op,
};
use serde::Serialize;

use crate::keys::Keys;
use crate::wire::{CallError, Connection};

/// Of a hundred operations of the mix, so many are reads.
const MIX_READS: u8 = 80;

/// A kind of load. Keys are drawn evenly from all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Overwrite a key
    Put,
    /// Read a key, linearizable
    Get,
    /// Read a key as the member that is asked has it
    SerializableGet,
    /// 80 % linearizable reads, 20 % puts
    Mix,
    /// Put a key if its mod_revision is still the one last seen
    Txn,
    /// Put with a single caller, which goes round the connections
    OnePut,
}

impl Workload {
    /// All of them, in the order of a round.
    pub const ALL: [Self; 6] = [
        Self::Put,
        Self::Get,
        Self::SerializableGet,
        Self::Mix,
        Self::Txn,
        Self::OnePut,
    ];

    /// How many callers it is meant for.
    #[must_use]
    pub fn callers(self) -> usize {
        match self {
            Self::OnePut => 1,
            Self::Put | Self::Get | Self::SerializableGet | Self::Mix | Self::Txn => 256,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Put => "put",
            Self::Get => "linearizable get",
            Self::SerializableGet => "serializable get",
            Self::Mix => "80 % get, 20 % put",
            Self::Txn => "compare-and-put txn",
            Self::OnePut => "put, one caller",
        })
    }
}

/// What an answer told.
pub struct Answer {
    /// The term of the member that answered.
    pub term: u64,
    /// Another caller's write came between: the compare of a txn failed.
    pub is_conflict: bool,
}

/// One operation of `workload` on a random key. `revisions` holds the mod_revision last seen of
/// every key; only txns use it.
pub async fn operate(
    workload: Workload,
    connection: &mut Connection,
    keys: &Keys,
    revisions: &std::cell::RefCell<Vec<i64>>,
    random: &mut Rng,
) -> Result<Answer, CallError> {
    let number = random.usize(0..keys.count());
    let key = keys.key(number);
    match workload {
        Workload::Put | Workload::OnePut => put(connection, key, keys.value(random)).await,
        Workload::Get => get(connection, key, false).await,
        Workload::SerializableGet => get(connection, key, true).await,
        Workload::Mix if random.u8(..100) < MIX_READS => get(connection, key, false).await,
        Workload::Mix => put(connection, key, keys.value(random)).await,
        Workload::Txn => {
            // Not across the await: another caller may be at the same key.
            let seen = revisions.borrow()[number];
            let (answer, now) = compare_and_put(connection, key, keys.value(random), seen).await?;
            revisions.borrow_mut()[number] = now;
            Ok(answer)
        }
    }
}

async fn put(connection: &mut Connection, key: Bytes, value: Bytes) -> Result<Answer, CallError> {
    let answer = connection.put(&put_request(key, value)).await?;
    Ok(Answer {
        term: answer.header.map_or(0, |header| header.raft_term),
        is_conflict: false,
    })
}

async fn get(
    connection: &mut Connection,
    key: Bytes,
    serializable: bool,
) -> Result<Answer, CallError> {
    let answer = connection
        .range(&RangeRequest {
            key,
            serializable,
            ..Default::default()
        })
        .await?;
    if answer.kvs.len() != 1 {
        return Err(CallError::new("the key to read isn't there"));
    }
    Ok(Answer {
        term: answer.header.map_or(0, |header| header.raft_term),
        is_conflict: false,
    })
}

/// Puts the key if its mod_revision is still `seen`, reads it otherwise; with its mod_revision
/// after that.
async fn compare_and_put(
    connection: &mut Connection,
    key: Bytes,
    value: Bytes,
    seen: i64,
) -> Result<(Answer, i64), CallError> {
    let read = RangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    let request = TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::ModRevision(seen)),
            ..Default::default()
        }],
        success: vec![operation(request_op::Request::RequestPut(put_request(
            key, value,
        )))],
        failure: vec![operation(request_op::Request::RequestRange(read))],
    };
    let answer = connection.txn(&request).await?;
    let header = answer.header.unwrap_or_default();
    let now = if answer.succeeded {
        header.revision
    } else {
        let read = answer.responses.into_iter().find_map(|one| one.response);
        match read {
            Some(response_op::Response::ResponseRange(range)) => {
                range.kvs.first().map_or(0, |pair| pair.mod_revision)
            }
            _ => return Err(CallError::new("a failed compare without its read")),
        }
    };
    let told = Answer {
        term: header.raft_term,
        is_conflict: !answer.succeeded,
    };
    Ok((told, now))
}

fn put_request(key: Bytes, value: Bytes) -> PutRequest {
    PutRequest {
        key,
        value,
        ..Default::default()
    }
}

fn operation(request: request_op::Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}
