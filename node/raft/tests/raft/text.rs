//! Raft's words in short, for transcripts.

use std::time::Duration;

use raftery_raft::{
    ConfChange, Entry, HardState, Instant, LogId, MemberChange, MemberId, MessageBody, Payload,
    PeerMessage, PersistBatch, ReadId,
};

/// 1 is A, 2 is B, …
pub(crate) fn name(id: MemberId) -> char {
    char::from(b'A' + u8::try_from(id.0 - 1).expect("few members"))
}

pub(crate) fn names(ids: impl IntoIterator<Item = MemberId>) -> String {
    ids.into_iter().map(name).collect()
}

pub(crate) fn message(m: &PeerMessage) -> String {
    format!(
        "{} -> {}  t{} {}",
        name(m.from),
        name(m.to),
        m.term,
        body(&m.body)
    )
}

fn body(body: &MessageBody) -> String {
    let yes_no = |granted: &bool| if *granted { "yes" } else { "no" };
    match body {
        MessageBody::PreVote { last } => format!("PreVote, last {}", log_id(*last)),
        MessageBody::PreVoteResponse { granted } => format!("PreVote: {}", yes_no(granted)),
        MessageBody::Vote { last, transfer } => {
            let by_leader =
                transfer.map_or_else(String::new, |leader| format!(", asked by {}", name(leader)));
            format!("Vote, last {}{by_leader}", log_id(*last))
        }
        MessageBody::VoteResponse { granted } => format!("Vote: {}", yes_no(granted)),
        MessageBody::Append {
            prev,
            entries: list,
            commit,
        } => {
            format!(
                "Append after {} {} commit {commit}",
                log_id(*prev),
                entries(list)
            )
        }
        MessageBody::AppendAccepted { matched } => format!("accepted to {matched}"),
        MessageBody::AppendRejected { rejected, hint } => {
            format!("rejected after {rejected}, try {}", log_id(*hint))
        }
        MessageBody::Heartbeat(beat) => {
            format!("Heartbeat {} commit {}", beat.number, beat.commit)
        }
        MessageBody::HeartbeatResponse { number, promise } if promise.is_zero() => {
            format!("heard {number}")
        }
        MessageBody::HeartbeatResponse { number, promise } => {
            format!("heard {number}, promises {promise:?}")
        }
        MessageBody::ReadIndex { id } => format!("ReadIndex, read {}", wire(*id)),
        MessageBody::ReadIndexResponse { id, index } => format!("read {} at {index}", wire(*id)),
        MessageBody::TimeoutNow => "TimeoutNow".into(),
        MessageBody::InstallSnapshot { meta } => {
            format!("InstallSnapshot up to {}", log_id(meta.last))
        }
    }
}

/// Milliseconds since boot.
pub(crate) fn millis(at: Instant) -> String {
    if at == Instant(Duration::MAX) {
        "ever".into()
    } else {
        format!("{}ms", at.0.as_millis())
    }
}

/// The count in a read's name on the wire; the rest is random.
fn wire(id: ReadId) -> String {
    format!("~{}", id.0 & u64::from(u32::MAX))
}

pub(crate) fn batch(batch: &PersistBatch) -> String {
    let HardState { term, vote, commit } = batch.hard_state;
    let vote = vote.map_or('-', name);
    let base = batch
        .base
        .map_or_else(String::new, |id| format!("behind {} ", log_id(id)));
    format!(
        "#{} t{term} vote {vote} commit {commit} {base}{}",
        batch.seq,
        entries(&batch.entries)
    )
}

pub(crate) fn entries(list: &[Entry]) -> String {
    let words: Vec<_> = list.iter().map(entry).collect();
    format!("[{}]", words.join(", "))
}

/// `index/term what`
pub(crate) fn entry(e: &Entry) -> String {
    format!("{} {}", log_id(e.id), payload(&e.payload))
}

pub(crate) fn log_id(id: LogId) -> String {
    format!("{}/{}", id.index, id.term)
}

fn payload(payload: &Payload) -> String {
    match payload {
        Payload::Blank => "blank".into(),
        Payload::Data(data) => String::from_utf8_lossy(data).into_owned(),
        Payload::ConfChange(ConfChange::Found { members }) => {
            format!("found {}", names(members.iter().map(|(id, _)| *id)))
        }
        Payload::ConfChange(ConfChange::AddLearner { id, .. }) => format!("add {}", name(*id)),
        Payload::ConfChange(ConfChange::Promote { id }) => format!("promote {}", name(*id)),
        Payload::ConfChange(ConfChange::Remove { id }) => format!("remove {}", name(*id)),
        Payload::ConfChange(ConfChange::Change { changes }) => {
            let words: Vec<_> = changes.iter().map(one_change).collect();
            words.join(" & ")
        }
        Payload::ConfChange(ConfChange::LeaveJoint) => "leave joint".into(),
    }
}

fn one_change(change: &MemberChange) -> String {
    let what = match change {
        MemberChange::AddLearner { .. } => "add",
        MemberChange::Promote { .. } => "promote",
        MemberChange::Demote { .. } => "demote",
        MemberChange::Remove { .. } => "remove",
    };
    format!("{what} {}", name(change.id()))
}
