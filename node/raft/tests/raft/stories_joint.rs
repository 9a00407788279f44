//! Stories of joint consensus (§4.3): several changes at once.

use bytes::Bytes;
use raftery_raft::{
    ConfChange, ConfChangeError, LogId, LogIndex, MemberChange, MemberId, ProposeError, Recovered,
    RoleKind, Term, TransferError,
};

use crate::cluster::{A, B, C, Cluster, D, E, ELECTION};

fn change(changes: Vec<MemberChange>) -> ConfChange {
    ConfChange::Change { changes }
}

fn remove(id: MemberId) -> MemberChange {
    MemberChange::Remove { id }
}

fn demote(id: MemberId) -> MemberChange {
    MemberChange::Demote { id }
}

fn promote(id: MemberId) -> MemberChange {
    MemberChange::Promote { id }
}

/// A leads B and C; D and E are learners that have caught up.
fn with_two_learners(title: &str) -> Cluster {
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.say("D and E join as learners, both by one entry.");
    let add = |id| MemberChange::AddLearner {
        id,
        context: Bytes::new(),
    };
    c.change(A, change(vec![add(D), add(E)]))
        .expect("both are new");
    c.run();
    assert!(!c.status(A).membership.is_joint());
    for id in [D, E] {
        c.start(id, Recovered::default());
    }
    c.fire(A);
    assert_eq!(c.status(E).commit, LogIndex(3));
    c
}

#[test]
fn joint_change_swaps_voters() {
    let title = "A voter is swapped for two learners at once, through a joint configuration that \
                 the leader leaves by itself.";
    let mut c = with_two_learners(title);
    c.say("To swap two of three is refused: the one that stays couldn't go on alone.");
    let too_many = change(vec![remove(B), demote(C), promote(D), promote(E)]);
    let refused = ConfChangeError::TooManyLoseVote { lose: 2, voters: 3 };
    let refused = ProposeError::InvalidConfChange(refused);
    assert_eq!(c.change(A, too_many), Err(refused));
    let swap = change(vec![remove(C), promote(D), promote(E)]);
    c.say("One change for one of them.");
    c.change(A, swap).expect("caught up");
    c.run();
    for id in [A, B, D, E] {
        let membership = c.status(id).membership;
        assert_eq!(membership.voters, [A, B, D, E].into());
        assert_eq!(membership.removed, [C].into());
        assert!(!membership.is_joint());
    }
    assert_eq!(
        c.count("proposes a change: yes"),
        2,
        "nobody asked to leave"
    );
    c.say("The old one knows that it is out.");
    assert_eq!(c.status(C).role, RoleKind::Learner);
    assert!(c.status(C).membership.removed.contains(&C));
    c.say("Writes go on.");
    c.propose(A, "x=1");
    assert_eq!(c.status(E).commit, c.status(A).last_index);
    c.tell("joint_change_swaps_voters");
}

#[test]
fn joint_quorum_needs_both_halves() {
    let title = "While joint, a majority of the new half commits nothing, elects nobody and \
                 confirms no read without a majority of the old half.";
    let mut c = with_two_learners(title);
    for id in [B, C, D, E] {
        c.hold_syncs(id);
    }
    let swap = change(vec![remove(C), promote(D), promote(E)]);
    c.change(A, swap).expect("caught up");
    c.run();
    c.say("The old half commits the change. The configuration is joint.");
    for id in [B, C] {
        c.sync(id);
        c.flush(id);
    }
    c.run();
    let joint = c.status(A).membership;
    assert_eq!(joint.voters, [A, B, D, E].into());
    assert_eq!(joint.outgoing, [A, B, C].into());
    c.say("Only D's and E's disks go on: the entry that leaves isn't committed.");
    for id in [D, E, D, E] {
        if c.waits(id) {
            c.sync(id);
        }
        c.flush(id);
    }
    c.run();
    for id in [D, E] {
        while c.waits(id) {
            c.sync(id);
            c.flush(id);
        }
    }
    c.run();
    assert_eq!(c.status(A).last_index, LogIndex(5));
    assert_eq!(c.status(A).commit, LogIndex(4));
    c.say("Nothing else is changed meanwhile, and leadership goes only to the new half.");
    let pending = ProposeError::ConfChangePending { index: LogIndex(5) };
    assert_eq!(c.change(A, change(vec![demote(C)])), Err(pending));
    assert_eq!(c.transfer(A, C), Err(TransferError::NotVoter(C)));
    c.say("With B and C away, A, D and E confirm no read.");
    c.cut(A, B);
    c.cut(A, C);
    c.read(A, 1);
    c.run();
    assert_eq!(c.served(), []);
    c.say("And A steps down, because it doesn't hear the old half, and isn't elected again.");
    let before = c.now();
    while c.now() < before + ELECTION {
        c.fire(A);
    }
    assert_ne!(c.status(A).role, RoleKind::Leader);
    c.fire(A);
    assert_ne!(c.status(A).role, RoleKind::Leader);
    assert_eq!(c.status(A).commit, LogIndex(4));
    c.tell("joint_quorum_needs_both_halves");
}

#[test]
fn joint_leader_fails_before_leaving() {
    let title = "The leader dies while the configuration is joint: the next one leaves it.";
    let mut c = with_two_learners(title);
    for id in [A, B, C, D, E] {
        c.hold_syncs(id);
    }
    let swap = change(vec![remove(A), promote(D), promote(E)]);
    c.change(A, swap).expect("caught up");
    c.run();
    c.say(
        "The change is durable with B, C, D and E, and committed. A dies with the entry that \
           leaves.",
    );
    c.isolate(A);
    for id in [B, C, D, E] {
        while c.waits(id) {
            c.sync(id);
            c.flush(id);
        }
    }
    c.heal();
    c.crash(A);
    c.run();
    for id in [B, C, D, E] {
        c.let_sync(id);
    }
    c.say("D doesn't know that the change is committed, and is no voter for itself. B campaigns.");
    c.pass(ELECTION);
    c.pass(ELECTION);
    c.fire(B);
    assert_eq!(
        (c.status(B).role, c.status(B).term),
        (RoleKind::Leader, Term(3))
    );
    for id in [B, C, D, E] {
        let membership = c.status(id).membership;
        assert_eq!(membership.voters, [B, C, D, E].into());
        assert_eq!(membership.removed, [A].into());
        assert!(!membership.is_joint());
    }
    c.tell("joint_leader_fails_before_leaving");
}

#[test]
fn leader_outside_new_half_steps_down() {
    let title = "A leader demotes itself and promotes another in one change: it leads until the \
                 old half is left, then steps down.";
    let mut c = with_two_learners(title);
    let out = change(vec![demote(A), promote(D)]);
    c.change(A, out).expect("caught up");
    assert_eq!(c.status(A).role, RoleKind::Leader);
    c.run();
    assert_eq!(
        (c.status(A).role, c.status(A).leader),
        (RoleKind::Learner, None)
    );
    c.say("B, C and D go on, and A receives from them as a learner.");
    c.pass(ELECTION);
    c.pass(ELECTION);
    c.fire(B);
    assert_eq!(c.status(B).role, RoleKind::Leader);
    let membership = c.status(B).membership;
    assert_eq!(membership.voters, [B, C, D].into());
    assert_eq!(membership.learners, [A, E].into());
    c.fire(B);
    assert_eq!(c.status(A).commit, c.status(B).commit);
    c.tell("leader_outside_new_half_steps_down");
}

#[test]
fn a_learner_that_lags_is_not_promoted_among_others() {
    let mut c = with_two_learners("");
    c.isolate(E);
    for write in ["x=1", "x=2", "x=3", "x=4"] {
        c.propose(A, write);
    }
    let behind = ProposeError::InvalidConfChange(ConfChangeError::NotCaughtUp(E));
    let both = change(vec![promote(D), promote(E)]);
    assert_eq!(c.change(A, both), Err(behind));
}

#[test]
fn leaving_waits_for_a_transfer() {
    let mut c = with_two_learners("");
    let id = c
        .change(A, change(vec![remove(B), promote(D)]))
        .expect("caught up");
    assert_eq!(
        id,
        LogId {
            term: Term(2),
            index: LogIndex(4)
        }
    );
    c.transfer(A, C).expect("C votes in both halves");
    c.run();
    assert_eq!(c.status(C).role, RoleKind::Leader);
    assert!(!c.status(C).membership.is_joint(), "its successor left it");
    assert_eq!(c.status(C).membership.voters, [A, C, D].into());
    assert_eq!(c.count("A -> C  t2 Append after 4/2 [5/2 leave joint]"), 0);
}
