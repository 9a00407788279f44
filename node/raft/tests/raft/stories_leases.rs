//! Stories of promises and of the reads that they allow.

use std::time::Duration;

use raftery_raft::{Instant, LogIndex, MessageBody, PROMISE_MAX, ReadId, RoleKind, Term};

use crate::cluster::{A, B, C, Cluster, ELECTION, HEARTBEAT};
use crate::member::{log_id, message};

/// A leads B and C and has beaten once.
fn led(title: &str) -> Cluster {
    let mut c = Cluster::with_promises(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.say("A's first heartbeat round brings promises.");
    c.fire(A);
    c
}

#[test]
fn lease_read_without_a_round() {
    let title = "Promises of a majority are a lease: a leader serves reads without asking anyone.";
    let mut c = led(title);
    let beats = c.count("Heartbeat");
    let lease = c.lease(A).expect("A has one");
    assert_eq!(lease, c.now() + ELECTION * 99 / 100);
    c.propose(A, "x=1");
    c.say("A read at A, and one at B, which asks A.");
    c.read(A, 1);
    c.read(B, 2);
    c.run();
    let index = LogIndex(3);
    assert_eq!(c.served(), [(A, ReadId(1), index), (B, ReadId(2), index)]);
    assert_eq!(c.count("Heartbeat"), beats);
    assert_eq!(c.status(A).lease_until, Some(lease));
    assert_eq!(c.lease(B), None);
    c.tell("lease_read_without_a_round");
}

#[test]
fn lease_ends_with_silence() {
    let title = "Without answers the lease runs out before the promises do, and before another can \
                 lead.";
    let mut c = led(title);
    let until = c.lease(A).expect("A has one");
    let promised = c.now() + ELECTION;
    c.isolate(A);
    c.say("Nobody answers A. Until the end of the lease it serves reads, and then no more.");
    c.pass(until.since(c.now()) - Duration::from_nanos(1));
    c.read(A, 1);
    c.run();
    assert_eq!(c.served(), [(A, ReadId(1), LogIndex(2))]);
    c.pass(Duration::from_nanos(1));
    c.read(A, 2);
    c.run();
    assert_eq!(c.served().len(), 1);
    assert!(c.now() < promised && promised <= c.deadline(B));
    c.tell("lease_ends_with_silence");
}

#[test]
fn a_new_leader_has_no_lease_before_it_has_committed() {
    let mut c = Cluster::with_promises("", &[A, B, C]);
    c.run();
    for id in [B, C] {
        c.hold_syncs(id);
    }
    c.fire(A);
    c.sync(B);
    c.flush(B);
    c.run();
    assert_eq!(c.status(A).role, RoleKind::Leader);
    c.fire(A);
    assert!(c.count("promises 1s") > 0);
    assert_eq!(c.lease(A), None);
    c.sync(B);
    c.flush(B);
    c.run();
    assert!(c.lease(A).is_some());
}

#[test]
fn no_lease_read_after_timeout_now() {
    let title = "Who told another to campaign has no lease for the rest of its term: the message \
                 may arrive at any time, and its receiver is voted for despite all promises.";
    let mut c = led(title);
    c.say("A hands over to C, but C doesn't get the message.");
    c.cut(A, C);
    c.transfer(A, C).expect("C votes");
    c.run();
    assert_eq!(c.count("TimeoutNow"), 1);
    assert_eq!(c.lease(A), None);
    c.heal();
    c.say("A gives up handing over and goes on to lead, with promises, but without a lease.");
    for _ in 0..=ELECTION.as_millis() / HEARTBEAT.as_millis() {
        c.fire(A);
    }
    assert_eq!(c.status(A).transferee, None);
    assert_eq!(c.lease(A), None);
    c.say("A read takes a round.");
    let beats = c.count("-> B  t2 Heartbeat");
    c.read(A, 1);
    c.run();
    assert_eq!(c.served(), [(A, ReadId(1), LogIndex(2))]);
    assert_eq!(c.count("-> B  t2 Heartbeat"), beats + 1);
    c.say("Now the message arrives. B has just promised A not to vote, and votes for C.");
    c.step(message(A, C, 2, MessageBody::TimeoutNow))
        .expect("late, but good");
    c.isolate(A);
    c.run();
    assert_eq!(
        (c.status(C).role, c.status(C).term),
        (RoleKind::Leader, Term(3))
    );
    c.tell("no_lease_read_after_timeout_now");
}

#[test]
fn a_transfer_that_another_leader_asked_for_breaks_no_promise() {
    let title = "B has promised A, and a candidate says that another leader asked it to campaign.";
    let mut c = led(title);
    let ask = |transfer| MessageBody::Vote {
        last: log_id(2, 2),
        transfer,
    };
    c.say("Neither C nor a leader of another term than A's counts; then A itself.");
    c.step(message(C, B, 3, ask(Some(C)))).expect("ignored");
    c.step(message(C, B, 4, ask(Some(A)))).expect("ignored");
    c.step(message(C, B, 3, ask(None))).expect("ignored");
    assert_eq!(c.status(B).term, Term(2));
    c.step(message(C, B, 3, ask(Some(A)))).expect("honoured");
    c.flush(B);
    assert_eq!(c.status(B).term, Term(3));
    assert_eq!(c.count("writes #3 t3 vote C"), 1);
    c.tell("transfer_and_promises");
}

#[test]
fn promise_outlives_the_term() {
    let title = "A promise outlives its term: B hears of a later one and still votes for nobody.";
    let mut c = led(title);
    let end = c.now() + ELECTION;
    c.say("B learns of term 7 and has no leader any more.");
    let refusal = MessageBody::PreVoteResponse { granted: false };
    c.step(message(C, B, 7, refusal)).expect("well formed");
    c.flush(B);
    assert_eq!((c.status(B).term, c.status(B).leader), (Term(7), None));
    let ask = MessageBody::Vote {
        last: log_id(9, 6),
        transfer: None,
    };
    let would = MessageBody::PreVote { last: log_id(9, 6) };
    c.pass(end.since(c.now()) - Duration::from_nanos(1));
    for term in [7, 8] {
        c.step(message(C, B, term, ask.clone())).expect("ignored");
        c.step(message(C, B, term, would.clone())).expect("ignored");
    }
    c.flush(B);
    assert_eq!(c.status(B).term, Term(7));
    assert_eq!(c.count("B -> C  t7 "), 0);
    c.say("When its time is over, it votes.");
    c.pass(Duration::from_nanos(1));
    c.step(message(C, B, 7, ask)).expect("granted");
    c.flush(B);
    assert_eq!(c.count("t7 vote C"), 1);
    c.tell("promise_outlives_the_term");
}

#[test]
fn suspended_leader_serves_no_lease_read() {
    let title = "A leader is suspended for longer than its lease. The time with the read that wakes \
                 it says so.";
    let mut c = led(title);
    c.say("A sleeps. B and C elect another leader, which commits a write.");
    c.isolate(A);
    c.pass(ELECTION * 2);
    c.fire(B);
    c.propose(B, "x=2");
    c.heal();
    c.say("A wakes up, and a read is the first that it sees: it asks the others.");
    assert_eq!(c.status(A).role, RoleKind::Leader);
    c.read(A, 1);
    c.run();
    assert_eq!(c.served(), []);
    assert_eq!(c.status(A).role, RoleKind::Follower);
    c.tell("suspended_leader_serves_no_lease_read");
}

#[test]
fn start_waits_before_voting() {
    let title = "After a start a member neither campaigns nor votes while promises of its earlier \
                 life may hold.";
    let mut c = led(title);
    c.say("B crashes and starts again: it has forgotten its promise.");
    c.crash(B);
    c.restart(B);
    let end = c.now() + PROMISE_MAX;
    c.run();
    assert!(end <= c.deadline(B));
    let ask = |transfer| MessageBody::Vote {
        last: log_id(2, 2),
        transfer,
    };
    c.pass(PROMISE_MAX - Duration::from_nanos(1));
    for transfer in [None, Some(A)] {
        c.step(message(C, B, 3, ask(transfer))).expect("ignored");
    }
    c.step(message(A, B, 2, MessageBody::TimeoutNow))
        .expect("ignored");
    c.flush(B);
    assert_eq!(
        (c.status(B).role, c.status(B).term),
        (RoleKind::Follower, Term(2))
    );
    c.say("Then it votes.");
    c.pass(Duration::from_nanos(1));
    c.step(message(C, B, 3, ask(Some(A)))).expect("granted");
    c.flush(B);
    assert_eq!(c.count("t3 vote C"), 1);
    c.tell("start_waits_before_voting");
}

#[test]
fn members_that_start_together_dont_campaign_together() {
    let mut c = Cluster::with_promises("", &[A, B, C]);
    c.run();
    let deadlines = [A, B, C].map(|id| c.deadline(id));
    let end = Instant(PROMISE_MAX);
    assert!(
        deadlines
            .iter()
            .all(|at| *at >= end && *at < end + ELECTION)
    );
    assert!(deadlines[0] != deadlines[1] && deadlines[1] != deadlines[2]);
}

#[test]
fn the_only_voter_waits_for_nobody_and_its_lease_has_no_end() {
    let mut c = Cluster::with_promises("", &[A]);
    c.run();
    assert_eq!(c.deadline(A), Instant::default());
    c.elect(A);
    assert_eq!(c.lease(A), Some(Instant(Duration::MAX)));
    c.pass(ELECTION * 1000);
    c.read(A, 1);
    c.run();
    assert_eq!(c.served(), [(A, ReadId(1), LogIndex(2))]);
}

#[test]
fn a_leader_that_died_right_after_its_heartbeat_is_replaced_in_the_usual_time() {
    let mut c = led("");
    c.crash(A);
    let heard = c.now();
    for id in [B, C] {
        assert!(c.deadline(id) >= heard + ELECTION && c.deadline(id) < heard + ELECTION * 2);
    }
    let first = if c.deadline(B) < c.deadline(C) { B } else { C };
    c.fire(first);
    assert_eq!(c.status(first).role, RoleKind::Leader);
}
