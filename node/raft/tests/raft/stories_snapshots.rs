//! Stories of logs that are cut, and of snapshots that take their place.

use raftery_raft::{ConfChange, LogIndex, PeerState, Recovered, RoleKind};

use crate::cluster::{A, B, C, Cluster, D, ELECTION};
use crate::member::log_id;

/// A leads; C was away for two entries, which A's log holds no more.
fn behind_the_base(title: &str) -> Cluster {
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.isolate(C);
    c.propose(A, "x=1");
    c.propose(A, "x=2");
    c.compact(A);
    c.heal();
    c.say("C can be reached again. What comes next for it is gone at A.");
    c.fire(A);
    c
}

/// Time for a leader to try again.
fn beat_twice(c: &mut Cluster) {
    c.fire(A);
    c.fire(A);
}

#[test]
fn a_lagging_follower_gets_a_snapshot_and_then_entries() {
    let title = "A follower lags behind the leader's log: it gets a snapshot, then the rest.";
    let mut c = behind_the_base(title);
    let pending = LogIndex(4);
    let state = PeerState::Snapshot { pending };
    assert_eq!(c.status(A).progress[&C].state, state);
    c.say("While the snapshot is sent, C is sent heartbeats only.");
    let snapshot = c.snapshot(A);
    c.propose(A, "x=3");
    c.fire(A);
    assert_eq!(c.status(C).last_index, LogIndex(2));
    c.say("It arrives.");
    let last = snapshot.meta.last;
    c.deliver(C, snapshot).expect("good");
    c.snapshot_sent(A, C, Some(last));
    c.run();
    let status = c.status(C);
    assert_eq!((status.base, status.commit), (log_id(4, 2), LogIndex(5)));
    assert_eq!(c.status(A).progress[&C].state, PeerState::Replicate);
    c.tell("snapshot_to_lagging_follower");
}

#[test]
fn a_snapshot_that_fails_is_sent_again() {
    let title = "A snapshot doesn't arrive: the leader probes after a while, and sends another.";
    let mut c = behind_the_base(title);
    c.snapshot_sent(A, C, None);
    c.run();
    assert_eq!(c.count("has to send C a snapshot"), 1, "not at once");
    beat_twice(&mut c);
    assert_eq!(c.count("has to send C a snapshot"), 2);
    c.say("This one is said to have arrived, but C died with it.");
    c.snapshot_sent(A, C, Some(log_id(4, 2)));
    beat_twice(&mut c);
    assert_eq!(c.count("has to send C a snapshot"), 3);
    c.send_snapshot(A, C);
    assert_eq!(c.status(C).commit, LogIndex(4));
    c.tell("snapshot_fails_and_is_sent_again");
}

#[test]
fn a_stale_snapshot_is_answered_with_what_matches() {
    let title = "Snapshots that come late or twice change nothing, and are answered.";
    let mut c = behind_the_base(title);
    let snapshot = c.snapshot(A);
    c.propose(A, "x=3");
    c.send_snapshot(A, C);
    assert_eq!(c.status(C).base, log_id(5, 2));
    c.say("An earlier one comes late.");
    c.deliver(C, snapshot.clone()).expect("good");
    c.run();
    c.say("And one to B, which holds all entries, but knows of fewer that they are committed.");
    c.cut(A, B);
    c.propose(A, "x=4");
    c.heal();
    c.fire(A);
    c.deliver(B, c.snapshot(A)).expect("good");
    c.run();
    assert_eq!(c.status(B).base, log_id(0, 0));
    assert_eq!(c.count("wants the snapshot"), 1);
    c.say("A leader of another term, and the first one's snapshot is refused.");
    c.pass(ELECTION);
    c.pass(ELECTION);
    c.fire(B);
    assert_eq!(c.status(B).role, RoleKind::Leader);
    c.deliver(C, snapshot).expect("old");
    c.run();
    c.tell("stale_snapshot");
}

#[test]
fn an_append_that_comes_while_a_snapshot_is_installed_is_as_good_as_lost() {
    let title = "Appends reach a follower while it puts a snapshot in place: they are ignored, \
                 and come again.";
    let mut c = behind_the_base(title);
    c.hold_installs(C);
    let rejected = c.count("C -> A  t2 rejected");
    c.send_snapshot(A, C);
    c.say("A probes behind the snapshot, C isn't there yet.");
    c.propose(A, "x=3");
    beat_twice(&mut c);
    assert_eq!(c.count("C -> A  t2 rejected"), rejected);
    assert_eq!(c.status(C).last_index, LogIndex(2));
    c.say("Another snapshot is ignored, too.");
    c.deliver(C, c.snapshot(A)).expect("good");
    c.say("A falls silent. C doesn't campaign: it can't win without what the snapshot holds.");
    let due = c.deadline(C);
    c.pass(due.since(c.now()));
    c.tick(C);
    c.run();
    assert_eq!(
        (c.status(C).role, c.status(C).leader),
        (RoleKind::Follower, None)
    );
    c.tell("install_races_append");
}

#[test]
fn a_crash_around_an_installation_leaves_the_old_state_or_the_new() {
    let title = "A crash before, within and after the installation of a snapshot.";
    let mut c = behind_the_base(title);
    c.hold_installs(C);
    c.deliver(C, c.snapshot(A)).expect("good");
    c.flush(C);
    c.say("Before the swap: everything is as it was.");
    c.crash(C);
    c.restart(C);
    c.run();
    assert_eq!(
        (c.status(C).base, c.status(C).last_index),
        (log_id(0, 0), LogIndex(2))
    );
    c.say("After the swap, before Raft knows: the log begins behind what is applied.");
    c.hold_installs(C);
    c.deliver(C, c.snapshot(A)).expect("good");
    c.flush(C);
    c.swap(C);
    c.crash(C);
    c.restart(C);
    c.run();
    assert_eq!(
        (c.status(C).base, c.status(C).commit),
        (log_id(4, 2), LogIndex(4))
    );
    c.say("With the base written, but not durable: the same.");
    c.isolate(C);
    c.propose(A, "x=3");
    c.compact(A);
    c.heal();
    c.snapshot_sent(A, C, Some(log_id(4, 2)));
    beat_twice(&mut c);
    c.hold_syncs(C);
    let accepted = c.count("C -> A  t2 accepted");
    c.deliver(C, c.snapshot(A)).expect("good");
    c.flush(C);
    c.run();
    assert_eq!(c.status(C).base, log_id(5, 2));
    assert_eq!(c.count("C -> A  t2 accepted"), accepted, "isn't durable");
    c.crash(C);
    c.restart(C);
    c.run();
    assert_eq!(
        (c.status(C).base, c.status(C).commit),
        (log_id(5, 2), LogIndex(5))
    );
    c.snapshot_sent(A, C, Some(log_id(5, 2)));
    c.propose(A, "x=4");
    beat_twice(&mut c);
    assert_eq!(c.status(C).commit, c.status(A).commit);
    c.tell("snapshot_and_crashes");
}

#[test]
fn a_batch_from_before_the_snapshot_makes_nothing_of_it_durable() {
    let title = "The ABA case of snapshots: a slow disk acknowledges entries that a snapshot has \
                 taken the place of.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.say("A writes and reaches C only; both disks are slow.");
    c.cut(A, B);
    c.hold_syncs(A);
    c.hold_syncs(C);
    c.propose(A, "x=old");
    c.propose(A, "x=older");
    c.say("A dies and loses the writes, comes back, and makes B leader, which cuts its log.");
    c.crash(A);
    c.heal();
    c.cut(B, C);
    c.restart(A);
    c.run();
    c.pass(ELECTION);
    c.pass(ELECTION);
    c.fire(B);
    assert_eq!(c.status(B).role, RoleKind::Leader);
    c.propose(B, "x=new");
    c.compact(B);
    c.heal();
    c.fire(B);
    c.say("C gets a snapshot.");
    c.send_snapshot(B, C);
    assert_eq!(c.status(C).base, c.status(B).base);
    let accepted = c.count("C -> B  t3 accepted");
    c.say("C's disk acknowledges the old entries. C accepts nothing by that.");
    while c.count("disk: #") < 2 {
        c.sync(C);
        c.flush(C);
    }
    c.run();
    assert_eq!(c.count("C -> B  t3 accepted"), accepted);
    c.say("And then the rest.");
    while c.waits(C) {
        c.sync(C);
        c.flush(C);
    }
    c.run();
    assert!(c.count("C -> B  t3 accepted") > accepted);
    assert_eq!(c.status(C).commit, c.status(B).commit);
    c.tell("snapshot_then_aba");
}

#[test]
fn a_new_leader_with_a_short_log_probes_within_it() {
    let title = "A leader that cut its log probes: who is within its log gets entries, who isn't \
                 gets a snapshot.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.isolate(C);
    c.propose(A, "x=1");
    c.say("A and B cut their logs; B misses the last entry, C two.");
    c.compact(A);
    c.compact(B);
    c.heal();
    c.isolate(B);
    c.isolate(C);
    c.try_propose(A, "x=2").expect("leads");
    c.run();
    c.pass(ELECTION);
    c.pass(ELECTION);
    c.tick(A);
    c.heal();
    c.run();
    c.fire(A);
    assert_eq!(c.status(A).role, RoleKind::Leader);
    assert_eq!(c.status(A).progress[&B].state, PeerState::Replicate);
    let pending = LogIndex(3);
    assert_eq!(
        c.status(A).progress[&C].state,
        PeerState::Snapshot { pending }
    );
    c.send_snapshot(A, C);
    c.fire(A);
    assert_eq!(c.status(C).commit, c.status(A).commit);
    c.tell("compacted_leader_probes");
}

#[test]
fn a_member_that_joins_late_begins_with_a_snapshot_and_its_membership() {
    let title = "A member joins when the first entries are long gone.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    let context = bytes::Bytes::new();
    c.propose(A, "x=1");
    c.compact(A);
    let snapshot = c.snapshot(A);
    c.change(A, ConfChange::AddLearner { id: D, context })
        .expect("leads");
    c.run();
    c.say("D starts from nothing.");
    c.start(D, Recovered::default());
    c.run();
    beat_twice(&mut c);
    c.say("A snapshot from before D was added: D takes it all the same.");
    let last = snapshot.meta.last;
    c.deliver(D, snapshot).expect("good");
    c.flush(D);
    assert!(!c.status(D).membership.contains(D));
    c.snapshot_sent(A, D, Some(last));
    c.run();
    assert!(c.status(D).membership.learners.contains(&D));
    assert_eq!(c.status(D).membership, c.status(A).membership);
    c.say("D starts again: its state machine says who the members are.");
    c.crash(D);
    c.restart(D);
    c.run();
    assert_eq!(c.status(D).membership, c.status(A).membership);
    c.tell("late_learner");
}
