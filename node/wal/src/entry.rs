//! Entries as the payload of a frame.
//!
//! ```text
//! offset size
//!      0    1  version: 1
//!      1    1  kind: 0 blank, 1 data, 2 found, 3 add learner, 4 promote, 5 remove,
//!                       6 several changes, 7 leave joint
//!      2    6  zero
//!      8    8  term
//!     16    8  index
//!     24    …  blank, leave joint: nothing
//!              data: the bytes, to the end of the payload
//!              found: count (4), then for each founder: ID (8), length of context (4), context
//!              add learner: ID (8), context to the end of the payload
//!              promote, remove: ID (8)
//!              several changes: count (4), then for each: kind (1): 0 add learner, 1 promote,
//!                2 demote, 3 remove; ID (8); for add learner: length of context (4), context
//! ```
//!
//! A version or kind that is not in the list is an error, never skipped: whoever skipped a
//! committed entry would apply another history than its peers.

use bytes::Bytes;
use raftery_raft::{ConfChange, Entry, LogId, LogIndex, MemberChange, MemberId, Payload, Term};

use raftery_fs::le::{u32_at, u64_at};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 24;

const BLANK: u8 = 0;
const DATA: u8 = 1;
const FOUND: u8 = 2;
const ADD_LEARNER: u8 = 3;
const PROMOTE: u8 = 4;
const REMOVE: u8 = 5;
const CHANGE: u8 = 6;
const LEAVE_JOINT: u8 = 7;

/// Kinds of one of several changes.
const ONE_ADD_LEARNER: u8 = 0;
const ONE_PROMOTE: u8 = 1;
const ONE_DEMOTE: u8 = 2;
const ONE_REMOVE: u8 = 3;

/// Why bytes are not an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EntryError {
    /// A newer version wrote it.
    UnknownVersion(u8),
    /// A newer version wrote it.
    UnknownKind(u8),
    /// Too short, too long or contradictory.
    Malformed,
}

/// Bytes that [`encode`] will append.
pub(crate) fn encoded_len(entry: &Entry) -> usize {
    HEAD_BYTES
        + match &entry.payload {
            Payload::Blank | Payload::ConfChange(ConfChange::LeaveJoint) => 0,
            Payload::Data(data) => data.len(),
            Payload::ConfChange(ConfChange::Found { members }) => {
                4 + members
                    .iter()
                    .map(|(_, context)| 12 + context.len())
                    .sum::<usize>()
            }
            Payload::ConfChange(ConfChange::AddLearner { context, .. }) => 8 + context.len(),
            Payload::ConfChange(ConfChange::Promote { .. } | ConfChange::Remove { .. }) => 8,
            Payload::ConfChange(ConfChange::Change { changes }) => {
                4 + changes.iter().map(encoded_len_of_one).sum::<usize>()
            }
        }
}

fn encoded_len_of_one(change: &MemberChange) -> usize {
    match change {
        MemberChange::AddLearner { context, .. } => 13 + context.len(),
        MemberChange::Promote { .. }
        | MemberChange::Demote { .. }
        | MemberChange::Remove { .. } => 9,
    }
}

/// Appends the entry to `out`. Whole lengths were checked against the frame's limit before.
pub(crate) fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let kind = match &entry.payload {
        Payload::Blank => BLANK,
        Payload::Data(_) => DATA,
        Payload::ConfChange(ConfChange::Found { .. }) => FOUND,
        Payload::ConfChange(ConfChange::AddLearner { .. }) => ADD_LEARNER,
        Payload::ConfChange(ConfChange::Promote { .. }) => PROMOTE,
        Payload::ConfChange(ConfChange::Remove { .. }) => REMOVE,
        Payload::ConfChange(ConfChange::Change { .. }) => CHANGE,
        Payload::ConfChange(ConfChange::LeaveJoint) => LEAVE_JOINT,
    };
    out.extend_from_slice(&[VERSION, kind, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&entry.id.term.0.to_le_bytes());
    out.extend_from_slice(&entry.id.index.0.to_le_bytes());
    match &entry.payload {
        Payload::Blank | Payload::ConfChange(ConfChange::LeaveJoint) => {}
        Payload::Data(data) => out.extend_from_slice(data),
        Payload::ConfChange(ConfChange::Found { members }) => {
            out.extend_from_slice(&length(members.len()));
            for (id, context) in members {
                out.extend_from_slice(&id.0.to_le_bytes());
                out.extend_from_slice(&length(context.len()));
                out.extend_from_slice(context);
            }
        }
        Payload::ConfChange(ConfChange::AddLearner { id, context }) => {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(context);
        }
        Payload::ConfChange(ConfChange::Promote { id } | ConfChange::Remove { id }) => {
            out.extend_from_slice(&id.0.to_le_bytes());
        }
        Payload::ConfChange(ConfChange::Change { changes }) => {
            out.extend_from_slice(&length(changes.len()));
            for change in changes {
                encode_one(change, out);
            }
        }
    }
}

fn encode_one(change: &MemberChange, out: &mut Vec<u8>) {
    out.push(match change {
        MemberChange::AddLearner { .. } => ONE_ADD_LEARNER,
        MemberChange::Promote { .. } => ONE_PROMOTE,
        MemberChange::Demote { .. } => ONE_DEMOTE,
        MemberChange::Remove { .. } => ONE_REMOVE,
    });
    out.extend_from_slice(&change.id().0.to_le_bytes());
    if let MemberChange::AddLearner { context, .. } = change {
        out.extend_from_slice(&length(context.len()));
        out.extend_from_slice(context);
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("the entry fits a frame, so its parts do")
        .to_le_bytes()
}

/// Reads an entry that fills `payload`.
pub(crate) fn decode(payload: &[u8]) -> Result<Entry, EntryError> {
    let (&version, &kind) = match payload {
        [version, kind, ..] => (version, kind),
        _ => return Err(EntryError::Malformed),
    };
    if version != VERSION {
        return Err(EntryError::UnknownVersion(version));
    }
    if payload.len() < HEAD_BYTES || payload[2..8] != [0; 6] {
        return Err(EntryError::Malformed);
    }
    let id = LogId {
        term: Term(u64_at(payload, 8)),
        index: LogIndex(u64_at(payload, 16)),
    };
    let body = &payload[HEAD_BYTES..];
    let payload = match kind {
        BLANK if body.is_empty() => Payload::Blank,
        DATA => Payload::Data(Bytes::copy_from_slice(body)),
        FOUND => Payload::ConfChange(ConfChange::Found {
            members: founders(body)?,
        }),
        ADD_LEARNER => {
            let (id, context) = split_member(body)?;
            let context = Bytes::copy_from_slice(context);
            Payload::ConfChange(ConfChange::AddLearner { id, context })
        }
        PROMOTE => Payload::ConfChange(ConfChange::Promote {
            id: only_member(body)?,
        }),
        REMOVE => Payload::ConfChange(ConfChange::Remove {
            id: only_member(body)?,
        }),
        CHANGE => Payload::ConfChange(ConfChange::Change {
            changes: several(body)?,
        }),
        LEAVE_JOINT if body.is_empty() => Payload::ConfChange(ConfChange::LeaveJoint),
        BLANK | LEAVE_JOINT => return Err(EntryError::Malformed),
        unknown => return Err(EntryError::UnknownKind(unknown)),
    };
    Ok(Entry { id, payload })
}

fn split_member(body: &[u8]) -> Result<(MemberId, &[u8]), EntryError> {
    let (_, rest) = body.split_at_checked(8).ok_or(EntryError::Malformed)?;
    Ok((MemberId(u64_at(body, 0)), rest))
}

fn only_member(body: &[u8]) -> Result<MemberId, EntryError> {
    match split_member(body)? {
        (id, []) => Ok(id),
        _ => Err(EntryError::Malformed),
    }
}

fn founders(body: &[u8]) -> Result<Vec<(MemberId, Bytes)>, EntryError> {
    let (count, mut rest) = split_length(body)?;
    let mut members = Vec::new();
    for _ in 0..count {
        let (id, behind_id) = split_member(rest)?;
        let (len, behind_len) = split_length(behind_id)?;
        let (context, behind) = behind_len
            .split_at_checked(len)
            .ok_or(EntryError::Malformed)?;
        members.push((id, Bytes::copy_from_slice(context)));
        rest = behind;
    }
    if rest.is_empty() {
        Ok(members)
    } else {
        Err(EntryError::Malformed)
    }
}

fn several(body: &[u8]) -> Result<Vec<MemberChange>, EntryError> {
    let (count, mut rest) = split_length(body)?;
    let mut changes = Vec::new();
    for _ in 0..count {
        let (&kind, behind_kind) = rest.split_first().ok_or(EntryError::Malformed)?;
        let (id, behind_id) = split_member(behind_kind)?;
        rest = behind_id;
        changes.push(match kind {
            ONE_ADD_LEARNER => {
                let (len, behind_len) = split_length(rest)?;
                let (context, behind) = behind_len
                    .split_at_checked(len)
                    .ok_or(EntryError::Malformed)?;
                rest = behind;
                let context = Bytes::copy_from_slice(context);
                MemberChange::AddLearner { id, context }
            }
            ONE_PROMOTE => MemberChange::Promote { id },
            ONE_DEMOTE => MemberChange::Demote { id },
            ONE_REMOVE => MemberChange::Remove { id },
            _ => return Err(EntryError::Malformed),
        });
    }
    if rest.is_empty() {
        Ok(changes)
    } else {
        Err(EntryError::Malformed)
    }
}

fn split_length(body: &[u8]) -> Result<(usize, &[u8]), EntryError> {
    let (_, rest) = body.split_at_checked(4).ok_or(EntryError::Malformed)?;
    Ok((u32_at(body, 0) as usize, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: Payload) -> Entry {
        Entry {
            id: LogId {
                term: Term(3),
                index: LogIndex(9),
            },
            payload,
        }
    }

    fn every_kind() -> Vec<Entry> {
        let id = MemberId(0xfeed);
        let context = Bytes::from_static(b"name");
        let founders = vec![(id, context.clone()), (MemberId(2), Bytes::new())];
        [
            Payload::Blank,
            Payload::Data(Bytes::new()),
            Payload::Data(Bytes::from_static(b"put")),
            Payload::ConfChange(ConfChange::Found { members: founders }),
            Payload::ConfChange(ConfChange::AddLearner {
                id,
                context: context.clone(),
            }),
            Payload::ConfChange(ConfChange::Promote { id }),
            Payload::ConfChange(ConfChange::Remove { id }),
            Payload::ConfChange(ConfChange::Change {
                changes: vec![
                    MemberChange::AddLearner { id, context },
                    MemberChange::Promote { id: MemberId(2) },
                    MemberChange::Demote { id: MemberId(3) },
                    MemberChange::Remove { id: MemberId(4) },
                ],
            }),
            Payload::ConfChange(ConfChange::LeaveJoint),
        ]
        .map(entry)
        .to_vec()
    }

    #[test]
    fn every_kind_of_entry_reads_back_as_written() {
        for entry in every_kind() {
            let mut bytes = Vec::new();
            encode(&entry, &mut bytes);
            assert_eq!(bytes.len(), encoded_len(&entry));
            assert_eq!(decode(&bytes), Ok(entry));
        }
    }

    #[test]
    fn a_shortened_entry_is_never_read_as_another_one() {
        for entry in every_kind() {
            let mut bytes = Vec::new();
            encode(&entry, &mut bytes);
            for len in 0..bytes.len() {
                // Data and context reach to the end; the frame knows their length.
                if let Ok(other) = decode(&bytes[..len]) {
                    assert_eq!(other.id, entry.id);
                    assert!(len >= HEAD_BYTES && other.payload.len() < entry.payload.len());
                }
            }
        }
    }

    #[test]
    fn unknown_kinds_and_versions_are_errors() {
        let mut bytes = Vec::new();
        encode(&entry(Payload::Blank), &mut bytes);
        bytes[1] = 8;
        assert_eq!(decode(&bytes), Err(EntryError::UnknownKind(8)));
        bytes[0] = 2;
        assert_eq!(decode(&bytes), Err(EntryError::UnknownVersion(2)));
    }

    #[test]
    fn bytes_behind_an_entry_are_an_error() {
        for kind in [BLANK, PROMOTE, REMOVE, FOUND, CHANGE, LEAVE_JOINT] {
            let mut bytes = Vec::new();
            let id = MemberId(1);
            encode(
                &entry(match kind {
                    BLANK => Payload::Blank,
                    PROMOTE => Payload::ConfChange(ConfChange::Promote { id }),
                    REMOVE => Payload::ConfChange(ConfChange::Remove { id }),
                    CHANGE => Payload::ConfChange(ConfChange::Change {
                        changes: vec![MemberChange::Demote { id }],
                    }),
                    LEAVE_JOINT => Payload::ConfChange(ConfChange::LeaveJoint),
                    _ => Payload::ConfChange(ConfChange::Found {
                        members: Vec::new(),
                    }),
                }),
                &mut bytes,
            );
            bytes.push(0);
            assert_eq!(decode(&bytes), Err(EntryError::Malformed));
        }
    }
}
