//! `raftery ledger verify` as it is run: a node's ledger over HTTP, a real MongoDB, its exit code.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail like the tests themselves"
)]

#[path = "../../node/ledger/tests/server/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with the exporter's tests, which need more of it"
)]
mod server;

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use mongodb::bson::{Document, doc};
use raftery_behaviour::{MemberId, Observation, Reason, Rules, Scoring, Verdict, Window};
use raftery_ledger::{
    Chain, Exporter, Gap, Ledger, LedgerBatch, LedgerPage, LedgerRow, MemberPage, RowPage,
    StandingPage,
};
use serde_json::Value;
use server::MongoServer;

const LINEAGE: &str = "00000000000000aa";
const MEMBERS: [MemberId; 2] = [MemberId(0xa1), MemberId(0xb2)];
/// More than one page.
const BATCHES: u64 = 2_300;
const FIRST_INDEX: u64 = 10;

fn batch(window: u64) -> LedgerBatch {
    let slow = Reason::SlowDisk {
        sync_micros: 90_000,
        median_micros: 1_000,
    };
    let verdict = |(ordinal, member): (usize, &MemberId)| {
        let (points, reason) = match (ordinal, window % 100) {
            (0, _) => (1, Reason::Led),
            (_, 50) => (-8, slow.clone()),
            _ => (1, Reason::AcknowledgedInTime { acknowledged: 10 }),
        };
        Verdict {
            member: *member,
            points,
            reason,
        }
    };
    LedgerBatch {
        rules: Rules::HIGHEST,
        term: 1,
        window: Window(window),
        at_unix_ms: 1_700_000_000_000 + 1_000 * window,
        window_ms: 1_000,
        scoring: (window == 0).then(Scoring::default),
        verdicts: MEMBERS.iter().enumerate().map(verdict).collect(),
        intervals: MEMBERS
            .iter()
            .map(|member| Observation::blank(*member))
            .collect(),
    }
}

/// What a node answers, and may be made to answer wrongly.
#[derive(Clone)]
struct FakeNode(Arc<Mutex<Shown>>);

struct Shown {
    ledger: Ledger,
    rows: Vec<LedgerRow>,
    gaps: Vec<Gap>,
    exported_index: u64,
}

impl FakeNode {
    fn new() -> Self {
        let mut ledger = Ledger::new();
        let mut blocks = HashMap::new();
        for window in 0..BATCHES {
            if let Some((number, bytes)) = ledger.full_block() {
                blocks.insert(number, Bytes::from(bytes));
            }
            ledger.apply_batch(FIRST_INDEX + window, 1, &batch(window), &Scoring::default());
        }
        let block = |number| blocks.get(&number).cloned().ok_or(number);
        let loaded = ledger.rows(0, usize::MAX).load(block).unwrap();
        let rows = loaded.decode().unwrap().rows;
        let exported_index = FIRST_INDEX + BATCHES - 1;
        Self(Arc::new(Mutex::new(Shown {
            ledger,
            rows,
            gaps: Vec::new(),
            exported_index,
        })))
    }

    fn change(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.0.lock().unwrap());
    }

    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/ledger", get(page))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        endpoint
    }
}

async fn page(
    State(node): State<FakeNode>,
    query: Query<HashMap<String, u64>>,
) -> Json<LedgerPage> {
    let shown = node.0.lock().unwrap();
    let from = query.get("from").copied().unwrap_or(u64::MAX);
    let limit = usize::try_from(query.get("limit").copied().unwrap_or(0)).unwrap();
    let rows = shown
        .rows
        .iter()
        .filter(|row| row.index >= from)
        .take(limit);
    let before = shown.rows.iter().rev().find(|row| row.index < from);
    let member = |(id, name): (&MemberId, &str)| MemberPage {
        id: *id,
        name: name.to_owned(),
        standing: shown.ledger.standing(*id).map(StandingPage::from),
    };
    Json(LedgerPage {
        lineage: LINEAGE.to_owned(),
        oldest_index: shown.rows.first().map_or(0, |row| row.index),
        last_index: shown.rows.last().map_or(0, |row| row.index),
        exported_index: shown.exported_index,
        chain_before: Some(before.map_or_else(Chain::default, |row| row.chain)),
        gaps: shown.gaps.clone(),
        scoring: Scoring::default(),
        members: MEMBERS
            .iter()
            .zip(["node-0", "node-1"])
            .map(member)
            .collect(),
        rows: rows.map(RowPage::from).collect(),
    })
}

/// A MongoDB that has it all, and the node that it has it from.
struct Scene {
    server: MongoServer,
    node: FakeNode,
    endpoint: String,
    uri_file: tempfile::NamedTempFile,
}

impl Scene {
    async fn set() -> Self {
        let server = MongoServer::start();
        let node = FakeNode::new();
        let exporter = Exporter::connect(&server.uri(), LINEAGE, None)
            .await
            .unwrap();
        let rows = node.0.lock().unwrap().rows.clone();
        exporter.export(&rows).await.unwrap();
        let uri_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&uri_file, server.uri()).unwrap();
        Self {
            endpoint: node.serve().await,
            server,
            node,
            uri_file,
        }
    }

    async fn collection(&self, name: &str) -> mongodb::Collection<Document> {
        let client = mongodb::Client::with_uri_str(self.server.uri())
            .await
            .unwrap();
        client.database("raftery").collection(name)
    }

    /// Exit code and standard output of `raftery ledger ARGS`.
    async fn raftery(&self, args: &[&str]) -> (i32, String) {
        let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_raftery"))
            .arg("ledger")
            .args(args)
            .args(["--endpoint", &self.endpoint])
            .stderr(Stdio::inherit())
            .output()
            .await
            .unwrap();
        (
            ran.status.code().unwrap(),
            String::from_utf8(ran.stdout).unwrap(),
        )
    }

    async fn verify(&self) -> (i32, Value) {
        let uri_file = self.uri_file.path().display().to_string();
        let (code, text) = self
            .raftery(&["verify", "--mongodb-uri-file", &uri_file, "-o", "json"])
            .await;
        (code, serde_json::from_str(&text).unwrap())
    }
}

#[tokio::test]
async fn what_agrees_is_verified_over_several_pages_and_a_gap_is_told() {
    let scene = Scene::set().await;
    let (code, verified) = scene.verify().await;
    assert_eq!(
        (code, &verified["batches"]),
        (0, &BATCHES.into()),
        "{verified}"
    );
    assert_eq!(verified["documents"], 4 * BATCHES + 1);
    let gap = Gap {
        first_index: 1,
        last_index: 9,
        batches: 4,
    };
    scene.node.change(|shown| shown.gaps.push(gap));
    let (code, verified) = scene.verify().await;
    assert_eq!((code, &verified["gaps"][0]["batches"]), (0, &4.into()));
}

#[tokio::test]
async fn every_difference_is_named_and_ends_with_1() {
    let scene = Scene::set().await;
    let rewards = scene.collection("rewards").await;
    let intervals = scene.collection("intervals").await;
    rewards
        .delete_one(doc! { "_id.index": 50_i64, "_id.ordinal": 1_i64 })
        .await
        .unwrap();
    let better = doc! { "$set": { "points": 1_000 } };
    rewards
        .update_one(
            doc! { "_id.index": 1_500_i64, "_id.ordinal": 0_i64 },
            better,
        )
        .await
        .unwrap();
    let foreign = doc! { "_id": { "lineage": LINEAGE, "index": 60_i64, "ordinal": 9_i64 } };
    intervals.insert_one(foreign).await.unwrap();
    // Another history, and what lies outside of what is retained, are nobody's business here.
    let other =
        doc! { "_id": { "lineage": "00000000000000bb", "index": 60_i64, "ordinal": 0_i64 } };
    let older = doc! { "_id": { "lineage": LINEAGE, "index": 5_i64, "ordinal": 0_i64 } };
    intervals.insert_many([other, older]).await.unwrap();
    scene.node.change(|shown| {
        let row = &mut shown.rows[1_000];
        let mut batch = row.batch.as_ref().clone();
        batch.at_unix_ms += 1;
        row.batch = Arc::new(batch);
    });
    let (code, verified) = scene.verify().await;
    let differences = verified["differences"].as_array().unwrap();
    let mut named: Vec<String> = differences
        .iter()
        .map(|difference| {
            format!(
                "{} {} {}",
                difference["what"], difference["collection"], difference["index"]
            )
        })
        .collect();
    named.sort();
    assert_eq!(code, 1);
    assert_eq!(
        named,
        [
            // The batch that the node shows makes other documents than it once made.
            "\"broken_chain\" null 1010",
            "\"changed\" \"intervals\" 1010",
            "\"changed\" \"intervals\" 1010",
            "\"changed\" \"rewards\" 1010",
            "\"changed\" \"rewards\" 1010",
            "\"changed\" \"rewards\" 1500",
            "\"foreign\" \"intervals\" null",
            "\"missing\" \"rewards\" 50",
        ]
    );
}

#[tokio::test]
async fn a_member_is_explained_by_name_and_by_id_and_a_wrong_one_is_told() {
    let scene = Scene::set().await;
    let (code, by_name) = scene.raftery(&["why", "node-1", "-o", "json"]).await;
    assert_eq!(code, 0);
    let (_, by_id) = scene
        .raftery(&["why", "00000000000000b2", "-o", "json"])
        .await;
    assert_eq!(by_name, by_id);
    let why: Value = serde_json::from_str(&by_name).unwrap();
    assert!(why["rest"].as_f64().unwrap().abs() < 2.0, "{why}");
    assert_eq!(why["verdicts"][1]["reason"], "slow_disk");
    assert_eq!(why["verdicts"][1]["details"]["sync_micros"], 90_000);
    assert_eq!(scene.raftery(&["why", "node-7"]).await.0, 1);
    let (_, exported) = scene.raftery(&["export", "--format", "csv"]).await;
    assert_eq!(exported.lines().count() as u64, 1 + 2 * BATCHES);
    let (_, scores) = scene.raftery(&["scores"]).await;
    assert!(scores.contains("node-1  00000000000000b2"), "{scores}");
}
