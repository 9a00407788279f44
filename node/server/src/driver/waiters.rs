//! Who waits for an entry or for a read.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use raftery_raft::{Entry, Instant, LogId, LogIndex, MemberId, Payload, ReadId};
use tokio::sync::oneshot;

use crate::apply::{Committed, Reply};
use crate::command::{self, Waiter};
use crate::error::RequestError;

/// Clients that wait for their entries: those of commands by their number, wherever the leader
/// is; those of changes of membership by where the entry stands.
#[derive(Debug, Default)]
pub(super) struct EntryWaiters {
    commands: HashMap<u64, Reply>,
    changes: BTreeMap<LogIndex, (LogId, Reply)>,
}

impl EntryWaiters {
    /// A client of this node waits for a command.
    pub(super) fn wait_for_command(&mut self, request: u64, reply: Reply) {
        self.commands.insert(request, reply);
    }

    /// A client of this node waits for a change of membership.
    pub(super) fn wait_for_change(&mut self, id: LogId, reply: Reply) {
        self.changes.insert(id.index, (id, reply));
    }

    /// Pairs a committed entry with its waiter.
    pub(super) fn pair(&mut self, me: MemberId, entry: Entry) -> Committed {
        let reply = match &entry.payload {
            Payload::Blank => None,
            Payload::Data(data) => match command::waiter(data) {
                Ok(Waiter { origin, request }) if origin == me => self.commands.remove(&request),
                // Another member's, or unreadable: apply says so and ends the process.
                Ok(_) | Err(_) => None,
            },
            Payload::ConfChange(_) => None,
        };
        let change = self
            .changes
            .remove(&entry.id.index)
            .and_then(|(id, reply)| {
                if id == entry.id {
                    return Some(reply);
                }
                // Another leader's entry took the place.
                let _ = reply.send(Err(RequestError::LeaderChanged));
                None
            });
        Committed {
            entry,
            reply: reply.or(change),
        }
    }

    /// The leader didn't append this command.
    pub(super) fn refuse(&mut self, request: u64, error: &RequestError) {
        if let Some(reply) = self.commands.remove(&request) {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// The leader changed: what waits may be lost, and its clients had better ask again.
    pub(super) fn fail_all(&mut self, error: &RequestError) {
        let changes = std::mem::take(&mut self.changes)
            .into_values()
            .map(|(_, reply)| reply);
        for reply in self.commands.drain().map(|(_, reply)| reply).chain(changes) {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// Forgets clients that gave up.
    pub(super) fn forget_gone(&mut self) {
        self.commands.retain(|_, reply| !reply.is_closed());
        self.changes.retain(|_, (_, reply)| !reply.is_closed());
    }
}

/// How a reader is told that it may read.
pub(super) type ReadReply = oneshot::Sender<()>;

/// Clients that wait for a linearizable read, from asking to "applied has reached it".
#[derive(Debug, Default)]
pub(super) struct Readers {
    next_id: u64,
    /// Not asked for yet: one round serves all that came since the last.
    unasked: Vec<ReadReply>,
    asked: HashMap<ReadId, (Instant, Vec<ReadReply>)>,
    confirmed: BTreeMap<LogIndex, Vec<ReadReply>>,
}

impl Readers {
    /// A client wants to read.
    pub(super) fn add(&mut self, reply: ReadReply) {
        self.unasked.push(reply);
    }

    /// Whether a round should be asked for.
    #[must_use]
    pub(super) fn wants_round(&self) -> bool {
        !self.unasked.is_empty()
    }

    /// The ID for the next round.
    pub(super) fn next_round(&mut self) -> ReadId {
        self.next_id += 1;
        ReadId(self.next_id)
    }

    /// The round `id` was asked for.
    pub(super) fn asked(&mut self, now: Instant, id: ReadId) {
        self.asked
            .insert(id, (now, std::mem::take(&mut self.unasked)));
    }

    /// The round `id` may be served once applied reaches `index`.
    pub(super) fn confirmed(&mut self, id: ReadId, index: LogIndex) {
        if let Some((_, replies)) = self.asked.remove(&id) {
            self.confirmed.entry(index).or_default().extend(replies);
        }
    }

    /// Tells everyone whose index is applied.
    pub(super) fn applied(&mut self, applied: LogIndex) {
        let still = self.confirmed.split_off(&applied.next());
        for reply in std::mem::replace(&mut self.confirmed, still)
            .into_values()
            .flatten()
        {
            let _ = reply.send(());
        }
    }

    /// Rounds without an answer for `patience` are asked for again: the question or the answer
    /// was lost, or the leader changed.
    pub(super) fn retry(&mut self, now: Instant, patience: Duration) {
        let lost = self
            .asked
            .extract_if(|_, (since, _)| now.since(*since) >= patience);
        let lost: Vec<_> = lost.flat_map(|(_, (_, replies))| replies).collect();
        self.unasked.extend(lost);
        self.unasked.retain(|reply| !reply.is_closed());
    }
}
