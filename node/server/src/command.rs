//! What stands in the log for the state machine, byte by byte.
//!
//! ```text
//! 0   u8      version of this layout: 1
//! 1   u64 LE  origin: the member whose client waits
//! 9   u64 LE  request: the origin's number for the waiter; unique across its restarts
//! 17  ...     the command, postcard
//! ```
//!
//! The head has fixed places so that the driver finds the waiter without decoding the rest.
//! A command that can't be decoded ends the process (design: an unknown entry kind is never
//! skipped), so variants are only ever added at the end.

use bytes::Bytes;
use raftery_behaviour::{Rules, Scoring};
use raftery_ledger::LedgerBatch;
use raftery_raft::MemberId;
use raftery_store::{StoreError, WriteOp, WriteResult};
use serde::{Deserialize, Serialize};

use crate::cluster_version::ClusterVersion;
use crate::error::MembershipError;

const VERSION: u8 = 1;
const HEAD: usize = 17;

/// What the state machine does when the entry is applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A client's write.
    Write(WriteOp),
    /// Clients are served from here on.
    Open,
    /// Changes how members are judged, for all members.
    SetScoring(Scoring),
    /// Gives the ID that was added for these URLs to a blank disk.
    Bind {
        /// The blank disk.
        incarnation: u64,
        /// Its peer URLs; one must be that of the added member.
        peer_urls: Vec<String>,
    },
    /// A member tells its name and client URLs.
    Publish {
        /// The member.
        id: u64,
        /// Its name.
        name: String,
        /// Its client URLs.
        client_urls: Vec<String>,
    },
    /// Changes where peers reach a member.
    UpdateMember {
        /// The member.
        id: u64,
        /// Its new peer URLs.
        peer_urls: Vec<String>,
    },
    /// One window's verdicts and intervals.
    Ledger(LedgerBatch),
    /// Batches up to this index are in MongoDB.
    LedgerExported {
        /// Raft index of the newest exported batch.
        index: u64,
    },
    /// Switches on all kinds of entries and rules up to this version.
    SetClusterVersion {
        /// See [`ClusterVersion`].
        version: u32,
    },
}

/// What applying a command gave; the same on every member.
#[derive(Debug)]
pub enum Outcome {
    /// Of `Write`.
    Write(Result<WriteResult, StoreError>),
    /// Of `Bind`: the ID that is now the incarnation's.
    Bound(Result<MemberId, MembershipError>),
    /// Of `UpdateMember`.
    Updated(Result<(), MembershipError>),
    /// Of a change of membership.
    Membership,
    /// Of commands that can't fail.
    Done,
}

/// Who waits for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The member whose client waits.
    pub origin: MemberId,
    /// Its number for the waiter.
    pub request: u64,
}

/// Why an entry can't be applied; ends the process.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Too short, or a layout that this version doesn't know.
    #[error(
        "entry has layout version {0:?}; this version knows only {VERSION}: was it written by a newer one?"
    )]
    Layout(Option<u8>),
    /// The recorded state has a layout that this version doesn't know.
    #[error(
        "the state has layout {0:?}, which this version doesn't know: was it written by a newer one?"
    )]
    StateLayout(Option<u8>),
    /// An unknown kind, or damaged.
    #[error("unknown or damaged command in the log: was it written by a newer version?")]
    Command(#[source] postcard::Error),
    /// The cluster has gone on to a version that this build doesn't know.
    #[error(
        "the cluster goes by cluster version {version}; this build supports only up to {}: run a \
         newer one",
        ClusterVersion::HIGHEST
    )]
    ClusterVersion {
        /// The cluster's.
        version: u32,
    },
    /// A window was judged by rules that this build doesn't know.
    #[error(
        "a batch of the ledger is scored by rules {rules}; this build knows only up to {}: was \
         it written by a newer one?",
        Rules::HIGHEST
    )]
    Rules {
        /// Those rules.
        rules: Rules,
    },
    /// What was recorded of the membership can't be read.
    #[error("unknown or damaged record of the membership: was it written by a newer version?")]
    Protobuf(#[source] prost::DecodeError),
    /// A change of membership of an unknown kind.
    #[error(transparent)]
    Membership(crate::transport::codec::CodecError),
}

/// Encodes a command for the log.
///
/// # Errors
/// When a value can't be encoded, which no `Command` can bring about.
pub fn encode(waiter: Waiter, command: &Command) -> Result<Bytes, CommandError> {
    let mut head = Vec::with_capacity(256);
    head.push(VERSION);
    head.extend_from_slice(&waiter.origin.0.to_le_bytes());
    head.extend_from_slice(&waiter.request.to_le_bytes());
    let all = postcard::to_extend(command, head).map_err(CommandError::Command)?;
    Ok(all.into())
}

/// Reads who waits, without decoding the command.
///
/// # Errors
/// When the layout is unknown.
pub fn waiter(data: &[u8]) -> Result<Waiter, CommandError> {
    let layout = || CommandError::Layout(data.first().copied());
    if data.first() != Some(&VERSION) {
        return Err(layout());
    }
    let number = |at: usize| -> Result<u64, CommandError> {
        let bytes = data
            .get(at..at + 8)
            .and_then(|b| b.try_into().ok())
            .ok_or_else(layout)?;
        Ok(u64::from_le_bytes(bytes))
    };
    Ok(Waiter {
        origin: MemberId(number(1)?),
        request: number(9)?,
    })
}

/// Reads the command.
///
/// # Errors
/// When the layout or the kind is unknown.
pub fn decode(data: &[u8]) -> Result<Command, CommandError> {
    waiter(data)?;
    postcard::from_bytes(&data[HEAD..]).map_err(CommandError::Command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_comes_back_as_it_went_in() {
        let waiter_in = Waiter {
            origin: MemberId(7),
            request: 9,
        };
        let command = Command::SetScoring(Scoring::default());
        let data = encode(waiter_in, &command).unwrap();
        assert_eq!(waiter(&data).unwrap(), waiter_in);
        assert_eq!(decode(&data).unwrap(), command);
    }

    #[test]
    fn an_unknown_layout_or_kind_is_an_error() {
        assert!(matches!(
            decode(&[9; 40]),
            Err(CommandError::Layout(Some(9)))
        ));
        let mut data = vec![VERSION];
        data.extend_from_slice(&[0; 16]);
        data.push(200);
        assert!(matches!(decode(&data), Err(CommandError::Command(_))));
    }
}
