//! Stories of replication and of disks.

use raftery_raft::{LogIndex, Recovered, RoleKind, Term};

use crate::cluster::{A, B, C, Cluster, ELECTION, founded};
use crate::member::data;

#[test]
fn single_node_acknowledges_only_after_durable() {
    let title = "A single member: neither its vote nor its entries count before they are durable.";
    let mut c = Cluster::new(title, &[A]);
    c.run();
    c.hold_syncs(A);
    c.fire(A);
    assert_eq!(c.status(A).role, RoleKind::Candidate);
    c.sync(A);
    c.flush(A);
    assert_eq!(c.status(A).role, RoleKind::Leader);
    c.propose(A, "x=1");
    assert_eq!(c.status(A).commit, LogIndex(1));
    c.say("A crash here loses the write: nobody was told that it is safe.");
    c.sync(A);
    c.flush(A);
    assert_eq!(c.status(A).commit, LogIndex(2), "the blank entry only");
    c.crash(A);
    c.restart(A);
    c.run();
    c.fire(A);
    assert_eq!(
        (c.status(A).role, c.status(A).term),
        (RoleKind::Leader, Term(3))
    );
    assert_eq!(c.count("applies [3/2"), 0);
    c.tell("single_node");
}

#[test]
fn async_append_aba_across_two_leaders() {
    let title = "Asynchronous appends, the ABA case: a slow disk acknowledges an entry that \
                 another leader has replaced meanwhile.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.say("A and C lose each other. A writes; its disk and B's are slow.");
    c.cut(A, C);
    c.hold_syncs(A);
    c.hold_syncs(B);
    c.propose(A, "x=old");
    c.say("A dies and loses the write, comes back, and makes C leader, which writes, too.");
    c.crash(A);
    c.heal();
    c.restart(A);
    c.run();
    c.pass(ELECTION);
    c.pass(ELECTION);
    c.fire(C);
    assert_eq!(c.status(C).role, RoleKind::Leader);
    c.propose(C, "x=new");
    let accepted = c.count("B -> C  t3 accepted");
    c.say("B's disk acknowledges x=old. B accepts nothing by that.");
    c.sync(B);
    c.flush(B);
    c.run();
    assert_eq!(c.count("B -> C  t3 accepted"), accepted);
    c.say("And then the rest.");
    while c.waits(B) {
        c.sync(B);
        c.flush(B);
    }
    c.run();
    assert_eq!(c.count("B -> C  t3 accepted"), accepted + 1);
    assert_eq!(c.status(B).commit, c.status(C).commit);
    c.tell("async_append_aba");
}

#[test]
fn fast_back_up_skips_whole_terms() {
    let title = "Fast back-up: logs that part long ago meet again in a few round trips.";
    let mut c = Cluster::new(title, &[A, B, C]);
    let disk = |term: u64, terms: &[u64]| -> Recovered {
        let mut disk = founded(&[A, B, C]);
        disk.hard_state.term = Term(term);
        disk.entries
            .extend((2..).zip(terms).map(|(index, term)| data(index, *term)));
        disk
    };
    let leaders: Vec<u64> = [2].into_iter().chain([5; 40]).chain([6; 40]).collect();
    let followers: Vec<u64> = [2].into_iter().chain([3; 50]).chain([4; 50]).collect();
    c.start(A, disk(6, &leaders));
    c.start(B, disk(6, &followers));
    c.start(C, disk(6, &leaders));
    c.run();
    c.say("A, whose log is of later terms, leads. B holds a hundred entries of others.");
    c.isolate(B);
    c.elect(A);
    c.heal();
    let before = c.count("rejected after");
    c.fire(A);
    let rejections = c.count("rejected after") - before;
    assert!(rejections <= 3, "{rejections} round trips");
    assert_eq!(c.status(B).last_index, c.status(A).last_index);
    assert_eq!(c.status(B).commit, c.status(A).commit);
    c.tell_without_entries("fast_back_up");
}

#[test]
fn a_lost_append_is_noticed_by_the_next_heartbeat() {
    let title = "A follower misses the last append: nothing follows it, and a heartbeat finds out.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.isolate(B);
    c.propose(A, "x=1");
    assert_eq!(c.status(A).commit, LogIndex(3));
    assert_eq!(c.status(B).last_index, LogIndex(2));
    c.heal();
    c.say("B can be reached again.");
    c.fire(A);
    assert_eq!(c.status(B).commit, LogIndex(3));
    c.tell("lost_append");
}

#[test]
fn a_leader_commits_by_its_followers_disks_while_its_own_lags_and_dies() {
    let title = "The leader's disk is slow: its followers' syncs commit, and its crash loses \
                 nothing.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.hold_syncs(A);
    c.propose(A, "x=1");
    assert_eq!(c.status(A).commit, LogIndex(3));
    c.crash(A);
    c.restart(A);
    c.run();
    assert_eq!(
        c.status(A).last_index,
        LogIndex(2),
        "its own disk never got it"
    );
    c.pass(ELECTION);
    c.pass(ELECTION);
    c.say("It can't lead without the entry: the others refuse.");
    c.fire(A);
    assert_ne!(c.status(A).role, RoleKind::Leader);
    c.fire(B);
    assert_eq!(c.status(B).role, RoleKind::Leader);
    assert_eq!(c.status(A).commit, LogIndex(4));
    c.tell("leader_disk_lags");
}
