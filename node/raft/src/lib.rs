//! Raft as a value: inputs and time go in, effects come out.
mod error;
mod message;
mod ready;
mod role;
mod status;
mod types;

pub use error::{ConfChangeError, ProposeError, ReadError, StepError, TransferError};
pub use message::{MessageBody, PeerMessage};
pub use ready::{Host, PersistBatch, Ready, dispatch};
pub use role::{Raft, RaftConfig, Recovered};
pub use status::{Membership, PeerProgress, RoleKind, Status};
pub use types::{
    ConfChange, Entry, HardState, Instant, LogId, LogIndex, MemberId, Payload, PersistSeq, ReadId,
    Term,
};
