//! Stories of linearizable reads.

use raftery_raft::{LogIndex, ReadId, RoleKind};

use crate::cluster::{A, B, C, Cluster, ELECTION, founded};

#[test]
fn read_index_after_partition_is_not_served() {
    let title = "A leader that was replaced without knowing it serves no read.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.propose(A, "x=1");
    c.isolate(A);
    c.pass(ELECTION);
    c.pass(ELECTION);
    c.say("B and C elect another leader, which commits a write. A still believes to lead.");
    c.fire(B);
    c.propose(B, "x=2");
    assert_eq!(c.status(A).role, RoleKind::Leader);
    c.say("A read at A: nobody confirms it, before the partition heals nor after.");
    c.read(A, 1);
    c.run();
    c.heal();
    c.read(A, 2);
    c.run();
    c.fire(B);
    assert_eq!(c.served(), []);
    assert_eq!(c.status(A).role, RoleKind::Follower);
    c.say("A follows B now and asks it.");
    c.read(A, 3);
    c.run();
    assert_eq!(c.served(), [(A, ReadId(3), LogIndex(5))]);
    c.tell("read_after_partition");
}

#[test]
fn one_heartbeat_round_confirms_all_reads_before_it() {
    let title = "Reads share rounds: those that come while one is under way wait for the next.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.say("Three reads at once: one round.");
    for read in 1..=3 {
        c.read(A, read);
    }
    c.flush(A);
    assert_eq!(c.count("Heartbeat 1"), 0);
    c.say("Two more while it is under way, one of them a follower's: the next round.");
    c.read(A, 4);
    c.read(B, 5);
    c.run();
    assert_eq!(c.served().len(), 5);
    assert_eq!(c.count("-> C  t2 Heartbeat"), 2);
    c.tell("read_rounds");
}

#[test]
fn a_single_voter_answers_at_once() {
    let mut c = Cluster::new("", &[A]);
    c.run();
    c.elect(A);
    c.read(A, 1);
    c.flush(A);
    assert_eq!(c.served(), [(A, ReadId(1), LogIndex(2))]);
}

#[test]
fn a_new_leader_serves_no_read_before_it_has_committed() {
    let title = "A new leader doesn't know what is committed: reads wait for its first entry.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.start(A, founded(&[A, B, C]));
    c.run();
    for id in [B, C] {
        c.hold_syncs(id);
    }
    c.fire(A);
    c.sync(B);
    c.flush(B);
    c.run();
    assert_eq!(c.status(A).role, RoleKind::Leader);
    assert!(!c.status(A).has_committed_in_term);
    c.read(A, 1);
    c.run();
    assert_eq!(c.served(), []);
    c.say("B's disk has the first entry.");
    c.sync(B);
    c.flush(B);
    c.run();
    assert_eq!(c.served(), [(A, ReadId(1), LogIndex(2))]);
    c.tell("read_of_new_leader");
}
