//! The replicated state: a function of the log alone. No clock, no randomness.

use std::time::Duration;

use raftery_ledger::Ledger;
use raftery_raft::{ConfChange, Entry, LogIndex, MemberId, Payload};
use raftery_store::Store;

use crate::command::{self, Command, CommandError, Outcome};
use crate::error::MembershipError;
use crate::members::{MemberRecord, Members};

/// Unit of judging until the cluster is configured otherwise.
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(1);

/// What all members share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Clients are served.
    pub is_open: bool,
    /// Unit of judging.
    pub window: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            is_open: false,
            window: WINDOW_DEFAULT,
        }
    }
}

/// Everything that entries change.
#[derive(Debug)]
pub struct State {
    /// Keys and values.
    pub store: Store,
    /// Records of the present members.
    pub members: Members,
    /// Verdicts and intervals.
    pub ledger: Ledger,
    /// What all members share.
    pub settings: Settings,
    /// Last applied index.
    pub applied: LogIndex,
}

impl Default for State {
    fn default() -> Self {
        Self {
            store: Store::new(),
            members: Members::new(),
            ledger: Ledger::default(),
            settings: Settings::default(),
            applied: LogIndex(0),
        }
    }
}

impl State {
    /// Applies the next entry.
    ///
    /// # Errors
    /// When the entry can't be understood: the process must end, since skipping it would make
    /// this member differ from the others.
    pub fn apply(&mut self, entry: &Entry) -> Result<Outcome, CommandError> {
        let outcome = match &entry.payload {
            Payload::Blank => Outcome::Done,
            Payload::Data(data) => self.command(entry, command::decode(data)?),
            Payload::ConfChange(change) => {
                self.conf_change(change)?;
                Outcome::Membership
            }
        };
        self.applied = entry.id.index;
        Ok(outcome)
    }

    fn command(&mut self, entry: &Entry, command: Command) -> Outcome {
        match command {
            Command::Write(op) => return Outcome::Write(self.store.apply(&op)),
            Command::Open => self.settings.is_open = true,
            Command::SetWindow { window_ms } => {
                self.settings.window = Duration::from_millis(window_ms);
            }
            Command::Bind {
                incarnation,
                peer_urls,
            } => {
                return Outcome::Bound(self.bind(incarnation, &peer_urls));
            }
            Command::Publish {
                id,
                name,
                client_urls,
            } => {
                if let Some(record) = self.members.get_mut(&MemberId(id)) {
                    record.name = name;
                    record.client_urls = client_urls;
                }
            }
            Command::UpdateMember { id, peer_urls } => {
                return Outcome::Updated(self.update(MemberId(id), peer_urls));
            }
            Command::Ledger(batch) => {
                self.ledger
                    .apply_batch(entry.id.index.0, entry.id.term.0, batch);
            }
            Command::LedgerExported { index } => self.ledger.mark_exported(index),
        }
        Outcome::Done
    }

    fn conf_change(&mut self, change: &ConfChange) -> Result<(), CommandError> {
        match change {
            ConfChange::Found { members } => {
                for (id, context) in members {
                    self.members.insert(*id, MemberRecord::decode(context)?);
                }
            }
            ConfChange::AddLearner { id, context } => {
                self.members.insert(*id, MemberRecord::decode(context)?);
            }
            ConfChange::Promote { id } => {
                if let Some(record) = self.members.get_mut(id) {
                    record.promote_when_ready = false;
                }
            }
            ConfChange::Remove { id } => {
                self.members.remove(id);
                self.ledger.remove_member(raftery_behaviour::MemberId(id.0));
            }
        }
        Ok(())
    }

    /// An ID is for one incarnation for ever: whoever comes second with its URLs is refused.
    fn bind(&mut self, incarnation: u64, urls: &[String]) -> Result<MemberId, MembershipError> {
        let added = self
            .members
            .iter_mut()
            .find(|(_, record)| record.peer_urls.iter().any(|url| urls.contains(url)));
        let Some((id, record)) = added else {
            return Err(MembershipError::NotAdded {
                urls: urls.join(","),
            });
        };
        match record.incarnation {
            Some(bound) if bound != incarnation => {
                Err(MembershipError::IncarnationTaken { id: *id })
            }
            _ => {
                record.incarnation = Some(incarnation);
                Ok(*id)
            }
        }
    }

    fn update(&mut self, id: MemberId, urls: Vec<String>) -> Result<(), MembershipError> {
        if let Some(url) = taken(&self.members, Some(id), &urls) {
            return Err(MembershipError::PeerUrlTaken(url));
        }
        let record = self.members.get_mut(&id).ok_or(MembershipError::Conf(
            raftery_raft::ConfChangeError::NotMember(id),
        ))?;
        record.peer_urls = urls;
        Ok(())
    }
}

/// A URL of `urls` that belongs to a member other than `id`.
#[must_use]
pub fn taken(members: &Members, id: Option<MemberId>, urls: &[String]) -> Option<String> {
    members
        .iter()
        .filter(|(other, _)| Some(**other) != id)
        .flat_map(|(_, record)| &record.peer_urls)
        .find(|url| urls.contains(url))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use raftery_raft::{LogId, Term};

    fn entry(index: u64, payload: Payload) -> Entry {
        Entry {
            id: LogId {
                term: Term(1),
                index: LogIndex(index),
            },
            payload,
        }
    }

    fn added(url: &str) -> State {
        let mut state = State::default();
        let record = MemberRecord {
            peer_urls: vec![url.into()],
            ..MemberRecord::default()
        };
        let change = ConfChange::AddLearner {
            id: MemberId(5),
            context: record.encode().unwrap(),
        };
        state.apply(&entry(1, Payload::ConfChange(change))).unwrap();
        state
    }

    #[test]
    fn an_added_id_is_for_the_first_incarnation_that_comes_with_its_urls() {
        let mut state = added("http://a:1");
        let urls = vec!["http://a:1".to_owned()];
        assert_eq!(state.bind(77, &urls), Ok(MemberId(5)));
        assert_eq!(
            state.bind(77, &urls),
            Ok(MemberId(5)),
            "asking again is answered alike"
        );
        assert_eq!(
            state.bind(78, &urls),
            Err(MembershipError::IncarnationTaken { id: MemberId(5) })
        );
    }

    #[test]
    fn urls_that_nobody_added_are_not_bound() {
        let mut state = added("http://a:1");
        assert!(matches!(
            state.bind(77, &["http://b:1".to_owned()]),
            Err(MembershipError::NotAdded { .. })
        ));
    }

    #[test]
    fn a_removed_member_has_no_record() {
        let mut state = added("http://a:1");
        let remove = ConfChange::Remove { id: MemberId(5) };
        state.apply(&entry(2, Payload::ConfChange(remove))).unwrap();
        assert!(state.members.is_empty());
    }
}
