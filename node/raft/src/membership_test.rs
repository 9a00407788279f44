use bytes::Bytes;

use super::*;

fn founded() -> Membership {
    founded_by(2)
}

fn founded_by(founders: u64) -> Membership {
    let mut membership = Membership::default();
    let members = (1..=founders).map(|id| (MemberId(id), Bytes::new()));
    let members = members.collect();
    membership.activate(LogIndex(1), &ConfChange::Found { members });
    membership
}

#[test]
fn a_member_is_added_promoted_removed_and_never_comes_back() {
    let mut m = founded();
    let id = MemberId(3);
    let add = ConfChange::AddLearner {
        id,
        context: Bytes::new(),
    };
    let promote = ConfChange::Promote { id };
    let remove = ConfChange::Remove { id };
    assert_eq!(m.check(&promote), Err(ConfChangeError::NotMember(id)));
    assert_eq!(m.check(&remove), Err(ConfChangeError::NotMember(id)));
    assert_eq!(m.check(&add), Ok(()));
    m.activate(LogIndex(5), &add);
    assert!(m.learners.contains(&id) && !m.is_voter(id));
    assert_eq!(m.check(&add), Err(ConfChangeError::AlreadyMember(id)));
    assert_eq!(m.check(&promote), Ok(()));
    m.activate(LogIndex(6), &promote);
    assert!(m.is_voter(id));
    assert_eq!(m.check(&promote), Err(ConfChangeError::NotLearner(id)));
    m.activate(LogIndex(7), &remove);
    assert!(!m.contains(id));
    assert_eq!(m.index, LogIndex(7));
    assert_eq!(m.check(&add), Err(ConfChangeError::WasRemoved(id)));
    m.check_invariants();
}

#[test]
fn the_last_voter_stays_and_a_log_is_founded_once() {
    let mut m = founded();
    m.activate(LogIndex(2), &ConfChange::Remove { id: MemberId(2) });
    let last = MemberId(1);
    assert_eq!(
        m.check(&ConfChange::Remove { id: last }),
        Err(ConfChangeError::LastVoter(last))
    );
    assert_eq!(
        m.check(&ConfChange::Found { members: vec![] }),
        Err(ConfChangeError::AlreadyFounded)
    );
}

fn several(changes: Vec<MemberChange>) -> ConfChange {
    ConfChange::Change { changes }
}

fn added(id: u64) -> MemberChange {
    MemberChange::AddLearner {
        id: MemberId(id),
        context: Bytes::new(),
    }
}

fn promoted(id: u64) -> MemberChange {
    MemberChange::Promote { id: MemberId(id) }
}

fn demoted(id: u64) -> MemberChange {
    MemberChange::Demote { id: MemberId(id) }
}

fn removed(id: u64) -> MemberChange {
    MemberChange::Remove { id: MemberId(id) }
}

#[test]
fn changes_of_several_voters_are_joint_until_the_old_half_is_left() {
    let mut m = founded_by(5);
    m.activate(LogIndex(2), &several(vec![added(6), added(7), added(8)]));
    assert!(!m.is_joint(), "learners count nowhere");
    let change = several(vec![
        promoted(6),
        removed(1),
        demoted(2),
        removed(7),
        added(9),
    ]);
    assert_eq!(m.check(&change), Ok(()));
    m.activate(LogIndex(3), &change);
    m.check_invariants();
    let ids = |ids: &[u64]| -> BTreeSet<_> { ids.iter().map(|id| MemberId(*id)).collect() };
    assert_eq!(m.voters, ids(&[3, 4, 5, 6]));
    assert_eq!(m.outgoing, ids(&[1, 2, 3, 4, 5]));
    assert_eq!((&m.learners, &m.learners_next), (&ids(&[8, 9]), &ids(&[2])));
    assert_eq!(m.removed, ids(&[7]), "1 votes in the old half");
    let all = ids(&[1, 2, 3, 4, 5, 6, 8, 9]);
    assert_eq!(m.members().collect::<BTreeSet<_>>(), all);
    assert_eq!(
        m.check(&several(vec![added(10)])),
        Err(ConfChangeError::Joint)
    );
    assert_eq!(
        m.check(&ConfChange::Remove { id: MemberId(8) }),
        Err(ConfChangeError::Joint)
    );
    assert_eq!(m.check(&ConfChange::LeaveJoint), Ok(()));
    m.activate(LogIndex(4), &ConfChange::LeaveJoint);
    m.check_invariants();
    assert!(!m.is_joint());
    assert_eq!(m.voters, ids(&[3, 4, 5, 6]));
    assert_eq!(m.learners, ids(&[2, 8, 9]));
    assert_eq!(m.removed, ids(&[1, 7]));
    assert_eq!(
        m.check(&ConfChange::LeaveJoint),
        Err(ConfChangeError::NotJoint)
    );
}

#[test]
fn a_change_of_one_voter_is_not_joint() {
    let mut m = founded();
    m.activate(LogIndex(2), &several(vec![demoted(2), added(3)]));
    m.check_invariants();
    assert!(!m.is_joint());
    assert_eq!(m.learners, [MemberId(2), MemberId(3)].into());
}

#[test]
fn several_changes_that_make_no_sense_are_refused() {
    let mut m = founded();
    m.activate(LogIndex(2), &several(vec![added(3)]));
    m.activate(LogIndex(3), &ConfChange::Remove { id: MemberId(3) });
    m.activate(LogIndex(4), &several(vec![added(4)]));
    let id = MemberId;
    for (changes, error) in [
        (vec![], ConfChangeError::Empty),
        (vec![added(5), added(5)], ConfChangeError::Duplicate(id(5))),
        (
            vec![added(5), promoted(5)],
            ConfChangeError::Duplicate(id(5)),
        ),
        (vec![added(3)], ConfChangeError::WasRemoved(id(3))),
        (vec![added(1)], ConfChangeError::AlreadyMember(id(1))),
        (vec![promoted(1)], ConfChangeError::NotLearner(id(1))),
        (vec![promoted(9)], ConfChangeError::NotMember(id(9))),
        (vec![demoted(4)], ConfChangeError::NotVoter(id(4))),
        (vec![removed(9)], ConfChangeError::NotMember(id(9))),
        (vec![removed(1), demoted(2)], ConfChangeError::NoVoterLeft),
    ] {
        assert_eq!(m.check(&several(changes)), Err(error));
    }
}

#[test]
fn at_most_a_minority_of_the_voters_loses_its_vote_in_a_joint_change() {
    let with_learners = |founders| {
        let mut m = founded_by(founders);
        m.activate(LogIndex(2), &several(vec![added(8), added(9)]));
        m
    };
    let refused = |lose, voters| Err(ConfChangeError::TooManyLoseVote { lose, voters });
    for (founders, changes, verdict) in [
        (1, vec![removed(1), promoted(8)], refused(1, 1)),
        (1, vec![promoted(8), promoted(9)], Ok(())),
        (2, vec![demoted(1), promoted(8)], refused(1, 2)),
        (2, vec![demoted(1), added(7)], Ok(())), // one voter changes: not joint
        (3, vec![removed(1), promoted(8), promoted(9)], Ok(())),
        (3, vec![removed(1), demoted(2), promoted(8)], refused(2, 3)),
        (4, vec![removed(1), promoted(8)], Ok(())),
        (4, vec![removed(1), removed(2)], refused(2, 4)),
        (5, vec![removed(1), demoted(2), promoted(8)], Ok(())),
        (5, vec![removed(1), removed(2), demoted(3)], refused(3, 5)),
    ] {
        let m = with_learners(founders);
        assert_eq!(m.check(&several(changes.clone())), verdict, "{changes:?}");
    }
}
