//! Stories of members that come and go.

use bytes::Bytes;
use raftery_raft::{
    ConfChange, ConfChangeError, LogIndex, MemberId, MessageBody, ProposeError, Recovered,
    RoleKind, StepError, Term,
};

use crate::cluster::{A, B, C, Cluster, D, ELECTION};
use crate::member::message;

fn add(id: MemberId) -> ConfChange {
    ConfChange::AddLearner {
        id,
        context: Bytes::new(),
    }
}

#[test]
fn a_learner_never_campaigns_or_counts_until_it_is_promoted() {
    let title = "A member joins as learner, catches up, is promoted and counts from then on.";
    let mut c = Cluster::new(title, &[A, B]);
    c.run();
    c.elect(A);
    c.propose(A, "x=1");
    c.say("C is added and not there yet: too far behind to be promoted.");
    c.change(A, add(C)).expect("C is new");
    c.run();
    let behind = ProposeError::InvalidConfChange(ConfChangeError::NotCaughtUp(C));
    assert_eq!(c.change(A, ConfChange::Promote { id: C }), Err(behind));
    c.say("C starts with an empty disk and is brought up to date.");
    c.start(C, Recovered::default());
    c.fire(A);
    assert_eq!(
        (c.status(C).role, c.status(C).commit),
        (RoleKind::Learner, LogIndex(4))
    );

    c.say("With B away the learner's acknowledgement commits nothing.");
    c.isolate(B);
    c.propose(A, "x=2");
    assert_eq!(c.status(C).last_index, LogIndex(5));
    assert_eq!(c.status(A).commit, LogIndex(4));
    c.say("Without a leader it doesn't campaign, and its votes don't count.");
    c.isolate(A);
    c.fire(C);
    c.fire(C);
    assert_eq!(
        (c.status(C).role, c.status(C).term),
        (RoleKind::Learner, Term(2))
    );
    c.pass(ELECTION);
    c.tick(A);
    c.fire(A);
    assert_eq!(c.status(A).role, RoleKind::PreCandidate);
    c.step(message(
        C,
        A,
        3,
        MessageBody::PreVoteResponse { granted: true },
    ))
    .expect("well formed");
    assert_eq!(c.status(A).role, RoleKind::PreCandidate);
    assert_eq!(c.count("-> C  t3 PreVote"), 0);

    c.say("All is well again; C is promoted.");
    c.heal();
    c.pass(ELECTION);
    c.fire(A);
    assert_eq!(c.status(A).role, RoleKind::Leader);
    c.fire(A);
    c.change(A, ConfChange::Promote { id: C })
        .expect("caught up");
    c.run();
    assert_eq!(c.status(C).role, RoleKind::Follower);
    c.say("Now A and C are a majority.");
    c.isolate(B);
    c.propose(A, "x=3");
    assert_eq!(c.status(A).commit, c.status(A).last_index);
    c.tell("learner");
}

#[test]
fn a_removed_leader_steps_down_once_its_removal_is_committed() {
    let title = "A leader removes itself: it leads until that is committed, then steps down.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.change(A, ConfChange::Remove { id: A })
        .expect("others remain");
    assert_eq!(c.status(A).role, RoleKind::Leader);
    c.run();
    assert_eq!(
        (c.status(A).role, c.status(A).leader),
        (RoleKind::Learner, None)
    );
    for id in [B, C] {
        assert_eq!(c.status(id).membership.voters, [B, C].into());
    }
    c.say("It never campaigns again, and its messages are refused with the reason.");
    c.pass(ELECTION);
    c.pass(ELECTION);
    c.fire(A);
    assert_eq!(c.status(A).role, RoleKind::Learner);
    let ask = MessageBody::PreVote {
        last: raftery_raft::LogId::default(),
    };
    assert_eq!(
        c.step(message(A, B, 9, ask)),
        Err(StepError::Removed { from: A })
    );
    c.say("B and C go on.");
    c.fire(B);
    assert_eq!(c.status(B).role, RoleKind::Leader);
    c.propose(B, "x=1");
    assert_eq!(c.status(C).commit, c.status(B).last_index);
    let back = ProposeError::InvalidConfChange(ConfChangeError::WasRemoved(A));
    assert_eq!(c.change(B, add(A)), Err(back));
    c.tell("removed_leader");
}

#[test]
fn a_removed_follower_learns_of_it() {
    let title = "A follower is removed: the last append tells it so.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    c.elect(A);
    c.change(A, ConfChange::Remove { id: C })
        .expect("others remain");
    c.run();
    c.fire(A);
    assert_eq!(c.status(C).role, RoleKind::Learner);
    assert!(c.status(C).membership.removed.contains(&C));
    assert_eq!(c.count("-> C  t2 Heartbeat"), 0);
    c.tell("removed_follower");
}

#[test]
fn one_change_at_a_time_and_none_before_the_own_term_has_committed() {
    let title = "Changes of membership: one at a time, and a new leader first commits an entry.";
    let mut c = Cluster::new(title, &[A, B, C]);
    c.run();
    for id in [B, C] {
        c.hold_syncs(id);
    }
    c.fire(A);
    c.sync(B);
    c.flush(B);
    c.run();
    assert_eq!(c.status(A).role, RoleKind::Leader);
    assert_eq!(
        c.change(A, add(D)),
        Err(ProposeError::NothingCommittedInTerm)
    );
    c.sync(B);
    c.flush(B);
    c.run();
    c.change(A, add(D)).expect("committed now");
    c.run();
    let index = LogIndex(3);
    let pending = Err(ProposeError::ConfChangePending { index });
    assert_eq!(c.change(A, ConfChange::Remove { id: C }), pending);
    assert_eq!(c.status(A).membership.index, LogIndex(1));
    c.say("Only when it is committed is it active, and the next may follow.");
    c.sync(B);
    c.flush(B);
    c.run();
    assert_eq!(c.status(A).membership.index, index);
    c.change(A, ConfChange::Remove { id: C })
        .expect("nothing is pending");
    c.tell("one_change_at_a_time");
}
