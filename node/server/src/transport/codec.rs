//! Peer messages to protobuf and back.

use std::collections::BTreeSet;

use raftery_proto::peer as proto;
use raftery_raft::{
    ConfChange, Entry, LogId, LogIndex, MemberId, Membership, MessageBody, Payload, PeerMessage,
    ReadId, Term,
};

use super::Refusal;

/// A message that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a peer message lacks its {0}, or has a kind that this version doesn't know")]
pub struct CodecError(&'static str);

/// Encodes a message.
#[must_use]
pub fn encode(message: PeerMessage) -> proto::Message {
    proto::Message {
        from: message.from.0,
        to: message.to.0,
        term: message.term.0,
        body: Some(encode_body(message.body)),
    }
}

fn encode_body(body: MessageBody) -> proto::message::Body {
    use proto::message::Body;
    match body {
        MessageBody::PreVote { last } => Body::PreVote(proto::PreVote {
            last: Some(log_id(last)),
        }),
        MessageBody::PreVoteResponse { granted } => {
            Body::PreVoteResponse(proto::VoteAnswer { granted })
        }
        MessageBody::Vote { last, transfer } => Body::Vote(proto::Vote {
            last: Some(log_id(last)),
            transfer,
        }),
        MessageBody::VoteResponse { granted } => Body::VoteResponse(proto::VoteAnswer { granted }),
        MessageBody::Append {
            prev,
            entries,
            commit,
        } => Body::Append(proto::Append {
            prev: Some(log_id(prev)),
            entries: entries.into_iter().map(encode_entry).collect(),
            commit: commit.0,
        }),
        MessageBody::AppendAccepted { matched } => {
            Body::AppendAccepted(proto::AppendAccepted { matched: matched.0 })
        }
        MessageBody::AppendRejected { rejected, hint } => {
            Body::AppendRejected(proto::AppendRejected {
                rejected: rejected.0,
                hint: Some(log_id(hint)),
            })
        }
        MessageBody::Heartbeat { number, commit } => Body::Heartbeat(proto::Heartbeat {
            number,
            commit: commit.0,
        }),
        MessageBody::HeartbeatResponse { number } => {
            Body::HeartbeatResponse(proto::HeartbeatResponse { number })
        }
        MessageBody::ReadIndex { id } => Body::ReadIndex(proto::ReadIndex { id: id.0 }),
        MessageBody::ReadIndexResponse { id, index } => {
            Body::ReadIndexResponse(proto::ReadIndexResponse {
                id: id.0,
                index: index.0,
            })
        }
        MessageBody::TimeoutNow => Body::TimeoutNow(proto::TimeoutNow {}),
        MessageBody::InstallSnapshot { .. } => {
            unreachable!("a snapshot's receiver makes this message for itself")
        }
    }
}

/// Decodes a message.
///
/// # Errors
/// When something is missing or unknown.
pub fn decode(message: proto::Message) -> Result<PeerMessage, CodecError> {
    Ok(PeerMessage {
        from: MemberId(message.from),
        to: MemberId(message.to),
        term: Term(message.term),
        body: decode_body(message.body.ok_or(CodecError("body"))?)?,
    })
}

fn decode_body(body: proto::message::Body) -> Result<MessageBody, CodecError> {
    use proto::message::Body;
    Ok(match body {
        Body::PreVote(b) => MessageBody::PreVote {
            last: read_log_id(b.last)?,
        },
        Body::PreVoteResponse(b) => MessageBody::PreVoteResponse { granted: b.granted },
        Body::Vote(b) => MessageBody::Vote {
            last: read_log_id(b.last)?,
            transfer: b.transfer,
        },
        Body::VoteResponse(b) => MessageBody::VoteResponse { granted: b.granted },
        Body::Append(b) => MessageBody::Append {
            prev: read_log_id(b.prev)?,
            entries: b
                .entries
                .into_iter()
                .map(decode_entry)
                .collect::<Result<_, _>>()?,
            commit: LogIndex(b.commit),
        },
        Body::AppendAccepted(b) => MessageBody::AppendAccepted {
            matched: LogIndex(b.matched),
        },
        Body::AppendRejected(b) => MessageBody::AppendRejected {
            rejected: LogIndex(b.rejected),
            hint: read_log_id(b.hint)?,
        },
        Body::Heartbeat(b) => MessageBody::Heartbeat {
            number: b.number,
            commit: LogIndex(b.commit),
        },
        Body::HeartbeatResponse(b) => MessageBody::HeartbeatResponse { number: b.number },
        Body::ReadIndex(b) => MessageBody::ReadIndex { id: ReadId(b.id) },
        Body::ReadIndexResponse(b) => MessageBody::ReadIndexResponse {
            id: ReadId(b.id),
            index: LogIndex(b.index),
        },
        Body::TimeoutNow(proto::TimeoutNow {}) => MessageBody::TimeoutNow,
    })
}

fn encode_entry(entry: Entry) -> proto::Entry {
    use proto::entry::Payload as P;
    let payload = match entry.payload {
        Payload::Blank => P::Blank(proto::Blank {}),
        Payload::Data(data) => P::Data(data),
        Payload::ConfChange(change) => P::ConfChange(encode_change(change)),
    };
    proto::Entry {
        id: Some(log_id(entry.id)),
        payload: Some(payload),
    }
}

fn decode_entry(entry: proto::Entry) -> Result<Entry, CodecError> {
    use proto::entry::Payload as P;
    let payload = match entry.payload.ok_or(CodecError("payload"))? {
        P::Blank(proto::Blank {}) => Payload::Blank,
        P::Data(data) => Payload::Data(data),
        P::ConfChange(change) => Payload::ConfChange(decode_change(change)?),
    };
    Ok(Entry {
        id: read_log_id(entry.id)?,
        payload,
    })
}

/// Encodes a configuration.
#[must_use]
pub fn encode_membership(membership: &Membership) -> proto::Membership {
    let numbers = |ids: &BTreeSet<MemberId>| ids.iter().map(|id| id.0).collect();
    proto::Membership {
        index: membership.index.0,
        voters: numbers(&membership.voters),
        learners: numbers(&membership.learners),
        removed: numbers(&membership.removed),
    }
}

/// Decodes a configuration.
#[must_use]
pub fn decode_membership(membership: proto::Membership) -> Membership {
    let ids = |numbers: Vec<u64>| numbers.into_iter().map(MemberId).collect();
    Membership {
        index: LogIndex(membership.index),
        voters: ids(membership.voters),
        learners: ids(membership.learners),
        removed: ids(membership.removed),
    }
}

/// Encodes why a command wasn't appended.
#[must_use]
pub fn encode_refusal(refusal: Refusal) -> proto::refusal::Reason {
    match refusal {
        Refusal::NotLeader => proto::refusal::Reason::NotLeader,
        Refusal::TooManyRequests => proto::refusal::Reason::TooManyRequests,
        Refusal::NoSpace => proto::refusal::Reason::NoSpace,
    }
}

/// Decodes why a command wasn't appended.
///
/// # Errors
/// When this version doesn't know the reason.
pub fn decode_refusal(reason: i32) -> Result<Refusal, CodecError> {
    match proto::refusal::Reason::try_from(reason) {
        Ok(proto::refusal::Reason::NotLeader) => Ok(Refusal::NotLeader),
        Ok(proto::refusal::Reason::TooManyRequests) => Ok(Refusal::TooManyRequests),
        Ok(proto::refusal::Reason::NoSpace) => Ok(Refusal::NoSpace),
        Ok(proto::refusal::Reason::Unspecified) | Err(_) => Err(CodecError("reason of a refusal")),
    }
}

/// Encodes a change of membership.
#[must_use]
pub fn encode_change(change: ConfChange) -> proto::ConfChange {
    use proto::conf_change::Change as C;
    let change = match change {
        ConfChange::Found { members } => C::Found(proto::Found {
            members: members
                .into_iter()
                .map(|(id, context)| proto::AddLearner { id: id.0, context })
                .collect(),
        }),
        ConfChange::AddLearner { id, context } => {
            C::AddLearner(proto::AddLearner { id: id.0, context })
        }
        ConfChange::Promote { id } => C::Promote(id.0),
        ConfChange::Remove { id } => C::Remove(id.0),
    };
    proto::ConfChange {
        change: Some(change),
    }
}

/// Decodes a change of membership.
///
/// # Errors
/// When its kind is unknown.
pub fn decode_change(change: proto::ConfChange) -> Result<ConfChange, CodecError> {
    use proto::conf_change::Change as C;
    Ok(
        match change
            .change
            .ok_or(CodecError("kind of membership change"))?
        {
            C::Found(found) => ConfChange::Found {
                members: found
                    .members
                    .into_iter()
                    .map(|m| (MemberId(m.id), m.context))
                    .collect(),
            },
            C::AddLearner(add) => ConfChange::AddLearner {
                id: MemberId(add.id),
                context: add.context,
            },
            C::Promote(id) => ConfChange::Promote { id: MemberId(id) },
            C::Remove(id) => ConfChange::Remove { id: MemberId(id) },
        },
    )
}

pub(super) fn log_id(id: LogId) -> proto::LogId {
    proto::LogId {
        term: id.term.0,
        index: id.index.0,
    }
}

pub(super) fn read_log_id(id: Option<proto::LogId>) -> Result<LogId, CodecError> {
    let id = id.ok_or(CodecError("log position"))?;
    Ok(LogId {
        term: Term(id.term),
        index: LogIndex(id.index),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn at(term: u64, index: u64) -> LogId {
        LogId {
            term: Term(term),
            index: LogIndex(index),
        }
    }

    #[test]
    fn every_message_comes_back_as_it_went_in() {
        let found = ConfChange::Found {
            members: vec![(MemberId(3), Bytes::from_static(b"c"))],
        };
        let payloads = [
            Payload::Blank,
            Payload::Data(Bytes::from_static(b"d")),
            Payload::ConfChange(found),
            Payload::ConfChange(ConfChange::AddLearner {
                id: MemberId(4),
                context: Bytes::new(),
            }),
            Payload::ConfChange(ConfChange::Promote { id: MemberId(4) }),
            Payload::ConfChange(ConfChange::Remove { id: MemberId(4) }),
        ];
        let entries = (6..).zip(payloads).map(|(i, payload)| Entry {
            id: at(2, i),
            payload,
        });
        let bodies = [
            MessageBody::PreVote { last: at(1, 2) },
            MessageBody::PreVoteResponse { granted: true },
            MessageBody::Vote {
                last: at(1, 2),
                transfer: true,
            },
            MessageBody::VoteResponse { granted: false },
            MessageBody::Append {
                prev: at(1, 5),
                entries: entries.collect(),
                commit: LogIndex(4),
            },
            MessageBody::AppendAccepted {
                matched: LogIndex(7),
            },
            MessageBody::AppendRejected {
                rejected: LogIndex(7),
                hint: at(1, 3),
            },
            MessageBody::Heartbeat {
                number: 3,
                commit: LogIndex(4),
            },
            MessageBody::HeartbeatResponse { number: 3 },
            MessageBody::ReadIndex { id: ReadId(5) },
            MessageBody::ReadIndexResponse {
                id: ReadId(5),
                index: LogIndex(9),
            },
            MessageBody::TimeoutNow,
        ];
        for body in bodies {
            let message = PeerMessage {
                from: MemberId(1),
                to: MemberId(2),
                term: Term(3),
                body,
            };
            assert_eq!(decode(encode(message.clone())), Ok(message));
        }
    }

    #[test]
    fn a_message_without_a_body_is_refused() {
        assert!(decode(proto::Message::default()).is_err());
    }
}
