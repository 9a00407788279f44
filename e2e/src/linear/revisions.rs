//! Revisions cover all keys and only grow; so an answer's revision is at least that of every
//! answer that was there before its request began, and a write's is greater. Cheap, and it sees
//! what a search key by key doesn't: a new value of one key, then an old value of another.

use std::collections::BTreeMap;

use super::error::Violation;
use super::history::{Answer, History, Operation};

/// Checks the revisions of a history.
pub(super) fn check(history: &History) -> Result<(), Violation> {
    never_go_back(history)?;
    one_write_each(history)
}

fn never_go_back(history: &History) -> Result<(), Violation> {
    let answered = |operation: &&Operation| operation.answer != Answer::Unknown;
    let mut invoked: Vec<_> = history.operations.iter().filter(answered).collect();
    let mut returned = invoked.clone();
    invoked.sort_by_key(|operation| operation.invoked);
    returned.sort_by_key(|operation| operation.returned);
    let mut returned = returned.into_iter().peekable();
    let mut newest: Option<(i64, &Operation)> = None;
    for later in invoked {
        while let Some(earlier) = returned.next_if(|one| one.returned < later.invoked) {
            let revision = earlier.answer.revision().unwrap_or_default();
            if newest.is_none_or(|(known, _)| known < revision) {
                newest = Some((revision, earlier));
            }
        }
        let Some((known, earlier)) = newest else {
            continue;
        };
        let is_older = match later.answer {
            Answer::Written { revision } => revision <= known,
            Answer::Got { revision, .. } | Answer::Differed { revision, .. } => revision < known,
            Answer::Unknown => false,
        };
        if is_older {
            return Err(Violation::RevisionWentBack {
                earlier: earlier.to_string(),
                later: later.to_string(),
            });
        }
    }
    Ok(())
}

/// Whatever says that a value was written at a revision says the same one, and two writes never
/// share a revision, on whatever keys.
fn one_write_each(history: &History) -> Result<(), Violation> {
    let mut at: BTreeMap<i64, (u64, &Operation)> = BTreeMap::new();
    let mut of: BTreeMap<u64, (i64, &Operation)> = BTreeMap::new();
    for operation in &history.operations {
        let Some((value, revision)) = operation.shows() else {
            continue;
        };
        let (known_value, by_revision) = *at.entry(revision).or_insert((value, operation));
        let (known_revision, by_value) = *of.entry(value).or_insert((revision, operation));
        let other = if known_value != value {
            by_revision
        } else if known_revision != revision {
            by_value
        } else {
            continue;
        };
        return Err(Violation::RevisionIsAmbiguous {
            key: operation.key.clone(),
            one: other.to_string(),
            other: operation.to_string(),
        });
    }
    Ok(())
}
