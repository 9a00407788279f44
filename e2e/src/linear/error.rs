//! What a history can show.

use std::time::Duration;

/// Why a history isn't accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum Violation {
    /// No order of a key's operations explains the answers.
    NotLinearizable {
        /// The key.
        key: String,
        /// How many operations the longest explained order has, and how many there are.
        explained: (usize, usize),
        /// The value after that order.
        value: String,
        /// What saw this value and has no place before it is replaced.
        seers: Vec<String>,
        /// What would have to come next.
        next: Vec<String>,
    },
    /// An answer's revision is older than one that was given before it was asked for.
    RevisionWentBack {
        /// The operation whose answer was given first.
        earlier: String,
        /// The operation that began later and was answered with an older revision.
        later: String,
    },
    /// One revision with two values, or one value at two revisions.
    RevisionIsAmbiguous {
        /// The key.
        key: String,
        /// What one answer says.
        one: String,
        /// What another answer says.
        other: String,
    },
    /// A value was read that nobody wrote to this key.
    NeverWritten {
        /// The operation that saw it.
        operation: String,
    },
    /// A value was there before its write began.
    BeforeItsWrite {
        /// The operation that saw it.
        operation: String,
    },
    /// The search took too long: nothing is proven.
    Undecided {
        /// The key.
        key: String,
        /// Operations on it.
        operations: usize,
        /// The time that was allowed.
        limit: Duration,
    },
}

impl std::error::Error for Violation {}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotLinearizable {
                key,
                explained: (explained, all),
                value,
                seers,
                next,
            } => {
                write!(
                    f,
                    "{key} is not linearizable: {explained} of its {all} operations can be put in \
                     an order, after which its value is {value}; then none of these fits:"
                )?;
                next.iter().try_for_each(|one| write!(f, "\n  {one}"))?;
                if !seers.is_empty() {
                    write!(f, "\nbefore the value is replaced, these want to see it:")?;
                }
                seers.iter().try_for_each(|one| write!(f, "\n  {one}"))
            }
            Self::RevisionWentBack { earlier, later } => write!(
                f,
                "revisions went back: answered first\n  {earlier}\nbegun after it\n  {later}"
            ),
            Self::RevisionIsAmbiguous { key, one, other } => {
                write!(f, "answers about {key} disagree: {one}, and {other}")
            }
            Self::NeverWritten { operation } => {
                write!(f, "a value that nobody wrote was seen: {operation}")
            }
            Self::BeforeItsWrite { operation } => {
                write!(f, "a value was seen before its write began: {operation}")
            }
            Self::Undecided {
                key,
                operations,
                limit,
            } => write!(
                f,
                "undecided: no verdict on {key} with its {operations} operations within {limit:?}"
            ),
        }
    }
}
