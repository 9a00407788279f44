//! A MongoDB for the tests (`secantusd-rs`, a server that speaks its protocol), and the rows
//! that the exporter left in one.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::process::Process;
use crate::{environment, wait};

const DATABASE: &str = "raftery";

/// A stand-in that can be stopped and started with its data kept.
pub struct StandIn {
    port: u16,
    directory: PathBuf,
    process: Option<Process>,
}

impl StandIn {
    /// Starts it with its data in `directory`, and waits until it answers.
    pub async fn start(port: u16, directory: &Path) -> Result<Self> {
        let mut it = Self {
            port,
            directory: directory.to_owned(),
            process: None,
        };
        it.start_again().await?;
        Ok(it)
    }

    /// Starts it with the data that it had.
    pub async fn start_again(&mut self) -> Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let mut command = Command::new(environment::mongodb_stand_in()?);
        command
            .arg("--port")
            .arg(self.port.to_string())
            .arg("--storage-path")
            .arg(&self.directory)
            // without the last one it acknowledges what it can lose
            .args(["--cache-size", "256M", "--sync-on-commit"]);
        let log = self.directory.with_extension("log");
        self.process = Some(Process::start("the MongoDB stand-in", &command, &log)?);
        wait::until("MongoDB answers", Duration::from_secs(30), async || {
            rows(&self.uri(), "rewards").await
        })
        .await?;
        Ok(())
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// How clients connect.
    #[must_use]
    pub fn uri(&self) -> String {
        uri(self.port)
    }
}

/// Stands between exporters and a MongoDB, and cuts every connection after a random number of
/// bytes, in either direction, wherever in a message that is.
pub struct Cutter {
    port: u16,
    cuts: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

/// A connection is cut after at most two to the power of these: its greeting is some hundred bytes,
/// a window's documents are some thousand, and what waits after a while is some hundred thousand.
const CUT_AFTER_BITS: RangeInclusive<u32> = 7..=20;

impl Cutter {
    /// Stands in front of the MongoDB at this port of this machine.
    pub async fn in_front_of(mongodb: &StandIn) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let cuts = Arc::new(AtomicU64::new(0));
        let (counted, behind) = (Arc::clone(&cuts), mongodb.port);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                connections.spawn(async move {
                    // A MongoDB that is dead is one of the things that a client must bear.
                    if let Ok(true) = pass(client, behind).await {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Ok(Self {
            port,
            cuts,
            _task: task,
        })
    }

    /// How clients connect.
    #[must_use]
    pub fn uri(&self) -> String {
        uri(self.port)
    }

    /// How many connections were cut in the middle.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Passes on what fits; gives whether it was cut, and not left by one of the two.
async fn pass(mut client: TcpStream, port: u16) -> std::io::Result<bool> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (from_client, mut to_client) = client.split();
    let (from_server, mut to_server) = server.split();
    let bytes = || fastrand::u64(1..1 << fastrand::u32(CUT_AFTER_BITS));
    let (there, back) = (bytes(), bytes());
    let (mut asked, mut answered) = (from_client.take(there), from_server.take(back));
    tokio::select! {
        passed = tokio::io::copy(&mut asked, &mut to_server) => Ok(passed? == there),
        passed = tokio::io::copy(&mut answered, &mut to_client) => Ok(passed? == back),
    }
}

fn uri(port: u16) -> String {
    format!("mongodb://127.0.0.1:{port}/?directConnection=true")
}

/// All documents of one of the exporter's collections, in the order of the ledger.
pub async fn rows(uri: &str, collection: &str) -> Result<Vec<Document>> {
    newest_rows(uri, collection, 0).await
}

/// The last `limit` documents of a collection (0: all), in the order of the ledger.
pub async fn newest_rows(uri: &str, collection: &str, limit: i64) -> Result<Vec<Document>> {
    let mut options = ClientOptions::parse(uri).await?;
    options.server_selection_timeout = Some(Duration::from_secs(2));
    let client = mongodb::Client::with_options(options)?;
    let found = client
        .database(DATABASE)
        .collection::<Document>(collection)
        .find(doc! {})
        .sort(doc! { "_id.index": -1, "_id.ordinal": -1 })
        .limit(limit)
        .await
        .with_context(|| format!("reading {DATABASE}.{collection}"))?;
    let mut rows: Vec<Document> = found.try_collect().await?;
    rows.reverse();
    client.shutdown().await;
    Ok(rows)
}

/// A number of a document, whichever of MongoDB's types it has.
pub fn number(row: &Document, path: &str) -> Result<i64> {
    let mut document = row;
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        document = document.get_document(parent)?;
    }
    let value = document
        .get(last)
        .with_context(|| format!("no {path} in {row}"))?;
    match (value.as_i64(), value.as_i32()) {
        (Some(number), _) => Ok(number),
        (_, Some(number)) => Ok(i64::from(number)),
        (None, None) => anyhow::bail!("{path} isn't an integer: {value}"),
    }
}
