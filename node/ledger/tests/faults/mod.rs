//! Servers that hang, answer half, or refuse for a reason: the status says which, nothing piles up.

mod cut;
mod fake;

use mongodb::bson::doc;
use raftery_ledger::{COLLECTIONS, ExportError, Exporter};

use super::{Duration, LINEAGE, MongoServer, Running, assert_stored_once, collection, rows};
use fake::{Fake, Manner};

/// The driver's connections of one attempt (two that work, those that watch the server), and what
/// is left of the attempt before.
const CONNECTIONS_MAX: usize = 8;

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_ties_up_nothing() {
    hangs(Manner::Silent, "no answer").await;
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_of_an_answer_ties_up_nothing() {
    hangs(Manner::Half, "didn't answer within 10 s").await;
}

/// The export fails in time and says why, however often it is tried; connections don't add up; and
/// once the node leads no more they are closed.
async fn hangs(manner: Manner, told: &str) {
    let fake = Fake::start(manner).await;
    let mut running = Running::start(&fake.uri());
    running.source.append(0, 5_000);
    running.is_leading.send_replace(true);
    let says = |status: &raftery_ledger::ExportStatus| {
        status
            .last_error
            .as_deref()
            .is_some_and(|error| error.contains(told))
    };
    running.until("the reason", says).await;
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(
            fake.open() <= CONNECTIONS_MAX,
            "{} connections",
            fake.open()
        );
    }
    assert!(fake.accepted() > 2, "it was tried once");
    running.is_leading.send_replace(false);
    let closed = async {
        while fake.open() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(10), closed).await;
    assert!(closed.is_ok(), "{} connections are left", fake.open());
    assert_eq!(running.source.exported_index(), 0);
}

#[tokio::test]
async fn a_slow_server_gets_everything_and_each_write_asks_for_a_journaled_majority() {
    let fake = Fake::start(Manner::Slow(Duration::from_secs(1))).await;
    let exporter = Exporter::connect(&fake.uri(), LINEAGE, None).await.unwrap();
    exporter.export(&rows(0, 50)).await.unwrap();
    let inserts = fake.inserts();
    assert!(inserts.len() >= COLLECTIONS.len(), "{inserts:?}");
    for insert in inserts {
        let concern = insert.get_document("writeConcern").unwrap();
        assert_eq!(concern.get_str("w").unwrap(), "majority", "{insert}");
        assert!(concern.get_bool("j").unwrap(), "{insert}");
        assert!(!insert.get_bool("ordered").unwrap(), "{insert}");
    }
}

/// A whole round is ten times what a connection lasts for: tried again and again as it is, it would
/// never arrive.
#[tokio::test]
async fn what_waits_arrives_in_parts_over_connections_that_soon_break() {
    let server = MongoServer::start();
    let uri = cut::in_front_of(server.port(), 48 << 10).await;
    let mut running = Running::start(&uri);
    running.source.append(0, 300);
    running.is_leading.send_replace(true);
    running.until_exported(299).await;
    assert_stored_once(&server, 300).await;
    // What is exported again after a loss does so as well, and what comes later isn't held up.
    running.is_leading.send_replace(false);
    for name in COLLECTIONS {
        collection(&server, name).await.drop().await.unwrap();
    }
    running.source.append(300, 310);
    running.is_leading.send_replace(true);
    running.until_exported(309).await;
    assert_stored_once(&server, 310).await;
}

#[tokio::test]
async fn a_server_that_refuses_is_told_by_its_reason() {
    let failed = |code: i32, why: &str| doc! { "ok": 0.0, "code": code, "errmsg": why };
    let one_failed = |code: i32, why: &str| {
        let errors = vec![doc! { "index": 0, "code": code, "errmsg": why }];
        doc! { "ok": 1.0, "n": 0, "writeErrors": errors }
    };
    let quota = "you are over your space quota, using 512 MB of 512 MB";
    for (answer, wanted) in [
        (
            failed(14_031, "no space left"),
            "is full: no space left (code 14031)",
        ),
        (
            one_failed(14_031, "no space left"),
            "is full: no space left (code 14031)",
        ),
        (
            failed(12_501, "quota exceeded"),
            "is full: quota exceeded (code 12501)",
        ),
        (
            failed(8_000, quota),
            "is full: you are over your space quota",
        ),
        (
            failed(13, "not authorized"),
            "refuses the user: not authorized",
        ),
        (
            one_failed(121, "failed validation"),
            "refused a document in collection rewards: failed validation (code 121)",
        ),
    ] {
        let fake = Fake::start(Manner::AnswersInserts(answer)).await;
        let exporter = Exporter::connect(&fake.uri(), LINEAGE, None).await.unwrap();
        let told = exporter.export(&rows(0, 2)).await.unwrap_err();
        assert!(told.to_string().contains(wanted), "{told} ({told:?})");
    }
}

#[tokio::test]
async fn a_write_that_is_not_journaled_in_time_is_no_success() {
    let concern = doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out" };
    let answer = doc! { "ok": 1.0, "n": 4, "writeConcernError": concern };
    let fake = Fake::start(Manner::AnswersInserts(answer)).await;
    let exporter = Exporter::connect(&fake.uri(), LINEAGE, None).await.unwrap();
    let told = exporter.export(&rows(0, 2)).await.unwrap_err();
    assert!(matches!(told, ExportError::NotDurable { .. }), "{told:?}");
}
