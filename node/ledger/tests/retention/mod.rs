//! Documents that expire.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use raftery_ledger::{Archive, Exporter, INTERVALS, LedgerRow, REWARDS, SCORINGS};

use super::{Duration, LINEAGE, MongoServer, collection, rows};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn the_index_that_makes_documents_expire_follows_the_configuration() {
    let server = MongoServer::start();
    let archive = Archive::connect(&server.uri(), LINEAGE).await.unwrap();
    for wanted in [
        None,
        Some(HOUR),
        Some(HOUR),
        Some(48 * HOUR),
        None,
        Some(HOUR),
    ] {
        let exporter = Exporter::connect(&server.uri(), LINEAGE, wanted)
            .await
            .unwrap();
        for name in [REWARDS, INTERVALS] {
            assert_eq!(archive.retention(name).await.unwrap(), wanted, "{name}");
            let collection = collection(&server, name).await;
            let indexes = collection.list_index_names().await.unwrap();
            assert_eq!(indexes.len(), 4, "{indexes:?}");
        }
        assert_eq!(archive.retention(SCORINGS).await.unwrap(), None);
        exporter.export(&rows(0, 2)).await.unwrap();
    }
}

#[tokio::test]
async fn what_has_expired_is_not_missed() {
    let server = MongoServer::start();
    let exporter = Exporter::connect(&server.uri(), LINEAGE, Some(HOUR))
        .await
        .unwrap();
    // They are years old.
    let old = rows(1, 5);
    assert!(!exporter.lacks(&old).await.unwrap());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let mut fresh: Vec<LedgerRow> = old;
    let mut batch = fresh[3].batch.as_ref().clone();
    batch.at_unix_ms = u64::try_from(now).unwrap();
    fresh[3].batch = Arc::new(batch);
    assert!(exporter.lacks(&fresh).await.unwrap());
    exporter.export(&fresh[3..]).await.unwrap();
    assert!(!exporter.lacks(&fresh).await.unwrap());
}
