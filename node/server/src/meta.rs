//! The replicated state besides keys and values: a function of the log alone. No clock, no
//! randomness.
//!
//! The store keeps it on disk: whole, now and then, as the caller's part of a checkpoint
//! ([`Meta::encode`]), and the entries that changed it since ([`Change::encode`]).

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use raftery_behaviour::Scoring;
use raftery_ledger::Ledger;
use raftery_proto::peer as proto;
use raftery_raft::{
    ConfChange, Entry, LogId, LogIndex, MemberChange, MemberId, Membership, Payload,
};
use serde::{Deserialize, Serialize};

use crate::cluster_version::ClusterVersion;
use crate::command::{self, Command, CommandError, Outcome};
use crate::error::MembershipError;
use crate::members::{MemberRecord, Members};
use crate::transport::codec;

/// What all members share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Clients are served.
    pub is_open: bool,
    /// How members are judged.
    pub scoring: Scoring,
    /// What the cluster goes by. Not in these bytes: see [`Meta::encode`].
    #[serde(skip)]
    pub cluster_version: ClusterVersion,
}

impl Settings {
    /// Unit of judging.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.scoring.window_ms)
    }
}

/// Everything that entries change besides keys.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// Records of the present members.
    pub members: Members,
    /// Verdicts and intervals.
    pub ledger: Ledger,
    /// What all members share.
    pub settings: Settings,
    /// Raft's configuration as of what is applied.
    pub membership: Membership,
}

/// [`Meta`] on disk; behind it, from the second layout on, the cluster version.
#[derive(Serialize, Deserialize)]
struct Encoded {
    layout: u8,
    members: Vec<(u64, MemberRecord)>,
    ledger: Ledger,
    settings: Settings,
    membership: Vec<u8>,
}

/// Before a cluster version was ever raised: what builds without cluster versions would read, which
/// such a cluster may go back to. (1 to 6 had other ledgers in them; no release wrote them.)
const LAYOUT_FIRST: u8 = 7;
const LAYOUT_CLUSTER_VERSION: u8 = 8;

/// What an entry says to [`Meta`].
#[derive(Clone, Debug)]
pub enum Change {
    /// A command that isn't a write.
    Command(Command),
    /// A change of membership.
    Membership(ConfChange),
}

impl Meta {
    /// The whole state.
    ///
    /// # Errors
    /// When a value can't be encoded, which no state can bring about.
    pub fn encode(&self) -> Result<Bytes, CommandError> {
        let members = self.members.iter();
        let cluster_version = self.settings.cluster_version;
        let is_first = cluster_version == ClusterVersion::LOWEST;
        let encoded = Encoded {
            layout: if is_first {
                LAYOUT_FIRST
            } else {
                LAYOUT_CLUSTER_VERSION
            },
            members: members.map(|(id, record)| (id.0, record.clone())).collect(),
            ledger: self.ledger.clone(),
            settings: self.settings,
            membership: codec::encode_membership(&self.membership).encode_to_vec(),
        };
        let mut bytes = postcard::to_stdvec(&encoded).map_err(CommandError::Command)?;
        if !is_first {
            let behind = postcard::to_extend(&cluster_version.0, bytes);
            bytes = behind.map_err(CommandError::Command)?;
        }
        Ok(bytes.into())
    }

    /// Reads a state.
    ///
    /// # Errors
    /// When a newer version wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        let layout = bytes.first().copied();
        let known = [LAYOUT_FIRST, LAYOUT_CLUSTER_VERSION];
        if !layout.is_some_and(|layout| known.contains(&layout)) {
            return Err(CommandError::StateLayout(layout));
        }
        let (mut encoded, behind): (Encoded, _) =
            postcard::take_from_bytes(bytes).map_err(CommandError::Command)?;
        if encoded.layout == LAYOUT_CLUSTER_VERSION {
            let version = postcard::from_bytes(behind).map_err(CommandError::Command)?;
            encoded.settings.cluster_version = ClusterVersion::LOWEST.raised_to(version)?;
        }
        let membership = proto::Membership::decode(encoded.membership.as_slice())
            .map_err(CommandError::Protobuf)?;
        let members = encoded.members.into_iter();
        Ok(Self {
            members: members.map(|(id, record)| (MemberId(id), record)).collect(),
            ledger: encoded.ledger,
            settings: encoded.settings,
            membership: codec::decode_membership(membership),
        })
    }

    /// Applies what the entry `at` says.
    ///
    /// # Errors
    /// When a member's record can't be understood, or the cluster goes on to a version that this
    /// build doesn't know: the process must end, since skipping it would make this member differ
    /// from the others.
    pub fn apply(&mut self, at: LogId, change: Change) -> Result<Outcome, CommandError> {
        match change {
            Change::Command(Command::SetClusterVersion { version }) => {
                let applied = &mut self.settings.cluster_version;
                *applied = applied.raised_to(version)?;
                Ok(Outcome::Done)
            }
            Change::Command(Command::Ledger(batch)) => {
                let rules = batch.rules;
                if !rules.are_known() {
                    return Err(CommandError::Rules { rules });
                }
                let scoring = &self.settings.scoring;
                self.ledger
                    .apply_batch(at.index.0, at.term.0, &batch, scoring);
                Ok(Outcome::Done)
            }
            Change::Command(command) => Ok(self.command(command)),
            Change::Membership(change) => {
                self.conf_change(at.index, &change)?;
                Ok(Outcome::Membership)
            }
        }
    }

    fn command(&mut self, command: Command) -> Outcome {
        match command {
            // The store's; and what may fail is looked at before.
            Command::Write(_) | Command::SetClusterVersion { .. } | Command::Ledger(_) => {}
            Command::Open => self.settings.is_open = true,
            Command::SetScoring(scoring) => self.settings.scoring = scoring,
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
            Command::LedgerExported { index } => self.ledger.mark_exported(index),
        }
        Outcome::Done
    }

    fn conf_change(&mut self, index: LogIndex, change: &ConfChange) -> Result<(), CommandError> {
        match change {
            ConfChange::Found { members } => {
                for (id, context) in members {
                    self.members.insert(*id, MemberRecord::decode(context)?);
                }
            }
            ConfChange::AddLearner { id, context } => {
                self.members.insert(*id, MemberRecord::decode(context)?);
            }
            ConfChange::Promote { id } => self.promoted(*id),
            ConfChange::Change { changes } => {
                for change in changes {
                    match change {
                        MemberChange::AddLearner { id, context } => {
                            self.members.insert(*id, MemberRecord::decode(context)?);
                        }
                        MemberChange::Promote { id } => self.promoted(*id),
                        MemberChange::Demote { .. } | MemberChange::Remove { .. } => {}
                    }
                }
            }
            ConfChange::Remove { .. } | ConfChange::LeaveJoint => {}
        }
        let removed = self.membership.removed.clone();
        self.membership.activate(index, change);
        // Not who is being removed: while the configuration is joint it still votes in the old
        // half, and must be reached for that.
        for id in self.membership.removed.difference(&removed) {
            self.members.remove(id);
            self.ledger.remove_member(raftery_behaviour::MemberId(id.0));
        }
        Ok(())
    }

    fn promoted(&mut self, id: MemberId) {
        if let Some(record) = self.members.get_mut(&id) {
            record.promote_when_ready = false;
        }
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

/// First byte of a recorded change.
const COMMAND: u8 = 0;
const MEMBERSHIP: u8 = 1;

impl Change {
    /// What the store records of `entry`: the entry's payload behind a byte that tells its kind;
    /// `None` for entries that change nothing here.
    #[must_use]
    pub fn encode(entry: &Entry) -> Option<Vec<u8>> {
        match &entry.payload {
            Payload::Blank => None,
            Payload::Data(data) => {
                let mut bytes = Vec::with_capacity(1 + data.len());
                bytes.push(COMMAND);
                bytes.extend_from_slice(data);
                Some(bytes)
            }
            Payload::ConfChange(change) => {
                let mut bytes = vec![MEMBERSHIP];
                bytes.extend(codec::encode_change(change.clone()).encode_to_vec());
                Some(bytes)
            }
        }
    }

    /// Reads what [`Change::encode`] wrote.
    ///
    /// # Errors
    /// When a newer version wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        match bytes.split_first() {
            Some((&COMMAND, data)) => Ok(Self::Command(command::decode(data)?)),
            Some((&MEMBERSHIP, data)) => {
                let change = proto::ConfChange::decode(data).map_err(CommandError::Protobuf)?;
                let change = codec::decode_change(change).map_err(CommandError::Membership)?;
                Ok(Self::Membership(change))
            }
            other => Err(CommandError::Layout(other.map(|(kind, _)| *kind))),
        }
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
    use raftery_behaviour::{Rules, Window};
    use raftery_ledger::LedgerBatch;
    use raftery_raft::Term;

    fn at(index: u64) -> LogId {
        LogId {
            term: Term(1),
            index: LogIndex(index),
        }
    }

    fn added(url: &str) -> Meta {
        let mut meta = Meta::default();
        let record = MemberRecord {
            peer_urls: vec![url.into()],
            ..MemberRecord::default()
        };
        let change = ConfChange::AddLearner {
            id: MemberId(5),
            context: record.encode().unwrap(),
        };
        meta.apply(at(1), Change::Membership(change)).unwrap();
        meta
    }

    #[test]
    fn an_added_id_is_for_the_first_incarnation_that_comes_with_its_urls() {
        let mut meta = added("http://a:1");
        let urls = vec!["http://a:1".to_owned()];
        assert_eq!(meta.bind(77, &urls), Ok(MemberId(5)));
        assert_eq!(
            meta.bind(77, &urls),
            Ok(MemberId(5)),
            "asking again is answered alike"
        );
        assert_eq!(
            meta.bind(78, &urls),
            Err(MembershipError::IncarnationTaken { id: MemberId(5) })
        );
    }

    #[test]
    fn urls_that_nobody_added_are_not_bound() {
        let mut meta = added("http://a:1");
        assert!(matches!(
            meta.bind(77, &["http://b:1".to_owned()]),
            Err(MembershipError::NotAdded { .. })
        ));
    }

    #[test]
    fn a_removed_member_has_no_record_and_stays_remembered() {
        let mut meta = added("http://a:1");
        let remove = ConfChange::Remove { id: MemberId(5) };
        meta.apply(at(2), Change::Membership(remove)).unwrap();
        assert!(meta.members.is_empty());
        assert!(meta.membership.removed.contains(&MemberId(5)));
    }

    #[test]
    fn members_that_leave_with_others_keep_their_records_until_the_old_half_is_left() {
        let record = |promote_when_ready| MemberRecord {
            promote_when_ready,
            ..MemberRecord::default()
        };
        let context = |record: MemberRecord| record.encode().unwrap();
        let founders = [1, 2, 3].map(|id| (MemberId(id), context(record(false))));
        let found = ConfChange::Found {
            members: founders.to_vec(),
        };
        let add = |id| MemberChange::AddLearner {
            id: MemberId(id),
            context: context(record(true)),
        };
        let change = |changes| ConfChange::Change { changes };
        let swap = vec![
            MemberChange::Remove { id: MemberId(2) },
            MemberChange::Demote { id: MemberId(3) },
            MemberChange::Promote { id: MemberId(4) },
        ];
        let mut meta = Meta::default();
        let mut index = 0;
        let mut apply = |meta: &mut Meta, change| {
            index += 1;
            meta.apply(at(index), Change::Membership(change)).unwrap();
        };
        apply(&mut meta, found);
        apply(&mut meta, change(vec![add(4), add(5)]));
        assert!(meta.members[&MemberId(4)].promote_when_ready);
        apply(&mut meta, change(swap));
        assert!(meta.membership.is_joint());
        assert!(!meta.members[&MemberId(4)].promote_when_ready);
        assert!(meta.members[&MemberId(5)].promote_when_ready);
        assert_eq!(meta.members.len(), 5, "2 votes in the old half");
        apply(&mut meta, ConfChange::LeaveJoint);
        let left: Vec<_> = meta.members.keys().map(|id| id.0).collect();
        assert_eq!(left, [1, 3, 4, 5]);
        assert_eq!(meta.membership.removed, [MemberId(2)].into());
    }

    #[test]
    fn the_state_comes_back_as_it_was_written() {
        let mut meta = added("http://a:1");
        meta.settings.is_open = true;
        let read = Meta::decode(&meta.encode().unwrap()).unwrap();
        assert_eq!(read.members, meta.members);
        assert_eq!(read.ledger, meta.ledger);
        assert_eq!(read.settings, meta.settings);
        assert_eq!(read.membership, meta.membership);
        assert!(matches!(
            Meta::decode(&[9, 0]),
            Err(CommandError::StateLayout(Some(9)))
        ));
    }

    fn raised(meta: &mut Meta, version: u32) -> Result<Outcome, CommandError> {
        let command = Command::SetClusterVersion { version };
        meta.apply(at(3), Change::Command(command))
    }

    #[test]
    fn a_raised_cluster_version_is_part_of_the_state_and_never_goes_down() {
        let mut meta = added("http://a:1");
        let first = meta.encode().unwrap();
        assert_eq!(first[0], LAYOUT_FIRST, "builds before it can still read it");
        raised(&mut meta, 2).unwrap();
        raised(&mut meta, 1).unwrap();
        let read = Meta::decode(&meta.encode().unwrap()).unwrap();
        assert_eq!(read.settings, meta.settings);
        assert_eq!(read.settings.cluster_version, ClusterVersion(2));
        assert_eq!(read.membership, meta.membership);
        let before = Meta::decode(&first).unwrap();
        assert_eq!(before.settings.cluster_version, ClusterVersion::LOWEST);
    }

    #[test]
    fn a_cluster_version_that_this_build_does_not_know_is_never_skipped() {
        let mut meta = added("http://a:1");
        let unknown = ClusterVersion::HIGHEST.0 + 1;
        let refused = raised(&mut meta, unknown).unwrap_err();
        assert!(matches!(refused, CommandError::ClusterVersion { .. }));
        meta.settings.cluster_version = ClusterVersion(unknown);
        let state = Meta::decode(&meta.encode().unwrap());
        assert!(matches!(state, Err(CommandError::ClusterVersion { .. })));
    }

    #[test]
    fn a_batch_of_unknown_rules_ends_the_process_rather_than_being_skipped() {
        let mut meta = added("http://a:1");
        let mut batch = LedgerBatch {
            rules: Rules::HIGHEST,
            term: 1,
            window: Window(0),
            at_unix_ms: 0,
            window_ms: 1_000,
            scoring: None,
            verdicts: vec![],
            intervals: vec![],
        };
        let apply = |meta: &mut Meta, index, batch: &LedgerBatch| {
            meta.apply(at(index), Change::Command(Command::Ledger(batch.clone())))
        };
        assert!(apply(&mut meta, 5, &batch).is_ok());
        (batch.rules, batch.window) = (Rules::FIRST, Window(1));
        assert!(apply(&mut meta, 6, &batch).is_ok(), "older ones are known");
        let unknown = Rules(Rules::HIGHEST.0 + 1);
        (batch.rules, batch.window) = (unknown, Window(2));
        let refused = apply(&mut meta, 7, &batch).unwrap_err();
        assert!(matches!(refused, CommandError::Rules { rules } if rules == unknown));
        assert_eq!(meta.ledger.last_index(), 6);
    }

    #[test]
    fn a_recorded_change_comes_back_as_it_was_written() {
        let change = ConfChange::Remove { id: MemberId(5) };
        let entry = Entry {
            id: at(3),
            payload: Payload::ConfChange(change.clone()),
        };
        let bytes = Change::encode(&entry).unwrap();
        assert!(matches!(Change::decode(&bytes), Ok(Change::Membership(read)) if read == change));
    }
}
