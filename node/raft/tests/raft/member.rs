//! One member, and short words for what goes in and comes out.

use std::time::Duration;

use bytes::Bytes;
use raftery_raft::{
    Entry, HardState, Instant, LogId, LogIndex, MemberId, MessageBody, Payload, PeerMessage,
    PersistBatch, PersistSeq, Raft, Ready, Recovered, RoleKind, Term,
};

use crate::cluster::{A, B, C, config, founded};

pub(crate) fn at(millis: u64) -> Instant {
    Instant(Duration::from_millis(millis))
}

pub(crate) fn log_id(index: u64, term: u64) -> LogId {
    LogId {
        term: Term(term),
        index: LogIndex(index),
    }
}

pub(crate) fn data(index: u64, term: u64) -> Entry {
    Entry {
        id: log_id(index, term),
        payload: Payload::Data(Bytes::from_static(b"x")),
    }
}

pub(crate) fn blank(index: u64, term: u64) -> Entry {
    Entry {
        id: log_id(index, term),
        payload: Payload::Blank,
    }
}

pub(crate) fn message(from: MemberId, to: MemberId, term: u64, body: MessageBody) -> PeerMessage {
    PeerMessage {
        from,
        to,
        term: Term(term),
        body,
    }
}

pub(crate) fn append(prev: LogId, entries: Vec<Entry>, commit: u64) -> MessageBody {
    MessageBody::Append {
        prev,
        entries,
        commit: LogIndex(commit),
    }
}

pub(crate) fn accepted(matched: u64) -> MessageBody {
    MessageBody::AppendAccepted {
        matched: LogIndex(matched),
    }
}

pub(crate) fn batch(
    seq: u64,
    term: u64,
    vote: Option<MemberId>,
    commit: u64,
    entries: Vec<Entry>,
) -> PersistBatch {
    let hard_state = HardState {
        term: Term(term),
        vote,
        commit: LogIndex(commit),
    };
    PersistBatch {
        seq: PersistSeq(seq),
        hard_state,
        base: None,
        entries,
    }
}

/// A founded member of A, B, C that has applied the founding and shown its status.
pub(crate) fn member(id: MemberId) -> Raft {
    started(id, founded(&[A, B, C]))
}

pub(crate) fn started(id: MemberId, disk: Recovered) -> Raft {
    let mut raft = Raft::new(at(0), config(id), disk);
    let ready = raft.take_ready().expect("status and founding");
    assert_eq!(ready.committed.len(), 1);
    raft.on_applied(at(0), LogIndex(1));
    assert_eq!(raft.take_ready(), None);
    raft
}

/// Feeds a message and gives what follows.
pub(crate) fn step(raft: &mut Raft, m: PeerMessage) -> Ready {
    raft.step(at(10), m).expect("a good message");
    raft.check_invariants();
    raft.take_ready().unwrap_or_default()
}

pub(crate) fn persisted(raft: &mut Raft, seq: u64) -> Ready {
    raft.on_persisted(at(20), PersistSeq(seq));
    raft.check_invariants();
    raft.take_ready().unwrap_or_default()
}

/// A in term 2, with its first entry at 2 durable nowhere yet.
pub(crate) fn leader() -> Raft {
    let mut raft = member(A);
    let due = raft.next_deadline();
    raft.tick(due);
    raft.step(
        due,
        message(B, A, 2, MessageBody::PreVoteResponse { granted: true }),
    )
    .expect("vote");
    let ready = raft.take_ready().expect("campaign");
    raft.on_persisted(due, ready.persist.expect("own vote").seq);
    raft.take_ready().expect("vote requests");
    raft.step(
        due,
        message(B, A, 2, MessageBody::VoteResponse { granted: true }),
    )
    .expect("vote");
    assert_eq!(raft.status().role, RoleKind::Leader);
    raft
}
