//! Draws inputs, feeds both clusters and compares them.

use std::collections::BTreeSet;

use fastrand::Rng;

use crate::ours::{self, Ours};
use crate::theirs::{self, Theirs};
use crate::{Change, Members, Role};

/// Delivered before everything under way must have arrived somewhere.
const DELIVERIES_MAX: usize = 10_000;

/// How often what happened.
#[derive(Default, Debug)]
pub(crate) struct Counts {
    elections: u64,
    proposals: u64,
    changes: u64,
    joint: u64,
    transfers: u64,
    restarts: u64,
    dropped: u64,
    doubled: u64,
    reversed: u64,
    compared: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.elections += other.elections;
        self.proposals += other.proposals;
        self.changes += other.changes;
        self.joint += other.joint;
        self.transfers += other.transfers;
        self.restarts += other.restarts;
        self.dropped += other.dropped;
        self.doubled += other.doubled;
        self.reversed += other.reversed;
        self.compared += other.compared;
    }

    pub(crate) fn all_happened(&self) -> bool {
        [
            self.elections,
            self.proposals,
            self.changes,
            self.joint,
            self.transfers,
            self.restarts,
            self.dropped,
            self.doubled,
            self.reversed,
            self.compared,
        ]
        .iter()
        .all(|count| *count > 0)
    }
}

/// What a link does with what is under way on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    InOrder,
    Reversed,
    Twice,
    Dropped,
}

impl Mode {
    fn of<T: Clone>(self, messages: impl DoubleEndedIterator<Item = T>) -> Vec<T> {
        match self {
            Self::InOrder => messages.collect(),
            Self::Reversed => messages.rev().collect(),
            Self::Twice => messages.flat_map(|m| [m.clone(), m]).collect(),
            Self::Dropped => Vec::new(),
        }
    }
}

pub(crate) struct Schedule {
    seed: u64,
    is_told: bool,
    rng: Rng,
    ours: Ours,
    theirs: Theirs,
    members: Vec<u64>,
    /// Named in a change that removes them, committed or not.
    leaving: BTreeSet<u64>,
    /// Named in a change that makes them learners, committed or not.
    demoted: BTreeSet<u64>,
    /// Links that lost or reordered something since everyone agreed.
    lossy: BTreeSet<(u64, u64)>,
    next_member: u64,
    next_data: u64,
    leaders: BTreeSet<(u64, u64)>,
    pub(crate) counts: Counts,
}

impl Schedule {
    pub(crate) fn new(seed: u64, is_told: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let members: Vec<u64> = (1..=rng.u64(2..6)).collect();
        Self {
            seed,
            is_told,
            rng,
            ours: Ours::found(&members),
            theirs: Theirs::found(&members),
            next_member: members.len() as u64 + 1,
            members,
            leaving: BTreeSet::new(),
            demoted: BTreeSet::new(),
            lossy: BTreeSet::new(),
            next_data: 0,
            leaders: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
            self.compare_standings();
        }
        self.compare_records();
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.is_told {
            println!("{what}");
        }
    }

    fn step(&mut self) {
        match self.rng.u8(0..40) {
            0..2 => self.campaign(),
            2..10 => self.propose(),
            10 => self.change(),
            11 => self.transfer(),
            12..15 => self.beat(),
            15 => self.restart(),
            16 => self.compare_records(),
            _ => self.deliver_one(),
        }
    }

    fn leader(&mut self) -> Option<u64> {
        let leads = |id: &&u64| self.ours.standing(**id).role == Role::Leader;
        let leaders: Vec<u64> = self.members.iter().filter(leads).copied().collect();
        self.rng.choice(leaders)
    }

    /// Whether it knows itself as a voter and isn't about to be none, and an election is the same
    /// question for both: while one is behind in sending again what was lost, it isn't.
    fn may_lead(&self, id: u64) -> bool {
        let is_same = |id| {
            let (ours, theirs) = (self.ours.record(id), self.theirs.record(id));
            ours == theirs
        };
        let is_voter = self.ours.members(id).voters.contains(&id);
        is_voter
            && !self.demoted.contains(&id)
            && !self.leaving.contains(&id)
            && self.staying().all(is_same)
    }

    /// Someone campaigns.
    fn campaign(&mut self) {
        let id = self.rng.choice(self.members.clone()).expect("members");
        if !self.may_lead(id) {
            return;
        }
        self.say(format_args!("{id} campaigns"));
        self.ours.campaign(id);
        self.theirs.campaign(id);
    }

    fn propose(&mut self) {
        let Some(id) = self.leader() else {
            return;
        };
        self.next_data += 1;
        let data = self.next_data;
        self.say(format_args!("{id} is to write {data}"));
        let ours = self.ours.propose(id, data);
        assert_eq!(ours, self.theirs.propose(id, data), "SEED={}", self.seed);
        self.counts.proposals += u64::from(ours);
    }

    /// Ours may refuse more, which isn't compared: it wants an entry of its term committed first.
    /// What is committed decides, so both must know the same of it.
    fn change(&mut self) {
        let Some(id) = self.leader() else {
            return;
        };
        if self.ours.record(id).commit != self.theirs.record(id).commit {
            return;
        }
        let Some(change) = self.next_change(id) else {
            return;
        };
        self.say(format_args!("{id} is to change: {change:?}"));
        if !self.ours.change(id, change) {
            return;
        }
        assert!(self.theirs.change(id, change), "SEED={}", self.seed);
        self.counts.changes += 1;
        self.counts.joint += u64::from(matches!(
            change,
            Change::Swap(..) | Change::Demote(..) | Change::Both(..)
        ));
        match change {
            Change::Add(id) => {
                self.next_member += 1;
                self.ours.join(id);
                self.theirs.join(id);
                self.members.push(id);
            }
            Change::Promote(id) => {
                self.demoted.remove(&id);
            }
            Change::Remove(id) => {
                self.leaving.insert(id);
            }
            Change::Swap(one, other) => {
                self.demoted.remove(&one);
                self.leaving.insert(other);
            }
            Change::Demote(one, other) => {
                self.demoted.remove(&one);
                self.demoted.insert(other);
            }
            Change::Both(one, other) => {
                self.demoted.remove(&one);
                self.demoted.remove(&other);
            }
            Change::Leave => {}
        }
    }

    /// What the leader `id` is to change. Nobody loses its vote who might lead soon.
    fn next_change(&mut self, id: u64) -> Option<Change> {
        let Members {
            voters,
            outgoing,
            learners,
            ..
        } = self.ours.members(id);
        if !outgoing.is_empty() {
            return None;
        }
        let is_quiet = self.ours.links.values().all(|link| link.is_empty())
            && self.theirs.links.values().all(|link| link.is_empty());
        let may_go = |other: &u64| *other != id && !self.leads_somewhere(*other);
        let mut may_go: Vec<_> = voters.iter().copied().filter(may_go).collect();
        may_go.retain(|_| is_quiet && voters.len() >= 3);
        let learner = self.rng.choice(&learners).copied();
        let another = learners.iter().copied().find(|id| Some(*id) != learner);
        let leaves = self.rng.choice(may_go);
        let change = match (learner, leaves, another) {
            (None, Some(leaves), _) if voters.len() > 3 => Change::Remove(leaves),
            (None, _, _) => Change::Add(self.next_member),
            (Some(learner), Some(leaves), _) if self.rng.bool() => {
                if self.rng.bool() {
                    Change::Swap(learner, leaves)
                } else {
                    Change::Demote(learner, leaves)
                }
            }
            (Some(learner), _, Some(another)) => Change::Both(learner, another),
            (Some(_), _, None) if self.rng.u8(0..3) == 0 => Change::Add(self.next_member),
            (Some(learner), _, None) => Change::Promote(learner),
        };
        Some(change)
    }

    fn leads_somewhere(&self, id: u64) -> bool {
        self.ours.standing(id).role != Role::Follower
    }

    fn transfer(&mut self) {
        let Some(id) = self.leader() else {
            return;
        };
        let members = self.ours.members(id);
        let to = self.rng.choice(members.voters).expect("it leads voters");
        // A target may lag, but how fast it recovers what was lost isn't compared.
        let is_lossy = self.lossy.contains(&(id, to)) || self.lossy.contains(&(to, id));
        let is_joint = !members.outgoing.is_empty() || self.ours.changes_soon(id);
        if to == id || !self.may_lead(to) || is_lossy || is_joint {
            return;
        }
        self.say(format_args!("{id} hands over to {to}"));
        self.counts.transfers += 1;
        self.ours.transfer(id, to);
        self.theirs.transfer(id, to);
    }

    fn beat(&mut self) {
        if let Some(id) = self.leader() {
            self.say(format_args!("{id} beats"));
            self.ours.beat(id);
            self.theirs.beat(id);
        }
    }

    fn restart(&mut self) {
        let id = self.rng.choice(self.members.clone()).expect("members");
        self.say(format_args!("{id} restarts"));
        self.counts.restarts += 1;
        self.ours.restart(id);
        self.theirs.restart(id);
    }

    fn deliver_one(&mut self) {
        let mode = match self.rng.u8(0..16) {
            0 => Mode::Dropped,
            1 => Mode::Twice,
            2 => Mode::Reversed,
            _ => Mode::InOrder,
        };
        self.deliver(mode);
    }

    /// One link delivers what is under way on it, in both clusters; gives whether there was one.
    fn deliver(&mut self, mode: Mode) -> bool {
        let ours = self.ours.links.iter().filter(|(_, link)| !link.is_empty());
        let theirs = self
            .theirs
            .links
            .iter()
            .filter(|(_, link)| !link.is_empty());
        let links: BTreeSet<_> = ours
            .map(|(l, _)| *l)
            .chain(theirs.map(|(l, _)| *l))
            .collect();
        let Some(link) = self.rng.choice(links) else {
            return false;
        };
        let (from, to) = link;
        let loses = matches!(mode, Mode::Reversed | Mode::Dropped);
        let mode = if loses && (self.ours.hands_over(from) || self.ours.hands_over(to)) {
            Mode::InOrder
        } else {
            mode
        };
        if matches!(mode, Mode::Reversed | Mode::Dropped) {
            self.lossy.insert(link);
        }
        match mode {
            Mode::InOrder => {}
            Mode::Reversed => self.counts.reversed += 1,
            Mode::Twice => self.counts.doubled += 1,
            Mode::Dropped => self.counts.dropped += 1,
        }
        let ours = self.ours.links.remove(&link).unwrap_or_default();
        let theirs = self.theirs.links.remove(&link).unwrap_or_default();
        self.say(format_args!(
            "{link:?} delivers {mode:?}:\n  {ours:?}\n  {theirs:?}"
        ));
        let leaves = self.leaving.contains(&to);
        for message in mode.of(ours.into_iter()) {
            if !(leaves && ours::asks_for_vote(&message)) {
                self.ours.deliver(message);
            }
        }
        for message in mode.of(theirs.into_iter()) {
            if !(leaves && theirs::asks_for_vote(&message)) {
                self.theirs.deliver(message);
            }
        }
        true
    }

    fn deliver_all(&mut self) {
        for _ in 0..DELIVERIES_MAX {
            if !self.deliver(Mode::InOrder) {
                return;
            }
            self.compare_standings();
        }
        panic!("messages without end, SEED={}", self.seed);
    }

    /// Members that no change removes.
    fn staying(&self) -> impl Iterator<Item = u64> + '_ {
        let stays = |id: &&u64| !self.leaving.contains(id);
        self.members.iter().filter(stays).copied()
    }

    fn compare_standings(&mut self) {
        for id in self.staying().collect::<Vec<_>>() {
            let (ours, theirs) = (self.ours.standing(id), self.theirs.standing(id));
            assert_eq!(ours, theirs, "member {id}, SEED={}", self.seed);
            if ours.role == Role::Leader && self.leaders.insert((ours.term, id)) {
                self.counts.elections += 1;
            }
        }
    }

    /// Everything under way arrives, a leader beats until what was lost is sent again, and logs and
    /// commit indexes are the same.
    fn compare_records(&mut self) {
        self.deliver_all();
        let leads = |id: &u64| self.ours.standing(*id).role == Role::Leader;
        let leaders = self.members.iter().copied().filter(leads);
        let Some(leader) = leaders.max_by_key(|id| self.ours.standing(*id).term) else {
            return;
        };
        (self.ours.tells, self.theirs.tells) = (true, true);
        for _ in 0..4 {
            self.ours.beat(leader);
            self.theirs.beat(leader);
            self.deliver_all();
        }
        (self.ours.tells, self.theirs.tells) = (false, false);
        if self.ours.standing(leader).role != Role::Leader {
            return; // a candidate's term was higher
        }
        for id in self.staying() {
            let (ours, theirs) = (self.ours.record(id), self.theirs.record(id));
            assert_eq!(ours, theirs, "member {id}, SEED={}", self.seed);
        }
        self.lossy.clear();
        self.counts.compared += 1;
        if self.rng.u8(0..4) == 0 {
            self.disturb();
        }
    }

    /// Everyone has just heard the leader: whoever campaigns now isn't listened to.
    fn disturb(&mut self) {
        (self.ours.hears, self.theirs.hears) = (true, true);
        self.campaign();
        self.deliver_all();
        (self.ours.hears, self.theirs.hears) = (false, false);
    }
}
