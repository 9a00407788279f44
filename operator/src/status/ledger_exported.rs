//! `LedgerExported`: verdicts and intervals reach MongoDB. Absent when none is configured.

use super::Inputs;
use super::conditions::Verdict;

pub(super) fn condition(inputs: &Inputs<'_>) -> Option<Verdict> {
    let view = &inputs.view;
    view.desired.mongodb.as_ref()?;
    if !view.observed.mongodb.has_uri {
        let message = "the Secret with MongoDB's connection string, or its key, doesn't exist";
        return Some(Verdict::no("SecretMissing", message));
    }
    let Some(leader) = view.leader else {
        return Some(Verdict::unknown("NoLeader", "only a leader exports"));
    };
    let ledger = &leader.identity.ledger;
    Some(if !ledger.mongodb {
        Verdict::no(
            "NotConfigured",
            "the leader runs without MongoDB until it is rolled",
        )
    } else if ledger.error.is_empty() {
        let message = format!("the leader exports to MongoDB{}", lost(ledger.lost));
        Verdict::yes("Exported", message)
    } else {
        let message = format!("{}{}", ledger.error, lost(ledger.lost));
        Verdict::no("ExportFailing", message)
    })
}

/// Without their number, which rises all the time while MongoDB is away: the status has it.
fn lost(windows: u64) -> &'static str {
    match windows {
        0 => "",
        _ => {
            "; windows are missing there (status.ledgerWindowsLost), because it was away for longer \
             than members keep them"
        }
    }
}
