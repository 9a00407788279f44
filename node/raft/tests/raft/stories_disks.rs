//! Stories of disks that lose what they had.

use raftery_raft::{LogIndex, PeerState, RoleKind, Rollback, Term};

use crate::cluster::{A, B, C, Cluster, D, E, ELECTION};

fn wait_out_the_leader(c: &mut Cluster) {
    c.pass(ELECTION);
    c.pass(ELECTION);
}

#[test]
fn a_repairing_member_votes_only_for_logs_that_reach_what_it_lost() {
    let title = "The middle of B's log is rotten: until the leader has brought it back, B votes \
                 only for those who hold as much as it once did.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.isolate(C);
    c.propose(A, "x=1");
    c.crash(B);
    c.rot(B, 2);
    c.restart(B);
    c.run();
    assert!(c.status(B).repairing);
    assert_eq!(c.status(B).last_index, LogIndex(2));
    c.say("A is gone. C lacks x=1, which A and B had; B alone knows that there was something.");
    c.heal();
    c.isolate(A);
    wait_out_the_leader(&mut c);
    c.fire(C);
    assert_ne!(c.status(C).role, RoleKind::Leader);
    c.campaign(C);
    assert_ne!(c.status(C).role, RoleKind::Leader);
    c.say("Nor does B campaign.");
    wait_out_the_leader(&mut c);
    c.fire(B);
    c.campaign(B);
    assert_eq!(c.status(B).role, RoleKind::Follower);
    assert_eq!(c.count("B -> C  t3 PreVote, "), 0);
    c.say("A comes back: B votes for it, gets what it lost and votes for anyone again.");
    c.heal();
    c.tick(A);
    wait_out_the_leader(&mut c);
    c.fire(A);
    c.fire(A);
    assert_eq!(c.status(A).role, RoleKind::Leader);
    assert!(!c.status(B).repairing);
    assert_eq!(c.status(B).commit, c.status(A).commit);
    c.tell("repairing_member_votes_only_for_longer_logs");
}

#[test]
fn a_leader_repairs_a_member_that_had_acknowledged_what_it_lost() {
    let title = "B acknowledged x=1, then its log rots: the same leader sends it again, and \
                 nobody takes B for rolled back.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.propose(A, "x=1");
    c.crash(B);
    c.rot(B, 1);
    c.restart(B);
    c.run();
    c.hold_syncs(B);
    c.fire(A);
    assert!(c.status(B).repairing, "it isn't durable yet");
    while c.waits(B) {
        c.sync(B);
        c.flush(B);
    }
    c.run();
    let status = c.status(B);
    assert_eq!((status.repairing, status.rolled_back), (false, None));
    assert_eq!(status.commit, LogIndex(3));
    c.tell("leader_repairs_member");
}

#[test]
fn a_rolled_back_member_does_not_vote() {
    let title = "B's disk goes back behind what it acknowledged: the leader's next heartbeat \
                 shows it. B neither votes nor campaigns any more, and is sent what it lost.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.isolate(C);
    c.propose(A, "x=1");
    c.crash(B);
    c.roll_back(B, 1, 1);
    c.restart(B);
    c.run();
    c.fire(A);
    let evidence = Rollback::LogEndsEarly {
        term: Term(2),
        acknowledged: LogIndex(3),
    };
    assert_eq!(c.status(B).rolled_back, Some(evidence));
    assert_eq!(c.status(B).commit, LogIndex(3), "it still replicates");
    assert_eq!(c.status(A).progress[&B].state, PeerState::Replicate);
    c.say(
        "A is gone. C, which holds all that is committed, can't be elected by B either: nobody \
           knows what else B has forgotten.",
    );
    c.heal();
    c.fire(A);
    c.fire(A);
    c.isolate(A);
    wait_out_the_leader(&mut c);
    c.fire(C);
    c.campaign(C);
    assert_ne!(c.status(C).role, RoleKind::Leader);
    c.fire(B);
    assert_eq!(c.status(B).role, RoleKind::Follower);
    c.say("With A it is.");
    c.heal();
    c.tick(A);
    c.run();
    wait_out_the_leader(&mut c);
    c.campaign(C);
    assert_eq!(c.status(C).role, RoleKind::Leader);
    assert_eq!(c.status(B).commit, c.status(C).commit);
    c.tell("rolled_back_member_does_not_vote");
}

#[test]
fn a_rolled_back_members_majority_loses_no_write() {
    let title = "Five members: what A, B and C acknowledged is committed; C's disk goes back. \
                 Without C's vote nobody is elected who lacks it.";
    let mut c = Cluster::new(title, &[A, B, C, D, E]);
    c.run();
    c.elect(A);
    c.isolate(D);
    c.isolate(E);
    c.propose(A, "x=1");
    assert_eq!(c.status(A).commit, LogIndex(3));
    c.crash(C);
    c.roll_back(C, 2, 2);
    c.restart(C);
    c.run();
    c.say("C hears of it when it greets a peer.");
    let evidence = Rollback::BootCounterWentBack;
    c.tell_rolled_back(C, evidence);
    c.flush(C);
    c.heal();
    c.isolate(A);
    c.isolate(B);
    wait_out_the_leader(&mut c);
    c.campaign(D);
    assert_ne!(c.status(D).role, RoleKind::Leader);
    c.say("B holds it, and is elected once a term comes in which D and E haven't voted yet.");
    c.heal();
    c.isolate(A);
    wait_out_the_leader(&mut c);
    c.campaign(B);
    c.campaign(B);
    assert_eq!(c.status(B).role, RoleKind::Leader);
    assert_eq!(c.status(E).commit, LogIndex(4));
    c.tell("rolled_back_majority");
}

#[test]
fn a_restarted_follower_commits_by_heartbeat_only_what_an_append_has_shown_to_match() {
    let title = "B restarts in the middle of a term: the heartbeat names what it acknowledged \
                 before. It asks whether its disk still holds that.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.propose(A, "x=1");
    c.crash(B);
    c.restart(B);
    c.run();
    assert_eq!(c.status(B).commit, LogIndex(2));
    c.fire(A);
    assert_eq!(c.status(B).commit, LogIndex(3));
    assert_eq!(c.status(B).rolled_back, None);
    assert_eq!(c.status(A).progress[&B].lost, None);
    c.tell("heartbeat_after_restart");
}
