use bytes::Bytes;

use super::*;

fn founded() -> Membership {
    let mut membership = Membership::default();
    let members = [1, 2].map(|id| (MemberId(id), Bytes::new())).to_vec();
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
    let mut m = founded();
    m.activate(LogIndex(2), &several(vec![added(3), added(4), added(5)]));
    assert!(!m.is_joint(), "learners count nowhere");
    let change = several(vec![
        promoted(3),
        removed(1),
        demoted(2),
        removed(4),
        added(6),
    ]);
    assert_eq!(m.check(&change), Ok(()));
    m.activate(LogIndex(3), &change);
    m.check_invariants();
    let ids = |ids: &[u64]| -> BTreeSet<_> { ids.iter().map(|id| MemberId(*id)).collect() };
    assert_eq!((&m.voters, &m.outgoing), (&ids(&[3]), &ids(&[1, 2])));
    assert_eq!((&m.learners, &m.learners_next), (&ids(&[5, 6]), &ids(&[2])));
    assert_eq!(m.removed, ids(&[4]), "1 votes in the old half");
    assert_eq!(m.members().collect::<BTreeSet<_>>(), ids(&[1, 2, 3, 5, 6]));
    assert_eq!(
        m.check(&several(vec![added(7)])),
        Err(ConfChangeError::Joint)
    );
    assert_eq!(
        m.check(&ConfChange::Remove { id: MemberId(5) }),
        Err(ConfChangeError::Joint)
    );
    assert_eq!(m.check(&ConfChange::LeaveJoint), Ok(()));
    m.activate(LogIndex(4), &ConfChange::LeaveJoint);
    m.check_invariants();
    assert!(!m.is_joint());
    assert_eq!((&m.voters, &m.learners), (&ids(&[3]), &ids(&[2, 5, 6])));
    assert_eq!(m.removed, ids(&[1, 4]));
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
    let swap = several(vec![removed(1), removed(2), promoted(4)]);
    assert_eq!(m.check(&swap), Ok(()));
}
