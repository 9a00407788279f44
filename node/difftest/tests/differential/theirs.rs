//! A cluster of raft-rs.

use std::collections::{BTreeMap, VecDeque};

use protobuf::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType, HardState, Message,
    MessageType,
};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole, Storage};

use crate::{Change, Content, Members, Record, Role, Standing};

/// Ticks; none ever come.
const ELECTION: usize = 1000;

pub(crate) struct Theirs {
    members: BTreeMap<u64, RawNode<MemStorage>>,
    pub(crate) links: BTreeMap<(u64, u64), VecDeque<Message>>,
    founders: Vec<u64>,
    /// Whether those who were asked for a vote have heard their leader lately.
    pub(crate) hears: bool,
    /// Whether leaders hear that their term is over.
    pub(crate) tells: bool,
}

impl Theirs {
    pub(crate) fn found(ids: &[u64]) -> Self {
        let mut theirs = Self {
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            founders: ids.to_vec(),
            hears: false,
            tells: false,
        };
        for id in ids {
            let store = theirs.store();
            let first = Entry {
                term: 1,
                index: 1,
                ..Entry::default()
            };
            store.wl().append(&[first]).expect("it follows");
            let hard_state = HardState {
                term: 1,
                vote: 0,
                commit: 1,
            };
            store.wl().set_hardstate(hard_state);
            theirs.start(*id, store, 1);
        }
        theirs
    }

    /// A member that knows nothing but the founders.
    pub(crate) fn join(&mut self, id: u64) {
        let store = self.store();
        self.start(id, store, 0);
    }

    fn store(&self) -> MemStorage {
        MemStorage::new_with_conf_state((self.founders.clone(), Vec::new()))
    }

    fn start(&mut self, id: u64, store: MemStorage, applied: u64) {
        let config = Config {
            id,
            election_tick: ELECTION,
            heartbeat_tick: 1,
            applied,
            max_size_per_msg: 1 << 20,
            check_quorum: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, store, &logger).expect("a good store");
        self.members.insert(id, node);
        self.settle(id);
    }

    pub(crate) fn restart(&mut self, id: u64) {
        let node = self.members.remove(&id).expect("it exists");
        let applied = node.raft.raft_log.applied;
        self.start(id, node.store().clone(), applied);
    }

    pub(crate) fn campaign(&mut self, id: u64) {
        self.with(id, |node| node.campaign().expect("it is a voter"));
    }

    pub(crate) fn beat(&mut self, id: u64) {
        self.with(id, RawNode::ping);
    }

    pub(crate) fn propose(&mut self, id: u64, data: u64) -> bool {
        self.with(id, |node| {
            node.propose(Vec::new(), data.to_le_bytes().to_vec())
                .is_ok()
        })
    }

    pub(crate) fn change(&mut self, id: u64, change: Change) -> bool {
        use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
        let changes = match change {
            Change::Add(id) => vec![(AddLearnerNode, id)],
            Change::Promote(id) => vec![(AddNode, id)],
            Change::Remove(id) => vec![(RemoveNode, id)],
            Change::Swap(one, other) => vec![(AddNode, one), (RemoveNode, other)],
            Change::Demote(one, other) => vec![(AddNode, one), (AddLearnerNode, other)],
            Change::Both(one, other) => vec![(AddNode, one), (AddNode, other)],
            Change::Leave => Vec::new(),
        };
        let single = |(kind, node_id)| {
            let mut change = ConfChangeSingle {
                node_id,
                ..ConfChangeSingle::default()
            };
            change.set_change_type(kind);
            change
        };
        let change = ConfChangeV2 {
            changes: changes.into_iter().map(single).collect(),
            ..ConfChangeV2::default()
        };
        self.with(id, |node| {
            node.propose_conf_change(Vec::new(), change).is_ok()
        })
    }

    pub(crate) fn transfer(&mut self, id: u64, to: u64) {
        let under_way = |theirs: &Self| theirs.links.get(&(id, to)).map_or(0, VecDeque::len);
        let before = under_way(self);
        self.with(id, |node| node.transfer_leader(to));
        let is_new = under_way(self) > before;
        // It asks a lagging target at once whether something was lost; ours with the next beat.
        let is_probe = |message: &Message| {
            message.msg_type() == MessageType::MsgAppend && message.entries.is_empty()
        };
        if let Some(link) = self.links.get_mut(&(id, to))
            && is_new
            && link.back().is_some_and(is_probe)
        {
            link.pop_back();
        }
    }

    pub(crate) fn deliver(&mut self, mut message: Message) {
        let to = message.to;
        let Some(node) = self.members.get(&to) else {
            return;
        };
        let is_answer = message.msg_type() == MessageType::MsgAppendResponse && message.index == 0;
        if is_answer && message.term > node.raft.term && !self.tells {
            return;
        }
        if matches!(
            message.msg_type(),
            MessageType::MsgRequestVote | MessageType::MsgRequestVoteResponse
        ) {
            message.commit = 0;
            message.commit_term = 0;
        }
        // It doesn't look at entries that follow one below its commit index; ours does.
        let commit = node.raft.raft_log.committed;
        let place = usize::try_from(commit.saturating_sub(message.index)).expect("a short log");
        if message.msg_type() == MessageType::MsgAppend
            && message.index < commit
            && let Some(before) = message.entries.get(place - 1)
        {
            (message.index, message.log_term) = (before.index, before.term);
            message.entries = message.entries.split_off(place);
        }
        let asks = message.msg_type() == MessageType::MsgRequestVote;
        let hears = self.hears;
        self.with(to, |node| {
            if asks && !hears && node.raft.state != StateRole::Leader {
                node.raft.election_elapsed = ELECTION;
            }
            // Refused: from a removed member, which isn't compared.
            let _ = node.step(message);
        });
    }

    fn with<T>(&mut self, id: u64, input: impl FnOnce(&mut RawNode<MemStorage>) -> T) -> T {
        let node = self.members.get_mut(&id).expect("it exists");
        let result = input(node);
        self.settle(id);
        result
    }

    /// The disk and the state machine are at once done with everything.
    fn settle(&mut self, id: u64) {
        let node = self.members.get_mut(&id).expect("it exists");
        while node.has_ready() {
            let mut ready = node.ready();
            let mut messages = ready.take_messages();
            let store = node.store().clone();
            store.wl().append(ready.entries()).expect("it follows");
            if let Some(hard_state) = ready.hs() {
                store.wl().set_hardstate(hard_state.clone());
            }
            messages.extend(ready.take_persisted_messages());
            let mut committed = ready.take_committed_entries();
            let mut light = node.advance_append(ready);
            if let Some(commit) = light.commit_index() {
                store.wl().mut_hard_state().commit = commit;
            }
            messages.extend(light.take_messages());
            committed.extend(light.take_committed_entries());
            for entry in &committed {
                if let Some(change) = conf_change(entry) {
                    let state = node.apply_conf_change(&change).expect("it makes sense");
                    store.wl().set_conf_state(state);
                }
                node.advance_apply_to(entry.index);
            }
            for message in messages {
                let link = (id, message.to);
                self.links.entry(link).or_default().push_back(message);
            }
        }
    }

    pub(crate) fn standing(&self, id: u64) -> Standing {
        let raft = &self.members[&id].raft;
        Standing {
            term: raft.term,
            vote: raft.vote,
            role: match raft.state {
                StateRole::Follower => Role::Follower,
                StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
                StateRole::Leader => Role::Leader,
            },
        }
    }

    pub(crate) fn record(&self, id: u64) -> Record {
        let node = &self.members[&id];
        let last = node.store().last_index().expect("in memory");
        let context = raft::GetEntriesContext::empty(false);
        let log = if last == 0 {
            Vec::new()
        } else {
            let entries = node.store().entries(1, last + 1, None, context);
            entries.expect("in memory")
        };
        let state = node.raft.prs().conf().to_conf_state();
        let members = Members {
            voters: state.voters.into_iter().collect(),
            outgoing: state.voters_outgoing.into_iter().collect(),
            learners: state.learners.into_iter().collect(),
            learners_next: state.learners_next.into_iter().collect(),
        };
        let commit = node.raft.raft_log.committed;
        Record {
            commit,
            // Who joins is told the founders; ours isn't.
            members: if commit > 0 {
                members
            } else {
                Members::default()
            },
            log: log.iter().map(|e| (e.term, content(e))).collect(),
        }
    }
}

fn conf_change(entry: &Entry) -> Option<ConfChangeV2> {
    if entry.entry_type() != EntryType::EntryConfChangeV2 {
        return None;
    }
    let mut change = ConfChangeV2::default();
    let read = change.merge_from_bytes(&entry.data);
    read.expect("it was encoded");
    Some(change)
}

fn content(entry: &Entry) -> Content {
    if let Some(change) = conf_change(entry) {
        return Content::Change(change_of(&change));
    }
    match entry.data[..].try_into() {
        Ok(data) => Content::Data(u64::from_le_bytes(data)),
        Err(_) => Content::Blank,
    }
}

fn change_of(change: &ConfChangeV2) -> Change {
    use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
    let kind = |change: &ConfChangeSingle| (change.change_type(), change.node_id);
    match change.changes.iter().map(kind).collect::<Vec<_>>()[..] {
        [] => Change::Leave,
        [(AddLearnerNode, id)] => Change::Add(id),
        [(AddNode, id)] => Change::Promote(id),
        [(RemoveNode, id)] => Change::Remove(id),
        [(_, one), (RemoveNode, other)] => Change::Swap(one, other),
        [(_, one), (AddLearnerNode, other)] => Change::Demote(one, other),
        [(_, one), (AddNode, other)] => Change::Both(one, other),
        [_, _, _, ..] => unreachable!("schedules change two at most"),
    }
}

pub(crate) fn asks_for_vote(message: &Message) -> bool {
    message.msg_type() == MessageType::MsgRequestVote
}
