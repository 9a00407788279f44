//! From a command to "applied here", whoever leads.

use std::time::Duration;

use raftery_proto::peer as proto;
use raftery_raft::{LogIndex, MemberId};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::command::{self, Command, Outcome, Waiter};
use crate::driver::ClientInput;
use crate::error::RequestError;
use crate::node::Running;
use crate::transport;

/// The largest encoded command: etcd's limit for a client's request.
pub const REQUEST_BYTES_MAX: usize = 3 << 19;
/// Pause before a proposal is tried again that found no leader.
const LEADER_PAUSE: Duration = Duration::from_millis(10);

/// Encodes a command of this member and waits until it is applied here, whoever leads.
///
/// # Errors
/// As for a client's request.
pub async fn replicate(
    running: &Running,
    command: &Command,
) -> Result<(LogIndex, Outcome), RequestError> {
    let request = running.next_request();
    let waiter = Waiter {
        origin: running.me.id,
        request,
    };
    let data = command::encode(waiter, command).map_err(|_| RequestError::Stopped)?;
    if data.len() > REQUEST_BYTES_MAX {
        return Err(RequestError::TooLarge {
            bytes: data.len(),
            bytes_max: REQUEST_BYTES_MAX,
        });
    }
    let deadline = Instant::now() + running.request_timeout;
    loop {
        let (reply, answer) = oneshot::channel();
        let propose = ClientInput::Propose {
            data: data.clone(),
            request,
            reply,
        };
        running.to_driver(propose).await?;
        let answer = timeout_at(deadline, answer)
            .await
            .map_err(|_| RequestError::TimedOut)?
            .map_err(|_| RequestError::Stopped)?;
        match answer {
            // Nothing was appended: there is no leader, or it is handing over.
            Err(RequestError::NotLeader { .. }) => {}
            other => return other,
        }
        if Instant::now() + LEADER_PAUSE >= deadline {
            return Err(if running.pulse.leader().is_some() {
                RequestError::TimedOut
            } else {
                RequestError::NoLeader
            });
        }
        tokio::time::sleep(LEADER_PAUSE).await;
    }
}

/// Has the leader do what only it can.
pub(super) async fn forward(
    running: &Running,
    leader: MemberId,
    request: proto::forward_request::Request,
) -> Result<LogIndex, RequestError> {
    let channel = running
        .channel_to(leader)
        .ok_or(RequestError::NotLeader { leader: None })?;
    let mut client = proto::peer_client::PeerClient::new(channel)
        .max_encoding_message_size(transport::FRAME_BYTES_MAX);
    let request = proto::ForwardRequest {
        cluster_id: running.me.cluster_id,
        lineage: running.me.lineage,
        request: Some(request),
    };
    match client.forward(request).await {
        Ok(response) => Ok(LogIndex(response.into_inner().index)),
        // The table's own word for it: nothing was appended.
        Err(status) if status.message() == crate::grpc::status::NOT_LEADER => {
            Err(RequestError::NotLeader { leader: None })
        }
        // It was never sent: the leader is down, and there will be another.
        Err(status) if is_caused_by::<tonic::ConnectError>(&status) => {
            Err(RequestError::NotLeader { leader: None })
        }
        // The connection broke: the leader may or may not have appended it.
        Err(status) if is_local(&status) => Err(RequestError::LeaderChanged),
        Err(status) => Err(RequestError::FromLeader {
            code: status.code() as i32,
            message: status.message().to_owned(),
        }),
    }
}

fn is_caused_by<E: std::error::Error + 'static>(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether a status was made by the client side, not sent by the leader.
fn is_local(status: &tonic::Status) -> bool {
    std::error::Error::source(status).is_some()
}
