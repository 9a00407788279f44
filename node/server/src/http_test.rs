use std::sync::Arc;

use raftery_behaviour::{MemberId, RULES, Reason, Window};
use raftery_ledger::{Chain, LedgerBatch};

use super::*;

async fn text(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("in memory");
    (status, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

#[tokio::test]
async fn probe_that_holds_says_ok() {
    let checks = [("a", Ok(()))];
    assert_eq!(
        text(probe("livez", &checks, false)).await,
        (StatusCode::OK, "ok\n".into())
    );
    let verbose = text(probe("livez", &checks, true)).await;
    assert_eq!(verbose, (StatusCode::OK, "[+]a ok\nok\n".into()));
}

#[tokio::test]
async fn probe_that_fails_says_why() {
    let checks = [("a", Ok(())), ("b", Err("no leader".to_owned()))];
    let (status, body) = text(probe("readyz", &checks, false)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        body,
        "[+]a ok\n[-]b failed: no leader\nreadyz check failed\n"
    );
}

#[tokio::test]
async fn version_reads_like_etcds() {
    let (_, body) = text(version().await).await;
    let expected = format!(
        r#"{{"etcdserver":"{ETCD_API_VERSION}","etcdcluster":"{ETCD_CLUSTER_VERSION}","storage":"{ETCD_CLUSTER_VERSION}"}}"#
    );
    assert_eq!(body, expected);
}

#[test]
fn batch_names_members_in_hexadecimal() {
    let verdict = Verdict {
        member: MemberId(0xab),
        points: -3,
        reason: Reason::HeartbeatsMissed {
            missed: 2,
            acknowledged: 8,
        },
    };
    let row = LedgerRow {
        index: 9,
        chain: Chain::default(),
        batch: Arc::new(LedgerBatch {
            rules: RULES,
            scoring: None,
            term: 2,
            window: Window(3),
            at_unix_ms: 4,
            window_ms: 1000,
            verdicts: vec![verdict],
            intervals: vec![],
        }),
    };
    assert_eq!(
        batch(&row),
        json!({
            "index": 9, "term": 2, "window": 3, "at_unix_ms": 4, "window_ms": 1000,
            "chain": "0".repeat(64), "scoring": null,
            "verdicts": [{
                "member": "00000000000000ab", "kind": "penalty", "points": -3,
                "reason": "heartbeats_missed",
            }],
            "intervals": [],
        })
    );
}
