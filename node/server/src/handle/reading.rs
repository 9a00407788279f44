//! Ranges that may be long are read where nobody else waits, in parts, so that what is committed
//! meanwhile is applied in between. All parts are of one revision.

use std::sync::Arc;

use raftery_store::{KeyRange, RangeOp, RangeResult};

use crate::error::RequestError;
use crate::node::Running;

/// Pairs of a range that is read at once.
const SHORT_MAX: i64 = 100;
/// Pairs of each part of a long one.
const PART: usize = 1_000;

/// Whether reading takes a moment at most.
pub(super) fn is_short(op: &RangeOp) -> bool {
    let is_limited = (1..=SHORT_MAX).contains(&op.limit) && op.is_in_parts();
    matches!(op.range, KeyRange::Key(_)) || is_limited
}

/// Reads a range that may be long.
pub(super) async fn long(running: &Arc<Running>, op: RangeOp) -> Result<RangeResult, RequestError> {
    let running = Arc::clone(running);
    let read = tokio::task::spawn_blocking(move || {
        if op.is_in_parts() {
            in_parts(&running, &op)
        } else {
            Ok(running.read_state().store.range(&op)?)
        }
    });
    // The runtime takes no work any more: the node goes down.
    read.await.map_err(|_| RequestError::Stopped)?
}

fn in_parts(running: &Running, op: &RangeOp) -> Result<RangeResult, RequestError> {
    let limit = usize::try_from(op.limit).unwrap_or(0);
    let limit = if limit == 0 { usize::MAX } else { limit };
    let first = RangeOp {
        limit: i64::try_from(limit.min(PART)).unwrap_or(i64::MAX),
        ..op.clone()
    };
    let mut result = running.read_state().store.range(&first)?;
    // The first part tells the revision of them all.
    let revision = if op.revision > 0 {
        op.revision
    } else {
        result.revision
    };
    let count = usize::try_from(result.count).unwrap_or(usize::MAX);
    let wanted = count.min(limit);
    while result.kvs.len() < wanted
        && let Some(last) = result.kvs.last().map(|kv| kv.key.clone())
    {
        let max = PART.min(wanted - result.kvs.len());
        let state = running.read_state();
        let part = state.store.range_behind(op, &last, revision, max)?;
        if part.is_empty() {
            break;
        }
        result.kvs.extend(part);
    }
    result.more = count > result.kvs.len();
    Ok(result)
}
