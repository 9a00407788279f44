//! What a peer must not say: refused, and the value stays as it was.

use std::time::Duration;

use bytes::Bytes;
use raftery_raft::{
    ConfChange, Entry, Heartbeat, LogIndex, MemberId, MessageBody, Payload, PersistSeq, Raft,
    StepError,
};

use crate::cluster::{A, B, C};
use crate::member::{at, data, leader, log_id, member, message};

#[track_caller]
fn refused(raft: &mut Raft, from: MemberId, term: u64, body: MessageBody) -> String {
    let before = format!("{raft:?}");
    let to = raft.status().id;
    let error = raft
        .step(at(500), message(from, to, term, body))
        .expect_err("must be refused");
    assert_eq!(
        format!("{raft:?}"),
        before,
        "an error leaves the value unchanged"
    );
    error.to_string()
}

fn append(prev: (u64, u64), entries: Vec<Entry>) -> MessageBody {
    MessageBody::Append {
        prev: log_id(prev.0, prev.1),
        entries,
        commit: LogIndex(1),
    }
}

/// B, which follows A in term 5 and holds entries 2 and 3, durable; 2 is committed.
fn follower() -> Raft {
    let mut raft = member(B);
    let body = MessageBody::Append {
        prev: log_id(1, 1),
        entries: vec![data(2, 4), data(3, 5)],
        commit: LogIndex(2),
    };
    raft.step(at(10), message(A, B, 5, body)).expect("good");
    raft.take_ready().expect("a batch");
    raft.on_persisted(at(20), PersistSeq(1));
    raft.take_ready().expect("an answer");
    raft
}

#[test]
fn malformed_appends_are_refused() {
    let mut raft = follower();
    let raft = &mut raft;
    let founding = Payload::ConfChange(ConfChange::Found {
        members: vec![(A, Bytes::new())],
    });
    let founding = Entry {
        id: log_id(4, 5),
        payload: founding,
    };
    for (what, prev, entries) in [
        ("contiguous", (3, 5), vec![data(5, 5)]),
        ("contiguous", (3, 5), vec![data(4, 5), data(4, 5)]),
        ("terms fall", (3, 5), vec![data(4, 4)]),
        ("later term", (3, 5), vec![data(4, 6)]),
        ("later term", (9, 6), vec![]),
        ("impossible", (0, 5), vec![]),
        ("impossible", (3, 0), vec![]),
        ("impossible", (u64::MAX, 5), vec![data(1, 5)]),
        ("founding", (3, 5), vec![founding]),
        ("founding", (0, 0), vec![data(1, 1)]),
        ("committed", (1, 1), vec![data(2, 5)]),
        ("committed", (2, 5), vec![]),
        ("accepted", (2, 4), vec![data(3, 4)]),
    ] {
        let error = refused(raft, A, 5, append(prev, entries));
        assert!(error.contains(what), "{error} doesn't say {what}");
    }
    // Of a later term: what it accepted may go, what is committed may not.
    let error = refused(raft, C, 6, append((1, 1), vec![data(2, 6)]));
    assert!(error.contains("committed"), "{error}");
}

#[test]
fn two_leaders_in_one_term_are_refused() {
    let mut raft = follower();
    assert!(refused(&mut raft, C, 5, append((3, 5), vec![])).contains("second leader"));
    let beat = MessageBody::Heartbeat(Heartbeat {
        number: 1,
        commit: LogIndex(0),
        ..Heartbeat::default()
    });
    assert!(refused(&mut raft, C, 5, beat).contains("second leader"));
    assert!(refused(&mut raft, C, 5, MessageBody::TimeoutNow).contains("second leader"));
    assert!(refused(&mut leader(), B, 2, append((1, 1), vec![])).contains("second leader"));
}

#[test]
fn answers_to_what_was_never_sent_are_refused() {
    let mut raft = leader();
    let raft = &mut raft;
    let matched = LogIndex(3);
    refused(raft, B, 2, MessageBody::AppendAccepted { matched });
    refused(
        raft,
        B,
        2,
        MessageBody::HeartbeatResponse {
            number: 9,
            promise: Duration::ZERO,
        },
    );
    let hint = log_id(1, 1);
    refused(
        raft,
        B,
        2,
        MessageBody::AppendRejected {
            rejected: LogIndex(3),
            hint,
        },
    );
    let hint = log_id(2, 1);
    refused(
        raft,
        B,
        2,
        MessageBody::AppendRejected {
            rejected: LogIndex(1),
            hint,
        },
    );
    let mut raft = follower();
    let beat = MessageBody::Heartbeat(Heartbeat {
        number: 1,
        commit: LogIndex(u64::MAX),
        ..Heartbeat::default()
    });
    assert!(refused(&mut raft, A, 5, beat).contains("out of range"));
}

#[test]
fn strangers_messages_and_impossible_terms_are_refused() {
    let mut raft = follower();
    let beat = MessageBody::Heartbeat(Heartbeat {
        number: 1,
        commit: LogIndex(0),
        ..Heartbeat::default()
    });
    let before = format!("{raft:?}");
    let error = raft.step(at(500), message(A, C, 5, beat.clone()));
    assert_eq!(error, Err(StepError::WrongReceiver { to: C, me: B }));
    assert_eq!(format!("{raft:?}"), before);
    refused(&mut raft, B, 5, beat.clone());
    refused(&mut raft, A, 0, beat);
    let ask = MessageBody::Vote {
        last: log_id(9, 9),
        transfer: Some(B),
    };
    refused(&mut raft, A, u64::MAX, ask);
}
