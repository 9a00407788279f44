//! One member that leads: inputs in, the whole `Ready` compared.

use std::time::Duration;

use bytes::Bytes;
use raftery_raft::{
    Heartbeat, INFLIGHT_BYTES_MAX, LogIndex, MessageBody, PERSIST_BATCHES_IN_FLIGHT_MAX, Payload,
    PersistSeq, ProposeError, Ready, RoleKind, Term, UNCOMMITTED_BYTES_MAX,
};

use crate::cluster::{A, B, C, HEARTBEAT, founded};
use crate::member::{
    accepted, append, at, batch, blank, data, leader, log_id, message, persisted, started, step,
};

#[test]
fn a_new_leader_sends_at_once_and_commits_by_others_disks_while_its_own_lags() {
    let mut raft = leader();
    let first = raft.take_ready().expect("first entry");
    let body = append(log_id(1, 1), vec![blank(2, 2)], 1);
    assert_eq!(
        first.messages,
        [message(A, B, 2, body.clone()), message(A, C, 2, body)]
    );
    assert_eq!(
        first.persist,
        Some(batch(2, 2, Some(A), 1, vec![blank(2, 2)]))
    );

    assert_eq!(
        step(&mut raft, message(B, A, 2, accepted(2))),
        Ready::default(),
        "one of three"
    );
    let ready = step(&mut raft, message(C, A, 2, accepted(2)));
    assert_eq!(ready.committed, [blank(2, 2)]);
    assert!(ready.status.expect("changed").has_committed_in_term);
    let body = append(log_id(2, 2), vec![], 2);
    assert_eq!(
        ready.messages,
        [message(A, B, 2, body.clone()), message(A, C, 2, body)]
    );
    assert_eq!(persisted(&mut raft, 2), Ready::default());
}

#[test]
fn the_only_voter_commits_only_what_is_durable() {
    let mut raft = started(A, founded(&[A]));
    assert_eq!(raft.next_deadline(), at(0), "nobody else could lead");
    raft.tick(at(0));
    let ready = raft.take_ready().expect("campaign");
    assert_eq!(ready.persist, Some(batch(1, 2, Some(A), 1, vec![])));
    assert_eq!(raft.status().role, RoleKind::Candidate);
    let ready = persisted(&mut raft, 1);
    assert_eq!(
        ready.persist,
        Some(batch(2, 2, Some(A), 1, vec![blank(2, 2)]))
    );
    assert_eq!(ready.committed, []);
    let id = raft.propose(at(20), data(3, 2).payload).expect("leads");
    assert_eq!(id, log_id(3, 2));
    let ready = raft.take_ready().expect("entry");
    assert_eq!(
        ready.persist,
        Some(batch(3, 2, Some(A), 1, vec![data(3, 2)]))
    );
    let ready = persisted(&mut raft, 2);
    assert_eq!(ready.committed, [blank(2, 2)], "not yet entry 3");
    assert_eq!(persisted(&mut raft, 3).committed, [data(3, 2)]);
}

#[test]
fn a_burst_of_proposals_makes_one_append_and_one_batch() {
    let mut raft = leader();
    raft.take_ready();
    step(&mut raft, message(B, A, 2, accepted(2)));
    for _ in 0..3 {
        raft.propose(at(20), data(0, 0).payload).expect("leads");
    }
    let ready = raft.take_ready().expect("entries");
    let entries = vec![data(3, 2), data(4, 2), data(5, 2)];
    assert_eq!(
        ready.persist,
        Some(batch(3, 2, Some(A), 1, entries.clone()))
    );
    // To B only: it isn't known yet where C's log meets the leader's.
    assert_eq!(
        ready.messages,
        [message(A, B, 2, append(log_id(2, 2), entries, 1))]
    );
}

#[test]
fn past_the_limit_batches_are_withheld_and_grow() {
    let mut raft = leader();
    raft.take_ready();
    let mut handed = 2;
    while handed < 2 + PERSIST_BATCHES_IN_FLIGHT_MAX - 1 {
        raft.propose(at(20), data(0, 0).payload).expect("leads");
        let ready = raft.take_ready().expect("entry");
        handed = ready.persist.expect("room in flight").seq.0;
    }
    for _ in 0..2 {
        raft.propose(at(20), data(0, 0).payload).expect("leads");
        assert_eq!(raft.take_ready(), None, "no room");
    }
    let ready = persisted(&mut raft, 2);
    assert_eq!(ready.persist.expect("room again").entries.len(), 2);
}

#[test]
fn proposals_are_refused_past_the_limit_of_uncommitted_bytes() {
    let mut raft = leader();
    raft.take_ready();
    let half = Payload::Data(Bytes::from(vec![0; UNCOMMITTED_BYTES_MAX / 2]));
    raft.propose(at(20), half.clone()).expect("room");
    raft.propose(at(20), half).expect("room");
    let bytes_max = UNCOMMITTED_BYTES_MAX;
    let refused = ProposeError::TooManyUncommitted {
        bytes: bytes_max,
        bytes_max,
    };
    let before = format!("{raft:?}");
    assert_eq!(raft.propose(at(20), data(0, 0).payload), Err(refused));
    assert_eq!(format!("{raft:?}"), before);
    step(&mut raft, message(B, A, 2, accepted(4)));
    raft.on_persisted(at(20), PersistSeq(2));
    raft.propose(at(20), data(0, 0).payload)
        .expect_err("own disk has entry 2 only");
    while let Some(ready) = raft.take_ready() {
        if let Some(batch) = ready.persist {
            raft.on_persisted(at(20), batch.seq);
        }
    }
    raft.propose(at(20), data(0, 0).payload)
        .expect("all is committed");
}

#[test]
fn a_leader_beats_and_steps_down_without_a_quorum() {
    let mut raft = leader();
    raft.take_ready();
    let due = raft.next_deadline();
    raft.tick(due);
    let ready = raft.take_ready().expect("heartbeats");
    let body = MessageBody::Heartbeat(Heartbeat {
        number: 1,
        commit: LogIndex(0),
        interval: HEARTBEAT,
        // Its first entry waits since it was elected.
        stalled: HEARTBEAT,
        delay: Duration::ZERO,
    });
    assert_eq!(
        ready.messages,
        [message(A, B, 2, body.clone()), message(A, C, 2, body)]
    );
    assert_eq!(raft.next_deadline(), due + HEARTBEAT);
    // B was last heard when it voted.
    raft.tick(due + Duration::from_millis(899));
    assert_eq!(raft.status().role, RoleKind::Leader);
    raft.tick(due + Duration::from_millis(900));
    assert_eq!(
        (raft.status().role, raft.status().leader),
        (RoleKind::Follower, None)
    );
    assert_eq!(raft.status().term, Term(2));
}

#[test]
fn what_is_in_flight_to_a_silent_member_is_bounded_by_its_bytes_until_it_answers() {
    const LARGE: usize = 1 << 20;
    let mut raft = leader();
    raft.take_ready();
    for follower in [B, C] {
        step(&mut raft, message(follower, A, 2, accepted(2)));
    }
    let bytes_to_b = |ready: &Ready| -> usize {
        let to_b = ready.messages.iter().filter(|message| message.to == B);
        let entries = to_b.map(|message| match &message.body {
            MessageBody::Append { entries, .. } => entries.len() * LARGE,
            _ => 0,
        });
        entries.sum()
    };
    let mut in_flight = 0;
    for index in 3..63 {
        let large = Payload::Data(Bytes::from(vec![1; LARGE]));
        raft.propose(at(20), large).expect("leads, and C keeps up");
        let ready = raft.take_ready().expect("an entry");
        in_flight += bytes_to_b(&ready);
        let written = ready.persist.expect("it is to be written").seq;
        in_flight += bytes_to_b(&persisted(&mut raft, written.0));
        in_flight += bytes_to_b(&step(&mut raft, message(C, A, 2, accepted(index))));
    }
    let bound = INFLIGHT_BYTES_MAX..=INFLIGHT_BYTES_MAX + LARGE;
    assert!(bound.contains(&in_flight), "{in_flight} bytes");
    let ready = step(&mut raft, message(B, A, 2, accepted(5)));
    let more = bytes_to_b(&ready);
    assert!((LARGE..=4 * LARGE).contains(&more), "{more} bytes");
}
