//! One member that has lost something, or is told so: inputs in, the whole `Ready` compared.

use std::time::Duration;

use raftery_raft::{
    Heartbeat, LogIndex, MessageBody, PROMISE_MAX, Raft, RaftConfig, Ready, Recovered, RoleKind,
    Rollback, Term,
};

use crate::cluster::{A, B, C, config, founded};
use crate::member::{
    accepted, append, at, batch, data, leader, log_id, member, message, persisted, step,
};

fn ask(last: (u64, u64)) -> MessageBody {
    MessageBody::Vote {
        last: log_id(last.0, last.1),
        transfer: None,
    }
}

fn pre_ask(last: (u64, u64)) -> MessageBody {
    MessageBody::PreVote {
        last: log_id(last.0, last.1),
    }
}

/// B, whose log was rotten after its first entry and once ended with 5@3.
fn repairing() -> Raft {
    let mut disk = founded(&[A, B, C]);
    disk.hard_state.term.0 = 3;
    disk.repair_until = Some(log_id(5, 3));
    let mut raft = Raft::new(at(0), config(B), disk);
    raft.check_invariants();
    let status = raft.take_ready().and_then(|ready| ready.status);
    assert!(status.is_some_and(|status| status.repairing));
    raft
}

#[test]
fn a_repairing_member_judges_candidates_by_what_it_lost() {
    for (last, granted) in [
        ((1, 1), false),
        ((4, 3), false),
        ((9, 2), false),
        ((5, 3), true),
        ((3, 4), true),
    ] {
        let mut raft = repairing();
        let ready = step(&mut raft, message(A, B, 5, pre_ask(last)));
        let term = if granted { 5 } else { 3 };
        let answer = MessageBody::PreVoteResponse { granted };
        assert_eq!(ready.messages, [message(B, A, term, answer)], "{last:?}");
        let ready = step(&mut raft, message(A, B, 5, ask(last)));
        let refusal = message(B, A, 5, MessageBody::VoteResponse { granted: false });
        let refused = ready.messages.contains(&refusal);
        assert_eq!(refused, !granted, "{last:?}");
    }
}

#[test]
fn a_member_that_knows_only_itself_waits_if_it_lost_entries() {
    let settings = RaftConfig {
        promise_max: PROMISE_MAX,
        ..config(A)
    };
    // What is lost may have made B a voter, which leads on a promise of A's.
    let mut disk = founded(&[A]);
    disk.repair_until = Some(log_id(5, 3));
    let mut raft = Raft::new(at(0), settings, disk);
    raft.take_ready();
    let asks = message(C, A, 5, ask((9, 4)));
    raft.step(at(1_999), asks.clone()).expect("good");
    assert_eq!(raft.status().term, Term(1), "as if it hadn't arrived");
    raft.step(at(2_000), asks).expect("good");
    assert_eq!(raft.status().term, Term(5));
}

#[test]
fn nobody_campaigns_in_the_wait_after_a_start() {
    let settings = RaftConfig {
        promise_max: PROMISE_MAX,
        ..config(A)
    };
    let mut raft = Raft::new(at(0), settings, founded(&[A, B, C]));
    raft.campaign(at(1_999));
    assert_eq!(raft.status().role, RoleKind::Follower);
    raft.campaign(at(2_000));
    assert_eq!(raft.status().role, RoleKind::Candidate);
}

#[test]
fn repair_ends_with_the_sync_of_the_last_lost_entry_or_of_a_later_term() {
    let mut raft = repairing();
    let body = append(log_id(1, 1), vec![data(2, 3), data(3, 3)], 2);
    step(&mut raft, message(A, B, 4, body));
    assert_eq!(
        persisted(&mut raft, 1).messages,
        [message(B, A, 4, accepted(3))]
    );
    assert!(raft.status().repairing);
    let body = append(log_id(3, 3), vec![data(4, 4)], 2);
    step(&mut raft, message(A, B, 4, body));
    assert!(raft.status().repairing, "not durable");
    let ready = persisted(&mut raft, 2);
    let status = ready.status.expect("it is news");
    assert!(
        !status.repairing,
        "5@3 was never committed: its place is taken"
    );
}

#[test]
fn a_log_that_reaches_what_was_lost_needs_no_repair() {
    let mut disk = founded(&[A, B, C]);
    disk.repair_until = Some(log_id(1, 1));
    assert!(!Raft::new(at(0), config(B), disk).status().repairing);
}

#[test]
fn a_heartbeat_beyond_the_log_shows_that_the_disk_went_back() {
    let mut raft = member(B);
    let beat = MessageBody::Heartbeat(Heartbeat {
        number: 1,
        commit: LogIndex(4),
        ..Heartbeat::default()
    });
    let ready = step(&mut raft, message(A, B, 2, beat));
    let rejected = MessageBody::AppendRejected {
        rejected: LogIndex(4),
        hint: log_id(1, 1),
    };
    let heard = MessageBody::HeartbeatResponse {
        number: 1,
        promise: Duration::ZERO,
    };
    let status = raft.status();
    let evidence = Rollback::LogEndsEarly {
        term: status.term,
        acknowledged: LogIndex(4),
    };
    assert_eq!(status.rolled_back, Some(evidence));
    assert_eq!(
        ready,
        Ready {
            messages: vec![message(B, A, 2, rejected), message(B, A, 2, heard)],
            persist: Some(batch(1, 2, None, 1, vec![])),
            status: Some(status),
            ..Ready::default()
        }
    );
    let body = append(log_id(1, 1), vec![data(2, 2)], 2);
    let ready = step(&mut raft, message(A, B, 2, body));
    assert_eq!(ready.committed, [data(2, 2)]);
    persisted(&mut raft, 1);
    assert_eq!(
        persisted(&mut raft, 2).messages,
        [message(B, A, 2, accepted(2))]
    );
    raft.on_rolled_back(at(30), Rollback::BootCounterWentBack);
    assert_eq!(raft.status().rolled_back, Some(evidence), "the first stays");
    raft.campaign(at(30));
    raft.tick(at(60_000));
    assert_eq!(raft.status().role, RoleKind::Follower);
}

#[test]
fn a_vote_that_is_not_durable_yet_is_not_given_by_a_rolled_back_member() {
    let mut raft = member(B);
    step(&mut raft, message(A, B, 2, ask((9, 1))));
    raft.on_rolled_back(at(15), Rollback::BootCounterWentBack);
    assert_eq!(persisted(&mut raft, 1).messages, []);
}

#[test]
fn a_leader_that_is_rolled_back_steps_down() {
    let mut raft = leader();
    raft.on_rolled_back(at(5_000), Rollback::BootCounterWentBack);
    raft.check_invariants();
    assert_eq!(raft.status().role, RoleKind::Follower);
    assert_eq!(raft.status().leader, None);
}

#[test]
fn what_a_repairing_member_lost_is_no_evidence_of_another_loss() {
    let mut raft = repairing();
    let term = raft.status().term;
    let told = |acknowledged| Rollback::LogEndsEarly {
        term,
        acknowledged: LogIndex(acknowledged),
    };
    raft.on_rolled_back(at(10), told(5));
    assert_eq!(raft.status().rolled_back, None);
    raft.on_rolled_back(at(10), told(6));
    assert_eq!(raft.status().rolled_back, Some(told(6)));
}

#[test]
fn an_explicit_campaign_asks_for_votes_at_once_and_changes_nothing_for_a_leader() {
    let mut raft = member(A);
    raft.campaign(at(10));
    assert_eq!(raft.status().role, RoleKind::Candidate);
    let ready = raft.take_ready().expect("own vote");
    assert_eq!(ready.persist, Some(batch(1, 2, Some(A), 1, vec![])));
    let body = ask((1, 1));
    let asked = [message(A, B, 2, body.clone()), message(A, C, 2, body)];
    assert_eq!(persisted(&mut raft, 1).messages, asked);
    raft.campaign(at(30));
    assert_eq!(raft.status().term.0, 3, "a candidate begins anew");

    let mut raft = leader();
    raft.campaign(at(5_000));
    assert_eq!(raft.status().role, RoleKind::Leader);
    let mut learner = Raft::new(at(0), config(A), Recovered::default());
    learner.campaign(at(10));
    assert_eq!(learner.status().role, RoleKind::Learner);
}

#[test]
fn a_leader_says_who_refused_what_it_had_acknowledged() {
    let mut raft = leader();
    raft.take_ready();
    step(&mut raft, message(B, A, 2, accepted(2)));
    let rejected = MessageBody::AppendRejected {
        rejected: LogIndex(2),
        hint: log_id(1, 1),
    };
    let ready = step(&mut raft, message(B, A, 2, rejected.clone()));
    assert_eq!(
        ready.messages,
        [message(A, B, 2, append(log_id(2, 2), vec![], 1))]
    );
    let ready = step(&mut raft, message(B, A, 2, rejected));
    let progress = raft.status().progress[&B];
    assert_eq!(
        (progress.matched, progress.lost),
        (LogIndex(0), Some(LogIndex(2)))
    );
    let MessageBody::Append { prev, entries, .. } = &ready.messages[0].body else {
        panic!("{ready:?}");
    };
    assert_eq!((*prev, entries.len()), (log_id(1, 1), 1));
    step(&mut raft, message(B, A, 2, accepted(2)));
    assert_eq!(raft.status().progress[&B].lost, None);
}
