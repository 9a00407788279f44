//! Peer messages to protobuf and back.

use std::collections::BTreeSet;
use std::time::Duration;

use raftery_behaviour::{self as behaviour, Link, Report, Times, View};
use raftery_proto::peer as proto;
use raftery_raft::{
    ConfChange, Entry, Heartbeat, LogId, LogIndex, MemberChange, MemberId, Membership, MessageBody,
    Payload, PeerMessage, ReadId, Term,
};

use super::Refusal;
use crate::driver::Told;

/// Encodes what a follower tells its leader.
#[must_use]
pub fn encode_told(told: Told) -> proto::Report {
    let Told {
        term,
        report,
        former,
    } = told;
    let link = |link: Link| proto::Link {
        peer: link.peer.0,
        min_us: link.min_micros,
        p95_us: link.p95_micros,
    };
    proto::Report {
        term: term.0,
        syncs: report.syncs.map(encode_times),
        oldest_write_us: report.oldest_write_micros,
        lateness: report.lateness.map(encode_times),
        commits: report.commits.map(encode_times),
        links: report.links.into_iter().map(link).collect(),
        heartbeat_interval_ms: report.heartbeat_interval_ms,
        election_timeout_ms: report.election_timeout_ms,
        repairs: report.repairs,
        former: former.map(|view| proto::View {
            leader: view.leader.0,
            term: view.term,
            windows: view.windows,
            slow: view.slow,
        }),
    }
}

/// Decodes what a follower tells its leader. Any numbers make sense: they are only compared.
#[must_use]
pub fn decode_told(report: proto::Report) -> Told {
    let link = |link: proto::Link| Link {
        peer: behaviour::MemberId(link.peer),
        min_micros: link.min_us,
        p95_micros: link.p95_us,
    };
    Told {
        term: Term(report.term),
        former: report.former.map(|view| View {
            leader: behaviour::MemberId(view.leader),
            term: view.term,
            windows: view.windows,
            slow: view.slow,
        }),
        report: Report {
            syncs: report.syncs.map(decode_times),
            oldest_write_micros: report.oldest_write_us,
            lateness: report.lateness.map(decode_times),
            commits: report.commits.map(decode_times),
            links: report.links.into_iter().take(LINKS_MAX).map(link).collect(),
            heartbeat_interval_ms: report.heartbeat_interval_ms,
            election_timeout_ms: report.election_timeout_ms,
            repairs: report.repairs,
        },
    }
}

fn encode_times(times: Times) -> proto::Times {
    proto::Times {
        p50_us: times.p50_micros,
        p95_us: times.p95_micros,
        max_us: times.max_micros,
    }
}

fn decode_times(times: proto::Times) -> Times {
    Times {
        p50_micros: times.p50_us,
        p95_micros: times.p95_us,
        max_micros: times.max_us,
    }
}

/// For the wire: whole microseconds, rounded down.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Links that a report may speak of; more members there are not.
const LINKS_MAX: usize = 64;

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
            asked_by: transfer.map(|leader| leader.0),
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
        MessageBody::Heartbeat(beat) => Body::Heartbeat(proto::Heartbeat {
            number: beat.number,
            commit: beat.commit.0,
            interval_us: micros(beat.interval),
            stalled_us: micros(beat.stalled),
            delay_us: micros(beat.delay),
        }),
        MessageBody::HeartbeatResponse { number, promise } => {
            Body::HeartbeatResponse(proto::HeartbeatResponse {
                number,
                // Rounded down: the leader must not rely on more than what was promised.
                promise_us: micros(promise),
            })
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
            transfer: b.asked_by.map(MemberId),
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
        Body::Heartbeat(b) => MessageBody::Heartbeat(Heartbeat {
            number: b.number,
            commit: LogIndex(b.commit),
            interval: Duration::from_micros(b.interval_us),
            stalled: Duration::from_micros(b.stalled_us),
            delay: Duration::from_micros(b.delay_us),
        }),
        // Raft takes no promise for longer than the longest there is.
        Body::HeartbeatResponse(b) => MessageBody::HeartbeatResponse {
            number: b.number,
            promise: Duration::from_micros(b.promise_us),
        },
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
        outgoing: numbers(&membership.outgoing),
        learners_next: numbers(&membership.learners_next),
    }
}

/// Decodes a configuration. Whether it is a possible one is for Raft to say.
#[must_use]
pub fn decode_membership(membership: proto::Membership) -> Membership {
    let ids = |numbers: Vec<u64>| numbers.into_iter().map(MemberId).collect();
    Membership {
        index: LogIndex(membership.index),
        voters: ids(membership.voters),
        outgoing: ids(membership.outgoing),
        learners: ids(membership.learners),
        learners_next: ids(membership.learners_next),
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
        ConfChange::Change { changes } => C::Several(proto::SeveralChanges {
            changes: changes.into_iter().map(encode_member_change).collect(),
        }),
        ConfChange::LeaveJoint => C::LeaveJoint(proto::LeaveJoint {}),
    };
    proto::ConfChange {
        change: Some(change),
    }
}

fn encode_member_change(change: MemberChange) -> proto::MemberChange {
    use proto::member_change::Change as C;
    let change = match change {
        MemberChange::AddLearner { id, context } => {
            C::AddLearner(proto::AddLearner { id: id.0, context })
        }
        MemberChange::Promote { id } => C::Promote(id.0),
        MemberChange::Demote { id } => C::Demote(id.0),
        MemberChange::Remove { id } => C::Remove(id.0),
    };
    proto::MemberChange {
        change: Some(change),
    }
}

/// Decodes a change of membership.
///
/// # Errors
/// When its kind is unknown, or it is several changes of which one is unknown, or there is none, or
/// two are of one member.
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
            C::Several(several) => ConfChange::Change {
                changes: decode_member_changes(several.changes)?,
            },
            C::LeaveJoint(proto::LeaveJoint {}) => ConfChange::LeaveJoint,
        },
    )
}

fn decode_member_changes(
    changes: Vec<proto::MemberChange>,
) -> Result<Vec<MemberChange>, CodecError> {
    use proto::member_change::Change as C;
    let decode = |change: proto::MemberChange| {
        Ok(
            match change
                .change
                .ok_or(CodecError("kind of change of a member"))?
            {
                C::AddLearner(add) => MemberChange::AddLearner {
                    id: MemberId(add.id),
                    context: add.context,
                },
                C::Promote(id) => MemberChange::Promote { id: MemberId(id) },
                C::Demote(id) => MemberChange::Demote { id: MemberId(id) },
                C::Remove(id) => MemberChange::Remove { id: MemberId(id) },
            },
        )
    };
    let changes: Vec<_> = changes.into_iter().map(decode).collect::<Result<_, _>>()?;
    let ids: BTreeSet<_> = changes.iter().map(MemberChange::id).collect();
    if changes.is_empty() || ids.len() < changes.len() {
        return Err(CodecError("changes, each of another member"));
    }
    Ok(changes)
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
            Payload::ConfChange(ConfChange::Change {
                changes: vec![
                    MemberChange::AddLearner {
                        id: MemberId(5),
                        context: Bytes::from_static(b"e"),
                    },
                    MemberChange::Promote { id: MemberId(4) },
                    MemberChange::Demote { id: MemberId(3) },
                    MemberChange::Remove { id: MemberId(2) },
                ],
            }),
            Payload::ConfChange(ConfChange::LeaveJoint),
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
                transfer: Some(MemberId(2)),
            },
            MessageBody::Vote {
                last: at(1, 2),
                transfer: None,
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
            MessageBody::Heartbeat(Heartbeat {
                number: 3,
                commit: LogIndex(4),
                interval: Duration::from_micros(30_001),
                stalled: Duration::from_millis(7),
                delay: Duration::from_micros(12),
            }),
            MessageBody::HeartbeatResponse {
                number: 3,
                promise: Duration::from_micros(1_000_001),
            },
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

    #[test]
    fn a_promise_never_grows_on_the_way() {
        let promise = Duration::from_nanos(1_999);
        let message = PeerMessage {
            from: MemberId(1),
            to: MemberId(2),
            term: Term(3),
            body: MessageBody::HeartbeatResponse { number: 1, promise },
        };
        let arrived = decode(encode(message)).unwrap().body;
        let promise = Duration::from_micros(1);
        assert_eq!(
            arrived,
            MessageBody::HeartbeatResponse { number: 1, promise }
        );
    }

    #[test]
    fn a_joint_configuration_comes_back_as_it_went_in() {
        let ids = |ids: &[u64]| ids.iter().copied().map(MemberId).collect();
        let membership = Membership {
            index: LogIndex(9),
            voters: ids(&[1, 4]),
            outgoing: ids(&[1, 2, 3]),
            learners: ids(&[5]),
            learners_next: ids(&[2]),
            removed: ids(&[6]),
        };
        assert_eq!(
            decode_membership(encode_membership(&membership)),
            membership
        );
    }

    #[test]
    fn several_changes_that_are_none_or_unknown_or_of_one_member_are_refused() {
        let several = |changes| {
            let several = proto::SeveralChanges { changes };
            decode_change(proto::ConfChange {
                change: Some(proto::conf_change::Change::Several(several)),
            })
        };
        let promote = proto::MemberChange {
            change: Some(proto::member_change::Change::Promote(4)),
        };
        assert!(several(vec![promote.clone()]).is_ok());
        assert!(several(vec![promote.clone(), promote]).is_err());
        assert!(several(Vec::new()).is_err());
        assert!(several(vec![proto::MemberChange::default()]).is_err());
    }
}
