//! One member and snapshots: inputs in, the whole `Ready` compared.

use std::time::Duration;

use raftery_raft::{
    APPLY_BYTES_IN_FLIGHT_MAX, ConfChange, Entry, HardState, Heartbeat, LogIndex, MemberId,
    Membership, MessageBody, PROMISE_MAX, Payload, PeerState, Raft, RaftConfig, Ready, Recovered,
    RoleKind, SnapshotMeta, Term,
};

use crate::cluster::{A, B, C, D, E, ELECTION, HEARTBEAT, config, founded};
use crate::member::{
    accepted, append, at, batch, blank, data, leader, log_id, member, message, persisted, step,
};

fn membership(index: u64) -> Membership {
    Membership {
        index: LogIndex(index),
        voters: [A, B, C].into(),
        ..Membership::default()
    }
}

fn snapshot(index: u64, term: u64) -> SnapshotMeta {
    SnapshotMeta {
        last: log_id(index, term),
        membership: membership(1),
    }
}

fn install(index: u64, term: u64) -> MessageBody {
    let meta = snapshot(index, term);
    MessageBody::InstallSnapshot { meta }
}

/// B, started behind 5@3, which its state machine holds, with entries 6 and 7 of term 3.
fn cut(hard_state: HardState, applied: u64) -> Raft {
    let mut raft = Raft::new(
        at(0),
        config(B),
        Recovered {
            hard_state,
            base: log_id(5, 3),
            entries: vec![data(6, 3), data(7, 3)],
            applied: LogIndex(applied),
            membership: membership(1),
            repair_until: None,
        },
    );
    raft.check_invariants();
    raft.take_ready().expect("a status");
    raft
}

fn hard_state(term: u64, commit: u64) -> HardState {
    HardState {
        term: Term(term),
        vote: None,
        commit: LogIndex(commit),
    }
}

#[test]
fn a_snapshot_is_installed_then_written_then_answered() {
    let mut raft = member(B);
    let ready = step(&mut raft, message(A, B, 2, install(5, 2)));
    assert_eq!(ready.install, Some(snapshot(5, 2)));
    assert_eq!(
        ready.persist,
        Some(batch(1, 2, None, 1, vec![])),
        "the term"
    );
    assert_eq!(ready.messages, []);
    assert_eq!(persisted(&mut raft, 1), Ready::default());
    assert_eq!(
        raft.status().last_index,
        LogIndex(1),
        "not before it is in place"
    );

    raft.on_installed(at(20), log_id(5, 2));
    raft.check_invariants();
    let status = raft.status();
    assert_eq!((status.base, status.applied), (log_id(5, 2), LogIndex(5)));
    let mut written = batch(2, 2, None, 5, vec![]);
    written.base = Some(log_id(5, 2));
    let ready = raft.take_ready().expect("a batch");
    assert_eq!(
        ready,
        Ready {
            persist: Some(written),
            ..Ready::default()
        }
    );
    let messages = vec![message(B, A, 2, accepted(5))];
    assert_eq!(
        persisted(&mut raft, 2),
        Ready {
            messages,
            ..Ready::default()
        }
    );
}

#[test]
fn entries_follow_a_snapshot_in_its_batch_or_later_and_are_applied_behind_it() {
    let mut raft = member(B);
    step(&mut raft, message(A, B, 2, install(5, 2)));
    raft.on_installed(at(20), log_id(5, 2));
    let body = append(log_id(5, 2), vec![data(6, 2)], 6);
    let ready = step(&mut raft, message(A, B, 2, body));
    let mut written = batch(2, 2, None, 6, vec![data(6, 2)]);
    written.base = Some(log_id(5, 2));
    assert_eq!(ready.persist, Some(written));
    assert_eq!(ready.committed, [data(6, 2)]);
    assert_eq!(persisted(&mut raft, 1).messages, [], "holds the term only");
    let messages = persisted(&mut raft, 2).messages;
    assert_eq!(messages, [message(B, A, 2, accepted(6))]);
}

#[test]
fn an_old_applied_index_from_before_the_snapshot_means_nothing() {
    let mut raft = member(B);
    let body = append(log_id(1, 1), vec![data(2, 2)], 2);
    let ready = step(&mut raft, message(A, B, 2, body));
    assert_eq!(ready.committed, [data(2, 2)]);
    step(&mut raft, message(A, B, 2, install(5, 2)));
    raft.on_installed(at(20), log_id(5, 2));
    raft.on_applied(at(20), LogIndex(2));
    raft.check_invariants();
    assert_eq!(raft.status().applied, LogIndex(5));
}

#[test]
fn nothing_is_handed_out_to_be_applied_while_a_snapshot_is_installed() {
    let mut raft = member(B);
    let large = Payload::Data(vec![0; APPLY_BYTES_IN_FLIGHT_MAX].into());
    let entries = [2, 3].map(|index| Entry {
        id: log_id(index, 2),
        payload: large.clone(),
    });
    let body = append(log_id(1, 1), entries.to_vec(), 3);
    assert_eq!(step(&mut raft, message(A, B, 2, body)).committed.len(), 1);
    step(&mut raft, message(A, B, 2, install(5, 2)));
    raft.on_applied(at(20), LogIndex(2));
    let beat = MessageBody::Heartbeat(Heartbeat {
        number: 1,
        commit: LogIndex(3),
        ..Heartbeat::default()
    });
    let ready = step(&mut raft, message(A, B, 2, beat));
    let heard = MessageBody::HeartbeatResponse {
        number: 1,
        promise: Duration::ZERO,
    };
    assert_eq!(ready.committed, [], "there would be room for entry 3");
    assert_eq!(ready.messages, [message(B, A, 2, heard)], "it lives");
    raft.on_installed(at(20), log_id(5, 2));
    raft.check_invariants();
    assert_eq!(raft.take_ready().expect("a batch").committed, []);
}

#[test]
fn a_leader_of_a_later_term_hears_of_a_snapshot_that_an_earlier_one_sent() {
    let mut raft = member(B);
    step(&mut raft, message(A, B, 2, install(5, 2)));
    let body = append(log_id(6, 3), vec![], 5);
    assert_eq!(step(&mut raft, message(C, B, 3, body)).messages, []);
    raft.on_installed(at(20), log_id(5, 2));
    let seq = raft.take_ready().and_then(|r| r.persist).expect("base").seq;
    let messages = persisted(&mut raft, seq.0).messages;
    assert_eq!(messages, [message(B, C, 3, accepted(5))]);
}

#[test]
fn impossible_snapshots_are_refused() {
    let mut raft = member(B);
    step(
        &mut raft,
        message(A, B, 2, append(log_id(1, 1), vec![data(2, 2)], 2)),
    );
    let mut of_the_future = snapshot(5, 2);
    of_the_future.membership.index = LogIndex(6);
    let mut nobody = snapshot(5, 2);
    nobody.membership.voters.clear();
    let mut back_again = snapshot(5, 2);
    back_again.membership.removed.insert(A);
    let joint = |outgoing: &[MemberId], learners_next: &[MemberId]| {
        let mut meta = snapshot(5, 2);
        meta.membership.outgoing = outgoing.iter().copied().collect();
        meta.membership.learners_next = learners_next.iter().copied().collect();
        meta
    };
    let mut learner_of_old_half = joint(&[A, B, D], &[]);
    learner_of_old_half.membership.learners.insert(D);
    let mut removed_of_old_half = joint(&[A, B, D], &[]);
    removed_of_old_half.membership.removed.insert(D);
    for (what, meta) in [
        ("a voter is a learner", learner_of_old_half),
        ("a removed member is a member", removed_of_old_half),
        ("old half only", joint(&[A, B, D], &[A])),
        ("old half only", joint(&[A, B, D], &[E])),
        ("last entry", snapshot(0, 0)),
        ("last entry", snapshot(u64::MAX, 1)),
        ("later term", snapshot(5, 3)),
        ("committed", snapshot(2, 1)),
        ("membership", of_the_future),
        ("membership", nobody),
        ("a removed member is a member", back_again),
    ] {
        let before = format!("{raft:?}");
        let body = MessageBody::InstallSnapshot { meta };
        let error = raft.step(at(30), message(A, B, 2, body));
        let error = error.expect_err("must be refused").to_string();
        assert!(error.contains(what), "{error} doesn't say {what}");
        assert_eq!(format!("{raft:?}"), before);
    }
    let error = raft.step(at(30), message(C, B, 2, install(5, 2)));
    let error = error.expect_err("must be refused").to_string();
    assert!(error.contains("second leader"), "{error}");
}

#[test]
fn a_start_hands_out_what_is_committed_behind_the_applied_state() {
    let mut raft = cut(hard_state(3, 6), 5);
    let status = raft.status();
    assert_eq!((status.base, status.commit), (log_id(5, 3), LogIndex(6)));
    assert_eq!(status.membership, membership(1));
    let body = append(log_id(7, 3), vec![], 7);
    assert_eq!(
        step(&mut raft, message(A, B, 3, body)).committed,
        [data(7, 3)]
    );
    assert_eq!(cut(hard_state(3, 5), 7).status().commit, LogIndex(7));
}

#[test]
fn a_state_machine_that_was_ahead_of_the_log_brings_its_term_along() {
    let recovered = Recovered {
        hard_state: HardState {
            term: Term(2),
            vote: Some(C),
            commit: LogIndex(1),
        },
        base: log_id(5, 3),
        applied: LogIndex(5),
        membership: membership(1),
        ..Recovered::default()
    };
    let mut raft = Raft::new(at(0), config(B), recovered);
    raft.check_invariants();
    let ready = raft.take_ready().expect("status and term");
    assert_eq!(ready.persist, Some(batch(1, 3, None, 5, vec![])));
    assert_eq!(raft.status().term, Term(3));
}

#[test]
fn an_append_from_below_the_base_counts_as_held_up_to_it() {
    let mut raft = cut(hard_state(3, 6), 6);
    for (prev, entries, matched) in [
        (log_id(2, 1), vec![data(3, 1)], 5),
        (log_id(4, 2), vec![data(5, 3), data(6, 3)], 6),
        (log_id(4, 2), vec![], 6),
    ] {
        let body = append(prev, entries, 6);
        let messages = step(&mut raft, message(A, B, 3, body)).messages;
        assert_eq!(messages, [message(B, A, 3, accepted(matched))]);
    }
    let body = append(log_id(4, 2), vec![data(5, 2)], 6);
    let error = raft.step(at(30), message(A, B, 3, body));
    let error = error.expect_err("the base is committed").to_string();
    assert!(error.contains("committed"), "{error}");
}

#[test]
fn a_rejection_names_nothing_below_the_base() {
    let mut raft = cut(hard_state(3, 5), 5);
    let body = append(log_id(9, 3), vec![], 5);
    let ready = step(&mut raft, message(A, B, 3, body));
    let body = MessageBody::AppendRejected {
        rejected: LogIndex(9),
        hint: log_id(7, 3),
    };
    assert_eq!(ready.messages, [message(B, A, 3, body)]);
}

#[test]
fn a_leader_cuts_what_is_applied_and_durable_and_no_snapshot_goes_to_the_dead() {
    let mut raft = leader();
    raft.take_ready();
    step(&mut raft, message(B, A, 2, accepted(2)));
    let ready = step(&mut raft, message(C, A, 2, accepted(2)));
    assert_eq!(ready.committed, [blank(2, 2)]);
    raft.on_applied(at(20), LogIndex(2));
    assert_eq!(
        raft.compact(at(20), LogIndex(2)),
        log_id(1, 1),
        "not durable"
    );
    persisted(&mut raft, 2);
    for index in [3, 4] {
        raft.propose(at(20), data(0, 0).payload).expect("leads");
        let seq = raft
            .take_ready()
            .and_then(|r| r.persist)
            .expect("entry")
            .seq;
        persisted(&mut raft, seq.0);
        step(&mut raft, message(B, A, 2, accepted(index)));
        raft.on_applied(at(20), LogIndex(index));
    }
    assert_eq!(raft.compact(at(20), LogIndex(4)), log_id(4, 2));
    raft.check_invariants();
    // What C was sent got lost.
    let rejected = MessageBody::AppendRejected {
        rejected: LogIndex(4),
        hint: log_id(2, 2),
    };
    let ready = step(&mut raft, message(C, A, 2, rejected.clone()));
    assert_eq!(ready.snapshots, [C]);
    assert_eq!(ready.messages, []);
    let pending = LogIndex(4);
    let state = |raft: &Raft| raft.status().progress[&C].state;
    assert_eq!(state(&raft), PeerState::Snapshot { pending });
    assert_eq!(step(&mut raft, message(C, A, 2, rejected)).snapshots, []);
    // It holds more than the leader knew.
    let ready = step(&mut raft, message(C, A, 2, accepted(4)));
    assert_eq!(state(&raft), PeerState::Replicate);
    assert_eq!(
        ready.messages,
        [message(A, C, 2, append(log_id(4, 2), vec![], 4))]
    );
    raft.on_snapshot_sent(at(30), C, None);
    assert_eq!(state(&raft), PeerState::Replicate, "not asked for any more");
    assert_eq!(raft.status().role, RoleKind::Leader);
    assert!(raft.next_deadline() <= at(30) + HEARTBEAT * 21);
}

#[test]
fn a_follower_promises_while_it_installs_a_snapshot() {
    let settings = RaftConfig {
        promise_max: PROMISE_MAX,
        ..config(B)
    };
    let mut raft = Raft::new(at(0), settings, founded(&[A, B, C]));
    step(&mut raft, message(A, B, 2, install(5, 2)));
    let beat = MessageBody::Heartbeat(Heartbeat {
        number: 1,
        commit: LogIndex(0),
        ..Heartbeat::default()
    });
    let ready = step(&mut raft, message(A, B, 2, beat));
    let heard = MessageBody::HeartbeatResponse {
        number: 1,
        promise: ELECTION,
    };
    assert_eq!(ready.messages, [message(B, A, 2, heard)]);
}

#[test]
fn a_leader_that_starts_joint_asks_both_halves_and_leaves() {
    // As of a snapshot: no entry of the log tells of the joint configuration.
    let disk = Recovered {
        hard_state: HardState {
            term: Term(1),
            vote: None,
            commit: LogIndex(4),
        },
        base: log_id(4, 1),
        applied: LogIndex(4),
        membership: Membership {
            index: LogIndex(4),
            voters: [A, B].into(),
            outgoing: [A, C].into(),
            learners_next: [C].into(),
            ..Membership::default()
        },
        ..Recovered::default()
    };
    let mut raft = Raft::new(at(0), config(A), disk);
    raft.campaign(at(10));
    raft.take_ready();
    let asked = persisted(&mut raft, 1).messages;
    assert_eq!(asked.iter().map(|m| m.to).collect::<Vec<_>>(), [B, C]);
    let vote = MessageBody::VoteResponse { granted: true };
    step(&mut raft, message(B, A, 2, vote.clone()));
    assert_eq!(raft.status().role, RoleKind::Candidate, "the new half only");
    step(&mut raft, message(C, A, 2, vote));
    assert_eq!(raft.status().role, RoleKind::Leader);
    persisted(&mut raft, 2);
    step(&mut raft, message(B, A, 2, accepted(5)));
    assert_eq!(raft.status().commit, LogIndex(4), "the new half only");
    let ready = step(&mut raft, message(C, A, 2, accepted(5)));
    let left = ready.persist.expect("an entry").entries;
    assert_eq!(
        left.into_iter().map(|e| e.payload).collect::<Vec<_>>(),
        [Payload::ConfChange(ConfChange::LeaveJoint)]
    );
}
