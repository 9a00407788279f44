//! What clients asked and what they were answered.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// A value and the revision that wrote it, as an answer showed them; none: the key is absent.
pub type Seen = Option<(u64, i64)>;

/// What a compare-and-put demands of the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// This value.
    Value(u64),
    /// This `mod_revision`; 0: the key is absent.
    ModRevision(i64),
}

/// What was asked. Every write of a history has a value of its own: values tell writes apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A linearizable read.
    Get,
    /// A write.
    Put(u64),
    /// A write on a condition; otherwise a read, in one transaction.
    CompareAndPut {
        /// The condition.
        expected: Expected,
        /// The new value.
        value: u64,
    },
}

/// What was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing, or an error that doesn't say whether the request took effect.
    Unknown,
    /// What a read saw.
    Got {
        /// Value and `mod_revision`.
        seen: Seen,
        /// Revision of the answer's header.
        revision: i64,
    },
    /// The write was done, or the comparison succeeded.
    Written {
        /// Revision of the answer's header: that of the write.
        revision: i64,
    },
    /// The comparison failed.
    Differed {
        /// Value and `mod_revision` that were there instead.
        seen: Seen,
        /// Revision of the answer's header.
        revision: i64,
    },
}

impl Answer {
    /// The revision of its header, if there was an answer.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        match self {
            Self::Unknown => None,
            Self::Got { revision, .. }
            | Self::Written { revision }
            | Self::Differed { revision, .. } => Some(*revision),
        }
    }
}

/// One request of one client, from the moment before it was sent to the moment after its answer
/// was read. Times are since the history's beginning, of one monotonic clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Who asked; a client has one request under way at a time.
    pub client: u32,
    /// On which key.
    pub key: String,
    /// What was asked.
    pub action: Action,
    /// When.
    pub invoked: Duration,
    /// When the answer was there. Of no meaning if it is [`Answer::Unknown`]: such a request may
    /// take effect long after the client gave up.
    pub returned: Duration,
    /// What was answered.
    pub answer: Answer,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} s to ", self.invoked.as_secs_f64())?;
        match self.answer {
            Answer::Unknown => write!(f, "?")?,
            _ => write!(f, "{:.6} s", self.returned.as_secs_f64())?,
        }
        write!(f, ", client {}: ", self.client)?;
        match self.action {
            Action::Get => write!(f, "get {}", self.key)?,
            Action::Put(value) => write!(f, "put {} = {value}", self.key)?,
            Action::CompareAndPut {
                expected: Expected::Value(expected),
                value,
            } => write!(f, "if {} = {expected} put {value}", self.key)?,
            Action::CompareAndPut {
                expected: Expected::ModRevision(expected),
                value,
            } => write!(f, "if {} is of revision {expected} put {value}", self.key)?,
        }
        match self.answer {
            Answer::Unknown => write!(f, " -> no answer"),
            Answer::Got { seen, revision } => {
                write!(f, " -> {} at revision {revision}", shown(seen))
            }
            Answer::Written { revision } => write!(f, " -> written at revision {revision}"),
            Answer::Differed { seen, revision } => {
                write!(f, " -> differs: {} at revision {revision}", shown(seen))
            }
        }
    }
}

fn shown(seen: Seen) -> String {
    match seen {
        None => "absent".to_owned(),
        Some((value, written)) => format!("{value} (written at {written})"),
    }
}

/// All operations of all clients, in any order.
#[derive(Clone, Default, Debug)]
pub struct History {
    /// The operations.
    pub operations: Vec<Operation>,
}

impl History {
    /// The keys that occur.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<String> {
        let keys = self.operations.iter().map(|operation| &operation.key);
        keys.cloned().collect()
    }

    /// How many operations were answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        let answered = |operation: &&Operation| operation.answer != Answer::Unknown;
        self.operations.iter().filter(answered).count()
    }

    /// The operations of a client in the order in which it asked.
    #[must_use]
    pub fn of_client(&self, client: u32) -> Vec<&Operation> {
        let of_client = |operation: &&Operation| operation.client == client;
        let mut own: Vec<_> = self.operations.iter().filter(of_client).collect();
        own.sort_by_key(|operation| operation.invoked);
        own
    }
}
