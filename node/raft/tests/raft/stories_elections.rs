//! Stories of elections.

use std::time::Duration;

use raftery_raft::{LogIndex, ProposeError, Recovered, RoleKind, Term};

use crate::cluster::{A, B, C, Cluster, D, E, ELECTION, founded};
use crate::member::data;

#[test]
fn three_founders_elect_a_leader_that_commits() {
    let mut c = Cluster::new(
        "Three founders elect a leader, which commits a write.",
        &[A, B, C],
    );
    c.say("All start as followers.");
    c.run();
    c.say("A's timer fires first.");
    c.fire(A);
    c.say("A client writes.");
    c.propose(A, "x=1");
    assert!(c.status(A).has_committed_in_term);
    for id in [A, B, C] {
        assert_eq!(c.status(id).commit, LogIndex(3));
        assert_eq!(c.status(id).leader, Some(A));
    }
    c.say("Time passes: heartbeats.");
    c.fire(A);
    c.tell("election");
}

#[test]
fn prevote_and_check_quorum_keep_the_peace_around_a_partition() {
    let title = "PreVote and CheckQuorum: a member that comes back disturbs nobody, and a leader \
                 without a quorum steps down.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);

    c.say("C is cut off. It asks in vain whether it could win, and its term stays.");
    c.isolate(C);
    c.lead_until(A, c.deadline(C));
    c.tick(C);
    c.run();
    assert_eq!(
        (c.status(C).role, c.status(C).term),
        (RoleKind::PreCandidate, Term(2))
    );
    c.say("C is back and asks again before a heartbeat reaches it: who hears A doesn't answer.");
    c.lead_until(A, c.deadline(C));
    c.heal();
    c.tick(C);
    c.run();
    assert_eq!(
        (c.status(A).role, c.status(A).term),
        (RoleKind::Leader, Term(2))
    );
    assert_eq!(c.count("C  t3 PreVote: "), 0);
    c.say("The next heartbeat takes it in again.");
    c.fire(A);
    assert_eq!(c.status(C).leader, Some(A));

    c.say("Now the leader itself is cut off: it steps down after an election timeout.");
    c.isolate(A);
    c.pass(ELECTION);
    c.tick(A);
    c.run();
    assert_eq!(
        (c.status(A).role, c.status(A).leader),
        (RoleKind::Follower, None)
    );
    c.say("B and C hear no leader any more and elect one.");
    c.fire(B);
    assert_eq!(
        (c.status(B).role, c.status(B).term),
        (RoleKind::Leader, Term(3))
    );
    c.say("A comes back and follows.");
    c.heal();
    c.fire(B);
    assert_eq!(c.status(A).leader, Some(B));
    c.tell("prevote_check_quorum");
}

#[test]
fn a_member_whose_term_ran_ahead_is_freed() {
    let title = "A member with a later term than the leader's: the leader learns of it, and a new \
                 election takes the member in again.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.say("C missed the last terms' end: its disk says term 5.");
    c.crash(C);
    let mut disk = founded(&[A, B, C]);
    disk.hard_state.term = Term(5);
    c.start(C, disk);
    c.fire(A);
    assert_eq!(
        (c.status(A).role, c.status(A).term),
        (RoleKind::Follower, Term(5))
    );
    c.pass(ELECTION);
    c.fire(A);
    assert_eq!(
        (c.status(A).role, c.status(A).term),
        (RoleKind::Leader, Term(6))
    );
    assert_eq!(c.status(C).leader, Some(A));
    c.tell("stuck_member_freed");
}

#[test]
fn transfer_to_lagging_follower_waits_until_it_has_caught_up() {
    let title = "Leadership goes to a follower that lags: the leader takes no proposals, brings \
                 the target up to date, then tells it to campaign.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.say("C misses two writes.");
    c.isolate(C);
    c.propose(A, "x=1");
    c.propose(A, "x=2");
    c.heal();
    c.say("A hands over to C. C isn't told yet.");
    c.transfer(A, C).expect("C votes");
    c.run();
    assert_eq!(c.status(A).transferee, Some(C));
    assert_eq!(
        c.try_propose(A, "x=3"),
        Err(ProposeError::Transferring { to: C })
    );
    assert_eq!(c.count("TimeoutNow"), 0);
    c.say("A heartbeat shows that C lacks entries.");
    c.fire(A);
    assert_eq!(
        (c.status(C).role, c.status(C).term),
        (RoleKind::Leader, Term(3))
    );
    assert_eq!(c.status(A).leader, Some(C));
    assert_eq!(c.count("asked by A"), 2);
    c.tell("transfer_to_lagging_follower");
}

#[test]
fn a_transfer_that_leads_nowhere_is_given_up_after_an_election_timeout() {
    let title = "A transfer to a member that can't be reached is given up.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.isolate(C);
    c.propose(A, "x=1");
    c.transfer(A, C).expect("C votes");
    c.run();
    let given_up = c.now() + ELECTION;
    while c.now() < given_up {
        assert_eq!(
            c.try_propose(A, "x=2"),
            Err(ProposeError::Transferring { to: C })
        );
        c.fire(A);
    }
    assert_eq!(c.status(A).transferee, None);
    c.propose(A, "x=2");
    assert_eq!(c.status(B).commit, LogIndex(4));
    c.tell("transfer_given_up");
}

#[test]
fn a_slept_leader_steps_down_before_it_does_anything() {
    let mut c = Cluster::new("", &[A, B, C]);
    c.run();
    c.elect(A);
    c.pass(Duration::from_secs(60));
    c.tick(A);
    assert_eq!(
        c.try_propose(A, "x"),
        Err(ProposeError::NotLeader { leader: None })
    );
}

#[test]
fn figure_8_what_a_majority_holds_of_an_earlier_term_may_be_overwritten() {
    // Figure 8 of the paper, 3.7 of the thesis; the scene begins between (b) and (c).
    let title = "Figure 8: a majority holds an entry of term 2 durably, a leader of term 4 doesn't \
                 commit it, and a later leader rightly overwrites it.";
    let members = [A, B, C, D, E];
    let mut c = Cluster::new(title, &members);
    let disk = |term: u64, entries: &[(u64, u64)]| -> Recovered {
        let mut disk = founded(&members);
        disk.hard_state.term = Term(term);
        let more = entries.iter().map(|(index, term)| data(*index, *term));
        disk.entries.extend(more);
        disk
    };
    for id in [A, B, C] {
        c.start(id, disk(3, &[(2, 2)]));
    }
    c.start(D, disk(3, &[]));
    c.start(E, disk(3, &[(2, 3)]));
    c.run();
    c.say("(c) A, B and C hold entry 2 of term 2. D and E can't be reached. A leads in term 4.");
    c.isolate(D);
    c.isolate(E);
    c.crash(D);
    c.crash(E);
    for id in [A, B, C] {
        c.hold_syncs(id);
    }
    c.fire(A);
    for id in [A, B, C] {
        c.sync(id);
        c.run();
    }
    assert_eq!(c.status(A).role, RoleKind::Leader);
    assert_eq!(c.status(A).commit, LogIndex(1));
    c.say("All three die before entry 3, of term 4, is durable anywhere; A stays away.");
    for id in [A, B, C] {
        c.crash(id);
    }
    c.heal();
    for id in [B, C, D, E] {
        c.restart(id);
    }
    c.run();
    c.say("(d) E, whose entry 2 is of term 3, wins and overwrites.");
    c.fire(E);
    if c.status(E).role != RoleKind::Leader {
        c.say("It learned the term by that; once more.");
        c.fire(E);
    }
    assert_eq!(c.status(E).role, RoleKind::Leader);
    assert_eq!(c.status(B).commit, LogIndex(3));
    assert_eq!(c.count("2/2 x] commit"), 0);
    assert_eq!(c.count("applies [2/2"), 0);
    c.tell("figure_8");
}

#[test]
fn commits_only_entries_of_its_own_term() {
    use crate::member::{at, log_id, message};
    use raftery_raft::{MessageBody, PersistSeq, Raft};

    // A alone: it leads term 4 with an entry 2 of term 2, and its own entry is 3.
    let mut disk = founded(&[A, B, C]);
    disk.hard_state.term = Term(3);
    disk.entries.push(data(2, 2));
    let mut raft = Raft::new(at(0), crate::cluster::config(A), disk);
    let due = raft.next_deadline();
    raft.tick(due);
    raft.step(
        due,
        message(B, A, 4, MessageBody::PreVoteResponse { granted: true }),
    )
    .expect("ok");
    raft.take_ready();
    raft.on_persisted(due, PersistSeq(1));
    raft.step(
        due,
        message(B, A, 4, MessageBody::VoteResponse { granted: true }),
    )
    .expect("ok");
    raft.take_ready();
    raft.on_persisted(due, PersistSeq(2));
    assert_eq!(raft.status().role, RoleKind::Leader);
    for id in [B, C] {
        let matched = LogIndex(2);
        raft.step(
            due,
            message(id, A, 4, MessageBody::AppendAccepted { matched }),
        )
        .expect("ok");
        assert_eq!(
            raft.status().commit,
            LogIndex(1),
            "all hold 2@2, and it isn't committed"
        );
    }
    let matched = LogIndex(3);
    raft.step(
        due,
        message(B, A, 4, MessageBody::AppendAccepted { matched }),
    )
    .expect("ok");
    assert_eq!(raft.status().commit, LogIndex(3));
    let given = raft.take_ready().expect("committed").committed;
    assert_eq!(given.last().expect("entries").id, log_id(3, 4));
}
