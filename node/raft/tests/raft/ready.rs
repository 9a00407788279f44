//! One member: inputs in, the whole `Ready` compared.

use std::time::Duration;

use bytes::Bytes;
use raftery_raft::{
    Entry, HardState, Instant, LogId, LogIndex, MemberId, MessageBody,
    PERSIST_BATCHES_IN_FLIGHT_MAX, Payload, PeerMessage, PersistBatch, PersistSeq, ProposeError,
    Raft, Ready, Recovered, RoleKind, Term, UNCOMMITTED_BYTES_MAX,
};

use crate::cluster::{A, B, C, HEARTBEAT, config, founded};

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

fn blank(index: u64, term: u64) -> Entry {
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

fn append(prev: LogId, entries: Vec<Entry>, commit: u64) -> MessageBody {
    MessageBody::Append {
        prev,
        entries,
        commit: LogIndex(commit),
    }
}

fn accepted(matched: u64) -> MessageBody {
    MessageBody::AppendAccepted {
        matched: LogIndex(matched),
    }
}

fn batch(
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
        entries,
    }
}

/// A founded member of A, B, C that has applied the founding and shown its status.
pub(crate) fn member(id: MemberId) -> Raft {
    started(id, founded(&[A, B, C]))
}

fn started(id: MemberId, disk: Recovered) -> Raft {
    let mut raft = Raft::new(at(0), config(id), disk);
    let ready = raft.take_ready().expect("status and founding");
    assert_eq!(ready.committed.len(), 1);
    raft.on_applied(at(0), LogIndex(1));
    assert_eq!(raft.take_ready(), None);
    raft
}

/// Feeds a message and gives what follows.
fn step(raft: &mut Raft, m: PeerMessage) -> Ready {
    raft.step(at(10), m).expect("a good message");
    raft.check_invariants();
    raft.take_ready().unwrap_or_default()
}

fn persisted(raft: &mut Raft, seq: u64) -> Ready {
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

#[test]
fn a_candidate_asks_for_votes_only_when_its_own_is_durable() {
    let mut raft = member(A);
    let due = raft.next_deadline();
    assert!(due >= at(1000) && due < at(2000));
    raft.tick(due);
    let ready = raft.take_ready().expect("pre-vote");
    let body = MessageBody::PreVote { last: log_id(1, 1) };
    assert_eq!(
        ready.messages,
        [message(A, B, 2, body.clone()), message(A, C, 2, body)]
    );
    assert_eq!(ready.persist, None, "a pre-vote changes nothing");

    let yes = MessageBody::PreVoteResponse { granted: true };
    let ready = step(&mut raft, message(C, A, 2, yes));
    let status = Some(raft.status());
    let persist = Some(batch(1, 2, Some(A), 1, vec![]));
    assert_eq!(
        ready,
        Ready {
            persist,
            status,
            ..Ready::default()
        }
    );
    assert_eq!(raft.status().role, RoleKind::Candidate);

    let body = MessageBody::Vote {
        last: log_id(1, 1),
        transfer: false,
    };
    let messages = vec![message(A, B, 2, body.clone()), message(A, C, 2, body)];
    assert_eq!(
        persisted(&mut raft, 1),
        Ready {
            messages,
            ..Ready::default()
        }
    );
}

#[test]
fn a_vote_is_answered_only_when_durable() {
    let mut raft = member(B);
    let ask = MessageBody::Vote {
        last: log_id(1, 1),
        transfer: false,
    };
    let ready = step(&mut raft, message(A, B, 2, ask.clone()));
    let persist = Some(batch(1, 2, Some(A), 1, vec![]));
    assert_eq!(
        ready,
        Ready {
            persist,
            status: Some(raft.status()),
            ..Ready::default()
        }
    );
    let ready = step(&mut raft, message(A, B, 2, ask));
    assert_eq!(
        ready,
        Ready::default(),
        "asked again, and still not durable"
    );
    let messages = vec![message(
        B,
        A,
        2,
        MessageBody::VoteResponse { granted: true },
    )];
    assert_eq!(
        persisted(&mut raft, 1),
        Ready {
            messages,
            ..Ready::default()
        }
    );
}

#[test]
fn one_vote_a_term_and_none_for_a_shorter_log() {
    let mut raft = member(B);
    let ask = |last| MessageBody::Vote {
        last,
        transfer: false,
    };
    let refusal = vec![message(
        B,
        C,
        2,
        MessageBody::VoteResponse { granted: false },
    )];
    let ready = step(&mut raft, message(C, B, 2, ask(log_id(0, 0))));
    assert_eq!(ready.messages, refusal, "C's log is empty");
    step(&mut raft, message(A, B, 2, ask(log_id(1, 1))));
    let ready = step(&mut raft, message(C, B, 2, ask(log_id(9, 1))));
    assert_eq!(ready.messages, refusal, "A has the vote of term 2");
}

#[test]
fn an_append_is_accepted_only_when_durable_and_one_answer_covers_a_sync() {
    let mut raft = member(B);
    let ready = step(
        &mut raft,
        message(A, B, 2, append(log_id(1, 1), vec![data(2, 2)], 1)),
    );
    let persist = Some(batch(1, 2, None, 1, vec![data(2, 2)]));
    assert_eq!(
        ready,
        Ready {
            persist,
            status: Some(raft.status()),
            ..Ready::default()
        }
    );
    let ready = step(
        &mut raft,
        message(A, B, 2, append(log_id(2, 2), vec![data(3, 2)], 2)),
    );
    let persist = Some(batch(2, 2, None, 2, vec![data(3, 2)]));
    // Committed by others' disks: applied here before this one has it.
    assert_eq!(
        ready,
        Ready {
            persist,
            committed: vec![data(2, 2)],
            ..Ready::default()
        }
    );
    let messages = vec![message(B, A, 2, accepted(3))];
    assert_eq!(
        persisted(&mut raft, 2),
        Ready {
            messages,
            ..Ready::default()
        }
    );
    let again = message(A, B, 2, append(log_id(1, 1), vec![data(2, 2)], 2));
    let messages = vec![message(B, A, 2, accepted(3))];
    assert_eq!(
        step(&mut raft, again),
        Ready {
            messages,
            ..Ready::default()
        }
    );
}

#[test]
fn a_moved_commit_index_alone_is_not_persisted() {
    let mut raft = member(B);
    step(
        &mut raft,
        message(A, B, 2, append(log_id(1, 1), vec![data(2, 2)], 1)),
    );
    persisted(&mut raft, 1);
    let beat = MessageBody::Heartbeat {
        number: 3,
        commit: LogIndex(2),
    };
    let ready = step(&mut raft, message(A, B, 2, beat));
    let messages = vec![message(
        B,
        A,
        2,
        MessageBody::HeartbeatResponse { number: 3 },
    )];
    assert_eq!(
        ready,
        Ready {
            messages,
            committed: vec![data(2, 2)],
            ..Ready::default()
        }
    );
    let ready = step(
        &mut raft,
        message(A, B, 2, append(log_id(2, 2), vec![data(3, 2)], 2)),
    );
    assert_eq!(
        ready.persist,
        Some(batch(2, 2, None, 2, vec![data(3, 2)])),
        "rides along"
    );
}

#[test]
fn async_append_aba_an_old_acknowledgement_accepts_nothing_of_a_new_leader() {
    let mut raft = member(B);
    let ready = step(
        &mut raft,
        message(A, B, 2, append(log_id(1, 1), vec![data(2, 2)], 1)),
    );
    assert_eq!(ready.persist, Some(batch(1, 2, None, 1, vec![data(2, 2)])));
    // Before batch 1 is durable, C leads and replaces entry 2, then A's successor does again.
    let ready = step(
        &mut raft,
        message(C, B, 3, append(log_id(1, 1), vec![data(2, 3)], 1)),
    );
    assert_eq!(ready.persist, Some(batch(2, 3, None, 1, vec![data(2, 3)])));
    assert_eq!(
        persisted(&mut raft, 1),
        Ready::default(),
        "batch 1 holds another entry 2"
    );
    let messages = vec![message(B, C, 3, accepted(2))];
    assert_eq!(
        persisted(&mut raft, 2),
        Ready {
            messages,
            ..Ready::default()
        }
    );
}

#[test]
fn candidate_steps_down_on_equal_term_append() {
    let mut raft = member(A);
    let due = raft.next_deadline();
    raft.tick(due);
    step(
        &mut raft,
        message(C, A, 2, MessageBody::PreVoteResponse { granted: true }),
    );
    assert_eq!(raft.status().role, RoleKind::Candidate);
    let ready = step(
        &mut raft,
        message(B, A, 2, append(log_id(1, 1), vec![blank(2, 2)], 1)),
    );
    assert_eq!(ready.status.expect("changed").leader, Some(B));
    assert_eq!(raft.status().role, RoleKind::Follower);
    let ready = persisted(&mut raft, 2);
    assert_eq!(
        ready.messages,
        [message(A, B, 2, accepted(2))],
        "and asks nobody for votes"
    );
}

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
        ready
            .persist
            .map(|batch| raft.on_persisted(at(20), batch.seq));
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
    let body = MessageBody::Heartbeat {
        number: 1,
        commit: LogIndex(0),
    };
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
fn same_seed_and_inputs_give_the_same_outputs() {
    let run = |seed| {
        let mut settings = config(A);
        settings.seed = seed;
        let mut raft = Raft::new(at(0), settings, founded(&[A, B, C]));
        let due = raft.next_deadline();
        raft.tick(due);
        (due, raft.take_ready())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn membership_is_found_again_in_the_recovered_log_up_to_the_commit_index() {
    use raftery_raft::ConfChange;
    let change = |index, change| Entry {
        id: log_id(index, 1),
        payload: Payload::ConfChange(change),
    };
    let mut disk = founded(&[A, B, C]);
    disk.entries.push(change(2, ConfChange::Remove { id: C }));
    disk.entries.push(change(3, ConfChange::Remove { id: B }));
    disk.hard_state.commit = LogIndex(2);
    let membership = Raft::new(at(0), config(A), disk).status().membership;
    assert_eq!(membership.index, LogIndex(2));
    assert_eq!(membership.voters, [A, B].into());
    assert_eq!(membership.removed, [C].into());
}
