//! A cluster of ours.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use raftery_raft::{
    ConfChange, Entry, HardState, Instant, LogId, LogIndex, MemberChange, MemberId, MessageBody,
    Payload, PeerMessage, PeerState, Raft, RaftConfig, Recovered, RoleKind, Term,
};

use crate::{Change, Content, Members, Record, Role, Standing};

const HEARTBEAT: Duration = Duration::from_millis(1);
/// Only what is meant to happen moves a clock, so it never passes by itself.
const ELECTION: Duration = Duration::from_secs(3600);

pub(crate) struct Member {
    raft: Raft,
    now: Instant,
    hard_state: HardState,
    log: Vec<Entry>,
}

pub(crate) struct Ours {
    members: BTreeMap<u64, Member>,
    pub(crate) links: BTreeMap<(u64, u64), VecDeque<PeerMessage>>,
    first: Vec<Entry>,
    /// Whether those who were asked for a vote have heard their leader lately.
    pub(crate) hears: bool,
    /// Whether leaders hear that their term is over.
    pub(crate) tells: bool,
}

impl Ours {
    pub(crate) fn found(ids: &[u64]) -> Self {
        let members = ids.iter().map(|id| (MemberId(*id), Bytes::new())).collect();
        let id = LogId {
            term: Term(1),
            index: LogIndex(1),
        };
        let payload = Payload::ConfChange(ConfChange::Found { members });
        let mut ours = Self {
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            first: vec![Entry { id, payload }],
            hears: false,
            tells: false,
        };
        let hard_state = HardState {
            term: Term(1),
            vote: None,
            commit: LogIndex(1),
        };
        for id in ids {
            ours.start(*id, Instant::default(), hard_state, ours.first.clone());
        }
        ours
    }

    /// A member that knows nothing yet.
    pub(crate) fn join(&mut self, id: u64) {
        self.start(id, Instant::default(), HardState::default(), Vec::new());
    }

    fn start(&mut self, id: u64, now: Instant, hard_state: HardState, log: Vec<Entry>) {
        let config = RaftConfig {
            id: MemberId(id),
            heartbeat_interval: HEARTBEAT,
            election_timeout: ELECTION,
            // raft-rs makes no promises.
            promise_max: Duration::ZERO,
            lease_reads: false,
            seed: id,
        };
        let recovered = Recovered {
            hard_state,
            entries: log.clone(),
            ..Recovered::default()
        };
        let member = Member {
            raft: Raft::new(now, config, recovered),
            now,
            hard_state,
            log,
        };
        self.members.insert(id, member);
        self.settle(id);
    }

    pub(crate) fn restart(&mut self, id: u64) {
        let member = self.members.remove(&id).expect("it exists");
        let mut hard_state = member.hard_state;
        hard_state.commit = member.raft.status().commit;
        self.start(id, member.now, hard_state, member.log);
    }

    pub(crate) fn campaign(&mut self, id: u64) {
        self.with(id, |raft, now| raft.campaign(now));
    }

    /// It hasn't heard its leader for longer than an election timeout.
    fn stop_hearing(&mut self, id: u64) {
        let member = self.members.get_mut(&id).expect("it exists");
        member.now = member.now + ELECTION * 2;
    }

    pub(crate) fn beat(&mut self, id: u64) {
        let member = self.members.get_mut(&id).expect("it exists");
        member.now = member.now + HEARTBEAT;
        self.with(id, |raft, now| raft.tick(now));
    }

    pub(crate) fn propose(&mut self, id: u64, data: u64) -> bool {
        let data = Bytes::copy_from_slice(&data.to_le_bytes());
        self.with(id, |raft, now| {
            raft.propose(now, Payload::Data(data)).is_ok()
        })
    }

    pub(crate) fn change(&mut self, id: u64, change: Change) -> bool {
        let context = Bytes::new();
        let change = match change {
            Change::Add(id) => ConfChange::AddLearner {
                id: MemberId(id),
                context,
            },
            Change::Promote(id) => ConfChange::Promote { id: MemberId(id) },
            Change::Remove(id) => ConfChange::Remove { id: MemberId(id) },
            Change::Swap(one, other) => several(
                promote(one),
                MemberChange::Remove {
                    id: MemberId(other),
                },
            ),
            Change::Demote(one, other) => several(
                promote(one),
                MemberChange::Demote {
                    id: MemberId(other),
                },
            ),
            Change::Both(one, other) => several(promote(one), promote(other)),
            Change::Leave => ConfChange::LeaveJoint,
        };
        self.with(id, |raft, now| {
            raft.propose_conf_change(now, change, None).is_ok()
        })
    }

    pub(crate) fn transfer(&mut self, id: u64, to: u64) {
        self.with(id, |raft, now| {
            // Refused or not: what follows is compared.
            let _ = raft.transfer_leader(now, MemberId(to));
        });
    }

    pub(crate) fn deliver(&mut self, message: PeerMessage) {
        let to = message.to.0;
        let Some(member) = self.members.get(&to) else {
            return;
        };
        let is_answer = matches!(
            message.body,
            MessageBody::HeartbeatResponse { number: 0, .. }
        );
        if is_answer && message.term > member.raft.status().term && !self.tells {
            return;
        }
        let status = member.raft.status();
        if let MessageBody::AppendRejected { rejected, hint } = message.body
            && message.term == status.term
            && let Some(peer) = status.progress.get(&message.from)
            && peer.state == PeerState::Replicate
            && rejected <= peer.matched
            && hint.index < peer.matched
        {
            return;
        }
        let is_leader = matches!(status.role, RoleKind::Leader);
        if matches!(message.body, MessageBody::Vote { .. }) && !self.hears && !is_leader {
            self.stop_hearing(to);
        }
        if matches!(message.body, MessageBody::HeartbeatResponse { .. }) {
            // The last append is old enough to be sent again, which raft-rs does at once.
            let member = self.members.get_mut(&to).expect("it exists");
            member.now = member.now + HEARTBEAT;
        }
        self.with(to, |raft, now| {
            // Refused: from a removed member, which isn't compared.
            let _ = raft.step(now, message);
        });
    }

    fn with<T>(&mut self, id: u64, input: impl FnOnce(&mut Raft, Instant) -> T) -> T {
        let member = self.members.get_mut(&id).expect("it exists");
        let result = input(&mut member.raft, member.now);
        member.raft.check_invariants();
        self.settle(id);
        result
    }

    /// The disk and the state machine are at once done with everything.
    fn settle(&mut self, id: u64) {
        let member = self.members.get_mut(&id).expect("it exists");
        while let Some(ready) = member.raft.take_ready() {
            let mut messages = ready.messages;
            messages.sort_by_key(|message| matches!(message.body, MessageBody::TimeoutNow));
            for message in messages {
                let link = (message.from.0, message.to.0);
                self.links.entry(link).or_default().push_back(message);
            }
            if let Some(batch) = ready.persist {
                member.hard_state = batch.hard_state;
                if let Some(first) = batch.entries.first() {
                    let keep = usize::try_from(first.id.index.0 - 1).expect("a short log");
                    member.log.truncate(keep);
                    member.log.extend(batch.entries);
                }
                member.raft.on_persisted(member.now, batch.seq);
            }
            if let Some(last) = ready.committed.last() {
                member.raft.on_applied(member.now, last.id.index);
            }
            member.raft.check_invariants();
        }
    }

    pub(crate) fn standing(&self, id: u64) -> Standing {
        let member = &self.members[&id];
        let status = member.raft.status();
        Standing {
            term: status.term.0,
            vote: member.hard_state.vote.map_or(0, |id| id.0),
            role: match status.role {
                RoleKind::Learner | RoleKind::Follower => Role::Follower,
                RoleKind::PreCandidate | RoleKind::Candidate => Role::Candidate,
                RoleKind::Leader => Role::Leader,
            },
        }
    }

    pub(crate) fn record(&self, id: u64) -> Record {
        let member = &self.members[&id];
        let content = |entry: &Entry| match &entry.payload {
            Payload::Blank | Payload::ConfChange(ConfChange::Found { .. }) => Content::Blank,
            Payload::Data(data) => Content::Data(u64::from_le_bytes(
                data[..].try_into().expect("eight bytes"),
            )),
            Payload::ConfChange(ConfChange::AddLearner { id, .. }) => {
                Content::Change(Change::Add(id.0))
            }
            Payload::ConfChange(ConfChange::Promote { id }) => {
                Content::Change(Change::Promote(id.0))
            }
            Payload::ConfChange(ConfChange::Remove { id }) => Content::Change(Change::Remove(id.0)),
            Payload::ConfChange(ConfChange::Change { changes }) => {
                Content::Change(change_of(changes))
            }
            Payload::ConfChange(ConfChange::LeaveJoint) => Content::Change(Change::Leave),
        };
        let log = member.log.iter().map(|e| (e.id.term.0, content(e)));
        Record {
            commit: member.raft.status().commit.0,
            members: self.members(id),
            log: log.collect(),
        }
    }

    /// Whether a change of membership waits in its log.
    pub(crate) fn changes_soon(&self, id: u64) -> bool {
        let member = &self.members[&id];
        let commit = member.raft.status().commit;
        let waiting = member.log.iter().filter(|entry| entry.id.index > commit);
        let mut payloads = waiting.map(|entry| &entry.payload);
        payloads.any(|payload| matches!(payload, Payload::ConfChange(_)))
    }

    /// Whether it is handing over leadership.
    pub(crate) fn hands_over(&self, id: u64) -> bool {
        let member = self.members.get(&id);
        member.is_some_and(|member| member.raft.status().transferee.is_some())
    }

    /// The configuration as `id` knows it.
    pub(crate) fn members(&self, id: u64) -> Members {
        let membership = self.members[&id].raft.status().membership;
        let ids = |set: BTreeSet<MemberId>| set.iter().map(|id| id.0).collect();
        Members {
            voters: ids(membership.voters),
            outgoing: ids(membership.outgoing),
            learners: ids(membership.learners),
            learners_next: ids(membership.learners_next),
        }
    }
}

fn promote(id: u64) -> MemberChange {
    MemberChange::Promote { id: MemberId(id) }
}

fn several(one: MemberChange, other: MemberChange) -> ConfChange {
    ConfChange::Change {
        changes: vec![one, other],
    }
}

fn change_of(changes: &[MemberChange]) -> Change {
    let [MemberChange::Promote { id: one }, other] = changes else {
        unreachable!("schedules promote and do something else");
    };
    match other {
        MemberChange::Remove { id } => Change::Swap(one.0, id.0),
        MemberChange::Demote { id } => Change::Demote(one.0, id.0),
        MemberChange::Promote { id } => Change::Both(one.0, id.0),
        MemberChange::AddLearner { .. } => unreachable!("schedules add one at a time"),
    }
}

pub(crate) fn asks_for_vote(message: &PeerMessage) -> bool {
    matches!(message.body, MessageBody::Vote { .. })
}
