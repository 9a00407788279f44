//! One member that follows, votes or campaigns: inputs in, the whole `Ready` compared.

use std::time::Duration;

use raftery_raft::{
    ConfChange, Entry, Heartbeat, LogIndex, MessageBody, Payload, Raft, Ready, RoleKind,
};

use crate::cluster::{A, B, C, config, founded};
use crate::member::{
    accepted, append, at, batch, blank, data, log_id, member, message, persisted, step,
};

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
        transfer: None,
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
        transfer: None,
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
        transfer: None,
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

/// It may ask again in the term that it learns of, and would take a refusal for the answer to that.
#[test]
fn a_candidate_of_an_old_term_learns_of_the_new_one_and_is_refused_nothing() {
    let mut raft = member(B);
    let vote = |last| MessageBody::Vote {
        last,
        transfer: None,
    };
    step(&mut raft, message(C, B, 2, vote(log_id(0, 0))));
    let ready = step(&mut raft, message(A, B, 1, vote(log_id(1, 1))));
    let answer = MessageBody::HeartbeatResponse {
        number: 0,
        promise: Duration::ZERO,
    };
    assert_eq!(ready.messages, [message(B, A, 2, answer)]);
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
    let beat = MessageBody::Heartbeat(Heartbeat {
        number: 3,
        commit: LogIndex(2),
        ..Heartbeat::default()
    });
    let ready = step(&mut raft, message(A, B, 2, beat));
    let messages = vec![message(
        B,
        A,
        2,
        MessageBody::HeartbeatResponse {
            number: 3,
            promise: Duration::ZERO,
        },
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
fn an_answer_to_an_old_leader_confirms_no_heartbeat() {
    // Its receiver may lead the answer's term when it arrives.
    let mut raft = member(B);
    let ask = MessageBody::Vote {
        last: log_id(1, 1),
        transfer: None,
    };
    step(&mut raft, message(A, B, 5, ask));
    let beat = MessageBody::Heartbeat(Heartbeat {
        number: 3,
        commit: LogIndex(1),
        ..Heartbeat::default()
    });
    for body in [beat, append(log_id(1, 1), vec![], 1)] {
        let ready = step(&mut raft, message(A, B, 4, body));
        let answer = message(
            B,
            A,
            5,
            MessageBody::HeartbeatResponse {
                number: 0,
                promise: Duration::ZERO,
            },
        );
        assert_eq!(ready.messages, [answer]);
    }
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
