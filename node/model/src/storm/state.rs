//! What there is to know about a cluster in a storm.

use crate::{Id, MEMBERS, Set, Term};

/// The last term that is looked at.
pub const TERM_MAX: Term = Term(3);

/// A member. Term, vote and disk survive a restart.
///
/// Invariants: `disk <= log <= term`; nothing is owed to anyone unless for longer than `wait`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Member {
    /// Its term.
    pub term: Term,
    /// Whether it has voted in that term. For whom doesn't matter: nobody asks twice.
    pub has_voted: bool,
    /// What it is.
    pub role: Role,
    /// Term of the last entry of its log.
    pub log: Term,
    /// Term of the last entry of its log that is on its disk.
    pub disk: Term,
    /// For how long its promises go on. That is true whether it remembers or not.
    pub owed: u8,
    /// The term of the leader to whom it promised last.
    pub owed_to: Term,
    /// It has restarted since and doesn't know of what it owes.
    pub has_forgotten: bool,
    /// What is left of the wait after its start.
    pub wait: u8,
}

/// What a member is in its term.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Follows the term's leader, if it knows it.
    Follower {
        /// Whether it does.
        has_leader: bool,
    },
    /// Asks for votes.
    Candidate {
        /// Whether another has granted its vote, which in three makes a majority. The answer may
        /// still be on its way.
        has_majority: bool,
        /// Whether the leader of the term before asked for this election.
        is_asked: bool,
    },
    /// Leads.
    Leader {
        /// The last entry of its log when it was elected, while someone may lead an earlier term.
        base: Term,
        /// Which others have its entry on their disks, until it is committed.
        stored: Set,
        /// Its entry is committed.
        has_committed: bool,
        /// For how long the lease holds: while one other keeps a promise, as the leader counts
        /// itself. No rule looks at it but the one about reads, so of several the longest will do.
        lease: u8,
        /// It told someone to campaign.
        is_given_up: bool,
    },
}

impl Role {
    /// A follower that knows of no leader.
    pub const ALONE: Self = Self::Follower { has_leader: false };
}

/// What was sent in a term.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TermRecord {
    /// Who was elected: its heartbeats and its entry may arrive from then on.
    pub leader: Option<Id>,
    /// Whom it told to campaign.
    pub told: Set,
}

/// Mistakes that a state doesn't show by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Wrong {
    /// Someone was elected in a term that had a leader.
    pub two_leaders: bool,
    /// Someone voted or campaigned that had promised not to.
    pub promise_broken: bool,
    /// A leader lacks a write that was acknowledged in an earlier term.
    pub write_lost: bool,
}

/// A cluster, with what an onlooker knows who sees everything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct State {
    /// By [`Id`].
    pub members: [Member; MEMBERS],
    /// By [`Term`].
    pub terms: [TermRecord; TERM_MAX.0 as usize + 1],
    /// The latest term in which a write was acknowledged to a client.
    pub acknowledged: Term,
    /// What went wrong so far.
    pub wrong: Wrong,
}

impl State {
    /// Member 0 leads the first term; its entry is everywhere.
    #[must_use]
    pub fn in_service() -> Self {
        let term = Term(1);
        let follower = Member {
            term,
            has_voted: true,
            role: Role::Follower { has_leader: true },
            log: term,
            disk: term,
            owed: 0,
            owed_to: Term(0),
            has_forgotten: false,
            wait: 0,
        };
        let leader = Member {
            role: Role::Leader {
                base: Term(0),
                stored: Set::default(),
                has_committed: true,
                lease: 0,
                is_given_up: false,
            },
            ..follower
        };
        let mut terms = [TermRecord::default(); TERM_MAX.0 as usize + 1];
        terms[term.at()].leader = Some(Id(0));
        Self {
            members: [leader, follower, follower],
            terms,
            acknowledged: term,
            wrong: Wrong::default(),
        }
    }

    /// The member.
    #[must_use]
    pub fn of(&self, id: Id) -> &Member {
        &self.members[id.at()]
    }

    pub(super) fn of_mut(&mut self, id: Id) -> &mut Member {
        &mut self.members[id.at()]
    }

    /// Drops what can't matter any more, so that states that behave alike are alike.
    pub(super) fn forget_what_is_over(&mut self) {
        let members = self.members;
        for (term, record) in (0..).map(Term).zip(&mut self.terms) {
            let is_past = |id: Id| members[id.at()].term > term;
            // Who is past the term takes nothing from its leader, nor can it win it.
            if Id::all().all(|id| is_past(id) || record.leader == Some(id)) {
                *record = TermRecord::default();
            }
            for id in Id::all().filter(|id| is_past(*id)) {
                record.told = record.told.without(id);
            }
        }
        for member in &mut self.members {
            // The wait, from which nobody is exempt, covers the promise.
            if member.owed <= member.wait {
                member.owed = 0;
                member.owed_to = Term(0);
                member.has_forgotten = false;
            }
            if let Role::Leader {
                base,
                has_committed,
                stored,
                ..
            } = &mut member.role
            {
                if *has_committed {
                    *stored = Set::default();
                }
                // Nobody can commit anything in an earlier term.
                if members.iter().all(|other| other.term >= member.term) {
                    *base = Term(0);
                }
            }
        }
    }
}
