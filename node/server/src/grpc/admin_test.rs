use std::sync::Arc;

use raftery_behaviour::{self as behaviour, Reason, Rules, Verdict, Window};
use raftery_ledger::{Chain, LedgerBatch, LedgerRow};
use tonic::Code;

use super::*;

fn passes(guard: &Guard, authorization: Option<&str>) -> bool {
    let mut request = Request::new(());
    if let Some(text) = authorization {
        request
            .metadata_mut()
            .insert("authorization", text.parse().expect("ASCII"));
    }
    match guard.clone().call(request) {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::Unauthenticated);
            false
        }
    }
}

#[test]
fn nobody_passes_without_the_token() {
    // Files often end with a line break.
    let guard = Guard::new(Some("secret\n".into()));
    assert!(passes(&guard, Some("Bearer secret")));
    for wrong in [
        None,
        Some(""),
        Some("Bearer "),
        Some("Bearer secre"),
        Some("Bearer secrets"),
        Some("secret"),
        Some("bearer secret"),
    ] {
        assert!(!passes(&guard, wrong), "{wrong:?}");
    }
}

#[test]
fn nobody_passes_an_empty_token() {
    let guard = Guard::new(Some("\n".into()));
    for given in [None, Some(""), Some("Bearer "), Some("Bearer")] {
        assert!(!passes(&guard, given), "{given:?}");
    }
}

#[test]
fn without_a_token_everybody_passes() {
    assert!(passes(&Guard::new(None), None));
}

#[test]
fn caller_is_told_where_the_leader_is() {
    let status = admin_status(RequestError::NotLeader {
        leader: Some(MemberId(0xab)),
    });
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "etcdserver: not leader; leader is ab");
    let status = admin_status(RequestError::NotLeader { leader: None });
    assert_eq!(status.message(), "etcdserver: not leader; leader is 0");
}

fn batch(index: u64, members: u64) -> LedgerRow {
    let verdict = |member| Verdict {
        member: behaviour::MemberId(member),
        points: 1,
        reason: Reason::NotMeasured,
    };
    let batch = LedgerBatch {
        rules: Rules::HIGHEST,
        scoring: None,
        term: 2,
        window: Window(index),
        at_unix_ms: 5,
        window_ms: 1000,
        verdicts: (1..=members).map(verdict).collect(),
        intervals: vec![],
    };
    LedgerRow {
        index,
        chain: Chain::default(),
        batch: Arc::new(batch),
    }
}

#[test]
fn ledger_is_answered_in_whole_batches() {
    let ledger = LedgerRows {
        rows: vec![batch(4, 2), batch(7, 2), batch(9, 2)],
        oldest_index: 4,
        exported_index: 3,
    };
    let places = |rows_max| -> Vec<(u64, u32)> {
        let response = ledger_response(&ledger, rows_max);
        response
            .rows
            .iter()
            .map(|row| (row.index, row.ordinal))
            .collect()
    };
    assert_eq!(places(5), [(4, 0), (4, 1), (7, 0), (7, 1)]);
    assert_eq!(
        places(1),
        [(4, 0), (4, 1)],
        "at least one batch: the caller must get on"
    );
    let row = &ledger_response(&ledger, 1).rows[1];
    assert_eq!(
        (row.member_id, row.points, row.reason.as_str()),
        (2, 1, "not_measured")
    );
    assert_eq!((row.term, row.window, row.at_unix_ms), (2, 4, 5));
}
