//! `docs/ledger.md`: its sample is made of real batches, and its queries answer what it says.
//!
//! `RAFTERY_UPDATE_DOCS=1` writes the sample and the answers.

mod sample;

use std::path::PathBuf;

use mongodb::bson::{Bson, Document};
use raftery_ledger::{COLLECTIONS, documents};

use super::{LINEAGE, MongoServer, collection};

const QUERIES: usize = 10;

fn is_updating() -> bool {
    std::env::var_os("RAFTERY_UPDATE_DOCS").is_some()
}

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name)
}

/// Compares a file with what it should be, or makes it so.
fn assert_written(name: &str, wanted: &str) {
    if is_updating() {
        std::fs::write(docs(name), wanted).unwrap();
    }
    let written = std::fs::read_to_string(docs(name)).unwrap();
    assert!(
        written == wanted,
        "docs/{name} is stale: run the tests with RAFTERY_UPDATE_DOCS=1"
    );
}

#[tokio::test]
async fn the_queries_of_the_page_answer_what_it_says() {
    let server = MongoServer::start();
    for name in COLLECTIONS {
        let file = format!("ledger/{name}.jsonl");
        assert_written(&file, &sample_of(name));
        let text = std::fs::read_to_string(docs(&file)).unwrap();
        let documents = text
            .lines()
            .map(|line| serde_json::from_str::<Document>(line).unwrap());
        let collection = collection(&server, name).await;
        collection.insert_many(documents).await.unwrap();
    }
    let page = std::fs::read_to_string(docs("ledger.md")).unwrap();
    let (before, queries) = page.split_once("### 1. ").unwrap();
    let (queries, after) = queries.split_once("\n## ").unwrap();
    let mut wanted = before.to_owned();
    let mut count = 0;
    for section in queries.split("### ") {
        let (_, from_query) = section.split_once("```js\n").unwrap();
        let (query, _) = from_query.split_once("\n```").unwrap();
        let until_query = section.len() - from_query.len() + query.len() + "\n```\n".len();
        let answers = answers(&server, query).await;
        assert!(!answers.is_empty(), "no answer to {query}");
        let heading = if count == 0 { "### 1. " } else { "### " };
        wanted.push_str(&format!(
            "{heading}{}\n```json\n{}\n```\n\n",
            &section[..until_query],
            answers.join("\n")
        ));
        count += 1;
    }
    assert_eq!(count, QUERIES);
    wanted.push_str(&format!("## {after}"));
    assert_written("ledger.md", &wanted);
}

#[test]
fn every_field_of_a_document_is_explained() {
    let page = std::fs::read_to_string(docs("ledger.md")).unwrap();
    let made = documents(LINEAGE, &sample::rows()[0]);
    let all = [made.rewards, made.intervals, made.scorings].concat();
    for field in all.iter().flat_map(|document| document.keys()) {
        // `_p95_us` stands for the others of its kind.
        let short = ["_p95_us", "_max_us"]
            .iter()
            .find_map(|end| field.strip_suffix(end));
        let named = short.map_or_else(|| field.clone(), |kind| format!("{kind}_p50_us"));
        let is_explained = page.contains(&format!("`{named}`")) || named == "_id";
        assert!(is_explained, "{field} isn't in docs/ledger.md");
    }
}

/// Runs `db.COLLECTION.aggregate([...])` as mongosh would.
async fn answers(server: &MongoServer, query: &str) -> Vec<String> {
    let (name, stages) = query
        .strip_prefix("db.")
        .unwrap()
        .split_once(".aggregate(")
        .unwrap();
    let stages = stages.strip_suffix(')').unwrap();
    let stages = stages
        .replace("ISODate(\"", "{\"$date\": \"")
        .replace("\")", "\"}");
    let stages: Vec<Document> = serde_json::from_str(&stages).expect(query);
    let collection = collection(server, name).await;
    let mut cursor = collection.aggregate(stages).await.expect(query);
    let mut answers = Vec::new();
    while cursor.advance().await.unwrap() {
        let answer = cursor.deserialize_current().unwrap();
        answers.push(shown(&Bson::Document(answer)));
    }
    answers
}

/// As people read it: numbers as they are, dates as text.
fn shown(value: &Bson) -> String {
    match value {
        Bson::Int32(number) => number.to_string(),
        Bson::Int64(number) => number.to_string(),
        Bson::Double(number) => number.to_string(),
        Bson::Boolean(is_so) => is_so.to_string(),
        Bson::String(text) => format!("{text:?}"),
        Bson::DateTime(at) => format!("\"{}\"", at.try_to_rfc3339_string().unwrap()),
        Bson::Null => "null".to_owned(),
        Bson::Document(fields) => fields_of(fields, shown),
        other => panic!("{other:?}"),
    }
}

/// The sample of a collection, a document a line, as mongoimport takes it.
fn sample_of(name: &str) -> String {
    let mut text = String::new();
    for row in sample::rows() {
        let made = documents(LINEAGE, &row);
        let made = match name {
            "rewards" => made.rewards,
            "intervals" => made.intervals,
            _ => made.scorings,
        };
        for document in made {
            text.push_str(&extended(&Bson::Document(document)));
            text.push('\n');
        }
    }
    text
}

/// MongoDB's extended JSON, which keeps the types and so the hash.
fn extended(value: &Bson) -> String {
    match value {
        Bson::Int64(number) => format!("{{\"$numberLong\": \"{number}\"}}"),
        Bson::DateTime(_) => format!("{{\"$date\": {}}}", shown(value)),
        Bson::Document(fields) => fields_of(fields, extended),
        other => shown(other),
    }
}

fn fields_of(fields: &Document, shown: fn(&Bson) -> String) -> String {
    let field = |(name, value): (&String, &Bson)| format!("\"{name}\": {}", shown(value));
    format!(
        "{{{}}}",
        fields.iter().map(field).collect::<Vec<_>>().join(", ")
    )
}
