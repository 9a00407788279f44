//! The exporter against a real server: nothing missing, nothing twice, whatever dies.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail like the tests themselves"
)]

mod documentation;
mod faults;
mod losses;
mod retention;
mod server;
mod tls;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection};
use raftery_behaviour::{MemberId, Observation, Reason, Rules, Scoring, Verdict, Window};
use raftery_ledger::{
    Batches, Chain, ExportError, ExportLoop, ExportSettings, ExportStatus, Exporter, INTERVALS,
    Ledger, LedgerBatch, LedgerRow, MarkError, REWARDS, ReadError, Rows, SCHEMA, Source,
};
use raftery_rig::ports::free_port;
use server::MongoServer;
use tokio::sync::{Notify, watch};

const LINEAGE: &str = "00000000000000aa";
/// How long a test waits for what should happen at once.
const PATIENCE: Duration = Duration::from_secs(60);
/// Verdicts and intervals in each batch.
const FOLLOWERS: u64 = 2;

fn batch(window: u64) -> LedgerBatch {
    let member = |at: u64| MemberId(0xf0 + at);
    let verdict = |at| Verdict {
        member: member(at),
        points: 1,
        reason: Reason::AcknowledgedInTime { acknowledged: 10 },
    };
    let interval = |at| Observation {
        heartbeats_sent: 10,
        heartbeats_acknowledged: 10,
        lag_entries: window,
        last_heard_ms: Some(3),
        ..Observation::blank(member(at))
    };
    LedgerBatch {
        rules: Rules::HIGHEST,
        scoring: (window == 0).then(Scoring::default),
        term: 1,
        window: Window(window),
        at_unix_ms: 1_700_000_000_000 + window * 1000,
        window_ms: 1000,
        verdicts: (0..FOLLOWERS).map(verdict).collect(),
        intervals: (0..FOLLOWERS).map(interval).collect(),
    }
}

/// The batches of the windows `from..to`; window `n` lies at index `10 + n`.
fn rows(from: u64, to: u64) -> Vec<LedgerRow> {
    (from..to)
        .map(|at| LedgerRow {
            index: 10 + at,
            chain: Chain::default(),
            batch: Arc::new(batch(at)),
        })
        .collect()
}

async fn collection(server: &MongoServer, name: &str) -> Collection<Document> {
    collection_at(&server.uri(), name).await
}

async fn collection_at(uri: &str, name: &str) -> Collection<Document> {
    let client = Client::with_uri_str(uri).await.unwrap();
    client.database("raftery").collection(name)
}

/// The windows stored, one for each document, in order.
async fn stored_windows(server: &MongoServer, name: &str) -> Vec<i64> {
    stored_windows_at(&server.uri(), name).await
}

async fn stored_windows_at(uri: &str, name: &str) -> Vec<i64> {
    let collection = collection_at(uri, name).await;
    let mut cursor = collection.find(doc! {}).await.unwrap();
    let mut windows = Vec::new();
    while cursor.advance().await.unwrap() {
        windows.push(
            cursor
                .deserialize_current()
                .unwrap()
                .get_i64("window")
                .unwrap(),
        );
    }
    windows.sort_unstable();
    windows
}

/// Each window of `0..count` once for each follower, in both collections.
async fn assert_stored_once(server: &MongoServer, count: i64) {
    let expected: Vec<i64> = (0..count)
        .flat_map(|window| [window; FOLLOWERS as usize])
        .collect();
    for name in [REWARDS, INTERVALS] {
        assert!(
            stored_windows(server, name).await == expected,
            "windows of {name} differ"
        );
    }
}

#[tokio::test]
async fn exporting_twice_leaves_no_duplicates() {
    let server = MongoServer::start();
    let exporter = Exporter::connect(&server.uri(), LINEAGE, None)
        .await
        .unwrap();
    exporter.export(&rows(0, 300)).await.unwrap();
    exporter.export(&rows(0, 300)).await.unwrap();
    // Another leader begins where it last heard of the cursor.
    let other = Exporter::connect(&server.uri(), LINEAGE, None)
        .await
        .unwrap();
    other.export(&rows(250, 700)).await.unwrap();
    assert_stored_once(&server, 700).await;
    let indexes = collection(&server, REWARDS)
        .await
        .list_index_names()
        .await
        .unwrap();
    assert_eq!(indexes.len(), 4, "{indexes:?}");
}

#[tokio::test]
async fn another_lineage_is_another_history() {
    let server = MongoServer::start();
    for lineage in [LINEAGE, "00000000000000bb"] {
        let exporter = Exporter::connect(&server.uri(), lineage, None)
            .await
            .unwrap();
        exporter.export(&rows(0, 3)).await.unwrap();
    }
    assert_eq!(stored_windows(&server, REWARDS).await.len(), 12);
}

#[tokio::test]
async fn a_foreign_document_under_our_id_is_an_error() {
    let server = MongoServer::start();
    let exporter = Exporter::connect(&server.uri(), LINEAGE, None)
        .await
        .unwrap();
    let id = doc! { "lineage": LINEAGE, "index": 12_i64, "ordinal": 1_i64 };
    for foreign in [
        doc! { "_id": id.clone() },
        doc! { "_id": id.clone(), "hash": "not ours" },
    ] {
        let intervals = collection(&server, INTERVALS).await;
        intervals
            .delete_many(doc! { "_id": id.clone() })
            .await
            .unwrap();
        intervals.insert_one(foreign).await.unwrap();
        let error = exporter.export(&rows(0, 5)).await.unwrap_err();
        let ExportError::ForeignDocument { collection, id } = &error else {
            panic!("{error}")
        };
        assert_eq!(*collection, INTERVALS);
        assert!(id.contains(LINEAGE) && id.contains("12"), "{id}");
    }
    // All others were written nevertheless.
    assert_eq!(stored_windows(&server, REWARDS).await.len(), 10);
    let hashed = doc! { "schema": SCHEMA };
    let ours = collection(&server, INTERVALS)
        .await
        .count_documents(hashed)
        .await
        .unwrap();
    assert_eq!(ours, 9);
}

#[tokio::test]
async fn the_database_is_the_one_that_the_uri_names() {
    let server = MongoServer::start();
    let uri = format!(
        "mongodb://127.0.0.1:{}/elsewhere?directConnection=true",
        server.port()
    );
    let exporter = Exporter::connect(&uri, LINEAGE, None).await.unwrap();
    exporter.export(&rows(0, 2)).await.unwrap();
    let client = Client::with_uri_str(&uri).await.unwrap();
    let rewards: Collection<Document> = client.database("elsewhere").collection(REWARDS);
    assert_eq!(rewards.count_documents(doc! {}).await.unwrap(), 4);
    assert!(stored_windows(&server, REWARDS).await.is_empty());
}

#[tokio::test]
async fn errors_say_in_plain_words_what_is_wrong_and_never_the_password() {
    let error = Exporter::connect("mongodb://u:se@cret@/x", LINEAGE, None)
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::Uri { .. }), "{error}");
    assert!(!error.to_string().contains("cret"), "{error}");

    let uri = format!("mongodb://u:secret@127.0.0.1:{}/", free_port());
    let error = Exporter::connect(&uri, LINEAGE, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("can't be reached: connection refused"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");

    let missing = Path::new("/nonexistent/uri");
    let error = Exporter::connect_from_file(missing, LINEAGE, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nonexistent/uri"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_server_that_is_down() {
    let mut server = MongoServer::start();
    let client = Client::with_uri_str(server.uri()).await.unwrap();
    let roles = ["readWriteAnyDatabase"];
    let user = doc! { "createUser": "exporter", "pwd": "right", "roles": roles.as_slice() };
    client.database("admin").run_command(user).await.unwrap();
    server.restart_with(&["--auth"]);
    let uri = |password: &str| {
        let port = server.port();
        format!("mongodb://exporter:{password}@127.0.0.1:{port}/?directConnection=true")
    };
    let error = Exporter::connect(&uri("wr0ng"), LINEAGE, None)
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::Auth { .. }), "{error:?}");
    assert!(!error.to_string().contains("wr0ng"), "{error}");
    let exporter = Exporter::connect(&uri("right"), LINEAGE, None)
        .await
        .unwrap();
    exporter.export(&rows(0, 2)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_stopped_answering_holds_nothing_up_for_long() {
    let mut server = MongoServer::start();
    let exporter = Exporter::connect(&server.uri(), LINEAGE, None)
        .await
        .unwrap();
    exporter.export(&rows(0, 2)).await.unwrap();
    server.freeze();
    let error = tokio::time::timeout(PATIENCE, exporter.export(&rows(2, 4)))
        .await
        .unwrap();
    let error = error.unwrap_err();
    let is_expected = matches!(
        error,
        ExportError::TimedOut { .. } | ExportError::Unreachable { .. }
    );
    assert!(is_expected, "{error:?}");
    server.thaw();
    let exporter = Exporter::connect(&server.uri(), LINEAGE, None)
        .await
        .unwrap();
    exporter.export(&rows(0, 4)).await.unwrap();
    assert_stored_once(&server, 4).await;
}

/// A ledger with its disk.
#[derive(Default)]
struct Kept {
    ledger: Ledger,
    blocks: HashMap<u64, Bytes>,
}

impl Kept {
    fn decode(&self, rows: Rows) -> Result<Vec<LedgerRow>, ReadError> {
        let block = |number| self.blocks.get(&number).cloned().ok_or(number);
        Ok(rows.load(block).unwrap().decode().unwrap().rows)
    }
}

/// A ledger as the server would hold it: the cursor moves when it is "replicated".
#[derive(Clone, Default)]
struct Replicated(Arc<Shared>);

#[derive(Default)]
struct Shared {
    kept: Mutex<Kept>,
    changed: Notify,
}

impl Replicated {
    fn append(&self, from: u64, to: u64) {
        for row in rows(from, to) {
            let mut kept = self.0.kept.lock().unwrap();
            if let Some((number, bytes)) = kept.ledger.full_block() {
                kept.blocks.insert(number, Bytes::from(bytes));
            }
            kept.ledger
                .apply_batch(row.index, 1, &row.batch, &Scoring::default());
        }
        self.0.changed.notify_one();
    }

    fn exported_index(&self) -> u64 {
        self.0.kept.lock().unwrap().ledger.exported_index()
    }
}

impl Source for Replicated {
    async fn next_batches(&self, max: usize) -> Result<Batches, ReadError> {
        loop {
            let changed = self.0.changed.notified();
            {
                let kept = self.0.kept.lock().unwrap();
                let pending = kept.ledger.pending();
                if pending > 0 {
                    let cursor = kept.ledger.exported_index();
                    let rows = kept.decode(kept.ledger.batches_after(cursor, max))?;
                    return Ok(Batches { rows, pending });
                }
            }
            changed.await;
        }
    }

    async fn mark_exported(&self, index: u64) -> Result<(), MarkError> {
        self.0.kept.lock().unwrap().ledger.mark_exported(index);
        Ok(())
    }

    async fn exported_samples(&self, since_unix_ms: u64) -> Result<Vec<LedgerRow>, ReadError> {
        let kept = self.0.kept.lock().unwrap();
        kept.decode(kept.ledger.exported_samples(since_unix_ms))
    }

    async fn exported_after(&self, index: u64, max: usize) -> Result<Vec<LedgerRow>, ReadError> {
        let kept = self.0.kept.lock().unwrap();
        kept.decode(kept.ledger.exported_after(index, max))
    }
}

/// An export loop under test, with its files.
struct Running {
    source: Replicated,
    uri_file: tempfile::NamedTempFile,
    is_leading: watch::Sender<bool>,
    status: watch::Receiver<ExportStatus>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(uri: &str) -> Self {
        let uri_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&uri_file, format!("{uri}\n")).unwrap();
        let source = Replicated::default();
        let (is_leading, leading) = watch::channel(false);
        let settings = ExportSettings {
            uri_file: uri_file.path().to_owned(),
            lineage: LINEAGE.to_owned(),
            retention: None,
        };
        let (export, status) = ExportLoop::new(settings, source.clone(), leading);
        let task = tokio::spawn(export.run());
        Self {
            source,
            uri_file,
            is_leading,
            status,
            task,
        }
    }

    async fn until(&mut self, what: &str, is_met: impl FnMut(&ExportStatus) -> bool) {
        let met = tokio::time::timeout(PATIENCE, self.status.wait_for(is_met)).await;
        let is_met = met.is_ok();
        drop(met);
        assert!(is_met, "{what} never came: {:?}", self.status.borrow());
    }

    /// The index of the window's batch was exported.
    async fn until_exported(&mut self, window: u64) {
        self.until("the export", |status| status.exported_index >= 10 + window)
            .await;
    }
}

#[tokio::test]
async fn killing_the_server_in_the_middle_of_the_export_loses_nothing() {
    let mut server = MongoServer::start();
    let mut running = Running::start(&server.uri());
    running.is_leading.send_replace(true);
    running.source.append(0, 4_000);
    for killed_at in [500, 1_500, 2_500] {
        running.until_exported(killed_at).await;
        server.kill();
        running
            .until("the failure", |status| status.last_error.is_some())
            .await;
        server.restart_with(&[]);
    }
    running.until_exported(3_999).await;
    let status = running.status.borrow().clone();
    assert_eq!((status.last_error, status.pending), (None, 0));
    assert!(status.last_success_unix_ms.is_some());
    assert_stored_once(&server, 4_000).await;
}

#[tokio::test]
async fn only_the_leader_exports_and_a_deposed_one_stops() {
    let server = MongoServer::start();
    let mut running = Running::start(&server.uri());
    running.source.append(0, 10);
    running.is_leading.send_replace(true);
    running.until_exported(9).await;
    running.is_leading.send_replace(false);
    running
        .until("the end", |status| *status == ExportStatus::default())
        .await;
    running.source.append(10, 20);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_stored_once(&server, 10).await;
    running.is_leading.send_replace(true);
    running.until_exported(19).await;
    assert_stored_once(&server, 20).await;
    drop(running.is_leading);
    tokio::time::timeout(PATIENCE, running.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_wrong_address_shows_in_the_status_and_a_corrected_file_mends_it() {
    let server = MongoServer::start();
    let wrong = format!("mongodb://127.0.0.1:{}/", free_port());
    let mut running = Running::start(&wrong);
    running.is_leading.send_replace(true);
    running.source.append(0, 10);
    let refused = |status: &ExportStatus| {
        status
            .last_error
            .as_deref()
            .is_some_and(|error| error.contains("connection refused"))
    };
    running.until("the refusal", refused).await;
    std::fs::write(&running.uri_file, server.uri()).unwrap();
    running.until_exported(9).await;
    assert_eq!(running.status.borrow().last_error, None);
    assert_stored_once(&server, 10).await;
}
