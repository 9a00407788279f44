//! MongoDB loses what it had.

use mongodb::bson::doc;
use raftery_ledger::{COLLECTIONS, Exporter, REWARDS, SCORINGS};

use super::{Duration, LINEAGE, MongoServer, Running, assert_stored_once, collection, rows};

/// More than the exporter lets pass between two looks.
const LOOKS: u64 = 12;

#[tokio::test]
async fn collections_that_are_dropped_while_it_exports_come_back_with_their_indexes() {
    let server = MongoServer::start();
    let mut running = Running::start(&server.uri());
    running.is_leading.send_replace(true);
    running.source.append(0, 600);
    running.until_exported(599).await;
    for name in COLLECTIONS {
        collection(&server, name).await.drop().await.unwrap();
    }
    for window in 600..600 + LOOKS {
        running.source.append(window, window + 1);
        running.until_exported(window).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_stored_once(&server, 600 + LOOKS as i64).await;
    for name in COLLECTIONS {
        let collection = collection(&server, name).await;
        let indexes = collection.list_index_names().await.unwrap();
        assert_eq!(indexes.len(), 4, "{name}: {indexes:?}");
    }
    let scorings = collection(&server, SCORINGS).await;
    assert_eq!(scorings.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test]
async fn an_older_state_of_mongodb_is_completed_when_the_next_leader_connects() {
    let server = MongoServer::start();
    let mut running = Running::start(&server.uri());
    running.is_leading.send_replace(true);
    running.source.append(0, 900);
    running.until_exported(899).await;
    running.is_leading.send_replace(false);
    let restored = doc! { "window": { "$gte": 400_i64 } };
    for name in COLLECTIONS {
        let collection = collection(&server, name).await;
        collection.delete_many(restored.clone()).await.unwrap();
    }
    running.is_leading.send_replace(true);
    running.source.append(900, 901);
    running.until_exported(900).await;
    assert_stored_once(&server, 901).await;
}

#[tokio::test]
async fn one_document_is_enough_for_a_batch_to_be_missed() {
    let server = MongoServer::start();
    let exporter = Exporter::connect(&server.uri(), LINEAGE, None)
        .await
        .unwrap();
    let rows = rows(0, 20);
    exporter.export(&rows).await.unwrap();
    assert!(!exporter.lacks(&rows).await.unwrap());
    let one = doc! { "window": 7_i64 };
    let rewards = collection(&server, REWARDS).await;
    rewards.delete_one(one).await.unwrap();
    assert!(exporter.lacks(&rows).await.unwrap());
    assert!(!exporter.lacks(&rows[8..]).await.unwrap());
    let scorings = collection(&server, SCORINGS).await;
    scorings.drop().await.unwrap();
    assert!(exporter.lacks(&rows[..1]).await.unwrap());
}
