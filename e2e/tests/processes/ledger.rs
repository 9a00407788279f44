//! The ledger and its export, with MongoDB and leaders dying.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use mongodb::bson::Document;
use raftery_e2e::bare::{Cluster, Node};
use raftery_e2e::mongo::{self, StandIn, number};
use raftery_e2e::outcome::Outcome;
use raftery_e2e::ports::free_port;
use raftery_e2e::report::Progress;
use raftery_e2e::{environment, http, wait};
use raftery_proto::admin::{ClusterConfig, LedgerRow, Points};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::beside_others;

const LIMIT: Duration = Duration::from_secs(60);
const OUTAGE: Duration = Duration::from_secs(30);
const WINDOWS_IN_OUTAGE_MIN: usize = 20;

/// Windows by the term of the leader that judged.
type Windows = BTreeMap<u64, BTreeSet<u64>>;

#[tokio::test(flavor = "multi_thread")]
async fn rewards_and_intervals_equal_the_ledger_after_mongodb_was_gone_and_leaders_died() -> Outcome
{
    let _others = beside_others().await;
    let progress = Progress::default();
    let mut cluster = Cluster::new(3)?;
    let mut mongodb = StandIn::start(free_port(), &cluster.directory().join("mongodb")).await?;
    cluster.export_to(&mongodb.uri())?;
    cluster.start().await?;
    wait::until("rows arrive", LIMIT, async || {
        let rows = mongo::rows(&mongodb.uri(), "rewards").await?;
        ensure!(rows.len() >= 6, "{} rows", rows.len());
        Ok(())
    })
    .await?;

    progress.say("MongoDB is stopped");
    mongodb.stop();
    let stopped = unix_ms();
    tokio::time::sleep(OUTAGE / 2).await;
    let (leader, status) = cluster.leader(LIMIT).await?;
    assert!(
        status.ledger.is_some_and(|ledger| !ledger.error.is_empty()),
        "no error is shown"
    );
    progress.say(format!(
        "the leader, {}, is killed",
        cluster.nodes[leader].name
    ));
    cluster.nodes[leader].kill()?;
    tokio::time::sleep(OUTAGE / 4).await;
    cluster.nodes[leader].start()?;
    tokio::time::sleep(OUTAGE / 4).await;
    let started = unix_ms();
    mongodb.start_again().await?;
    progress.say("MongoDB is back; once more a leader is killed, while it catches up");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (leader, _) = cluster.leader(LIMIT).await?;
    cluster.nodes[leader].kill()?;
    cluster.nodes[leader].start()?;
    cluster.all_caught_up(LIMIT).await?;

    // The ledger never rests: what it had up to here is to be found in MongoDB.
    let (until, _) = wait::until("the newest leader judges", LIMIT, async || {
        let (leader, status) = cluster.leader(Duration::from_secs(2)).await?;
        let rows = cluster.nodes[leader].admin()?.ledger().await?;
        let last = rows.last().context("no rows")?;
        ensure!(
            last.term == status.term,
            "term {} of {}",
            last.term,
            status.term
        );
        Ok(last.index)
    })
    .await?;
    wait::until("everything up to here is exported", LIMIT, async || {
        let (_, status) = cluster.leader(Duration::from_secs(2)).await?;
        let ledger = status.ledger.unwrap_or_default();
        ensure!(
            ledger.exported_index >= until && ledger.error.is_empty(),
            "{ledger:?}, {until}"
        );
        Ok(())
    })
    .await?;

    let mut ledgers = Vec::new();
    for node in &cluster.nodes {
        let mut rows = node.admin()?.ledger().await?;
        rows.retain(|row| row.index <= until);
        ledgers.push(rows);
    }
    assert!(
        ledgers.windows(2).all(|pair| pair[0] == pair[1]),
        "members' ledgers differ"
    );
    let ledger = &ledgers[0];
    let rewards = exported(&mongodb, "rewards", until).await?;
    let intervals = exported(&mongodb, "intervals", until).await?;

    let windows = windows_of_ledger(ledger);
    for (term, numbers) in &windows {
        let span = numbers
            .last()
            .zip(numbers.first())
            .map_or(0, |(last, first)| last - first + 1);
        assert_eq!(
            span,
            numbers.len() as u64,
            "term {term} has a gap: {numbers:?}"
        );
    }
    assert_eq!(windows_of_rows(&rewards)?, windows, "windows of rewards");
    assert_eq!(
        windows_of_rows(&intervals)?,
        windows,
        "windows of intervals"
    );
    assert_eq!(verdicts_of_rows(&rewards)?, verdicts_of_ledger(ledger));
    let outage = ledger
        .iter()
        .filter(|row| (stopped..started).contains(&row.at_unix_ms));
    let outage: BTreeSet<_> = outage.map(|row| (row.term, row.window)).collect();
    assert!(
        outage.len() >= WINDOWS_IN_OUTAGE_MIN,
        "{} windows in the outage",
        outage.len()
    );
    progress.say(format!(
        "{} windows in {} terms, {} of them in the outage, {} rows in rewards, {} in intervals",
        windows.values().map(BTreeSet::len).sum::<usize>(),
        windows.len(),
        outage.len(),
        rewards.len(),
        intervals.len(),
    ));
    Ok(())
}

/// Rows of batches up to `until`; none is there twice.
async fn exported(mongodb: &StandIn, collection: &str, until: u64) -> Result<Vec<Document>> {
    let mut found = Vec::new();
    let mut places = BTreeSet::new();
    for row in mongo::rows(&mongodb.uri(), collection).await? {
        let index = number(&row, "_id.index")?;
        let place = (index, number(&row, "_id.ordinal")?);
        ensure!(
            places.insert(place),
            "{collection}: {place:?} is there twice"
        );
        if index as u64 <= until {
            found.push(row);
        }
    }
    Ok(found)
}

fn windows_of_ledger(rows: &[LedgerRow]) -> Windows {
    let mut windows = Windows::new();
    for row in rows {
        windows.entry(row.term).or_default().insert(row.window);
    }
    windows
}

fn windows_of_rows(rows: &[Document]) -> Result<Windows> {
    let mut windows = Windows::new();
    for row in rows {
        let term = number(row, "term")? as u64;
        windows
            .entry(term)
            .or_default()
            .insert(number(row, "window")? as u64);
    }
    Ok(windows)
}

/// Term, window and points of every verdict, each as often as it is there.
fn verdicts_of_ledger(rows: &[LedgerRow]) -> Vec<(i64, i64, i64, i64)> {
    let verdicts = rows.iter().map(|row| {
        (
            row.index as i64,
            row.term as i64,
            row.window as i64,
            i64::from(row.points),
        )
    });
    sorted(verdicts.collect())
}

fn verdicts_of_rows(rows: &[Document]) -> Result<Vec<(i64, i64, i64, i64)>> {
    let verdicts = rows.iter().map(|row| {
        Ok((
            number(row, "_id.index")?,
            number(row, "term")?,
            number(row, "window")?,
            number(row, "points")?,
        ))
    });
    Ok(sorted(verdicts.collect::<Result<_>>()?))
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_mongodb_address_leaves_the_cluster_serving_and_is_shown() -> Outcome {
    let _others = beside_others().await;
    let mut cluster = Cluster::new(3)?;
    let nobody = free_port();
    cluster.export_to(&format!(
        "mongodb://127.0.0.1:{nobody}/?directConnection=true"
    ))?;
    cluster.start().await?;
    wait::until("the error is shown", LIMIT, async || {
        let (_, status) = cluster.leader(Duration::from_secs(2)).await?;
        let ledger = status.ledger.unwrap_or_default();
        ensure!(
            ledger.mongodb && !ledger.error.is_empty() && ledger.pending > 2,
            "{ledger:?}"
        );
        ensure!(
            ledger.error.contains(&nobody.to_string()),
            "no address in {:?}",
            ledger.error
        );
        Ok(())
    })
    .await?;
    let mut client = cluster.nodes[0].client().await?;
    client.put("still", "serving", None).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mongodb_the_ledger_is_read_from_every_node() -> Outcome {
    let _others = beside_others().await;
    let cluster = Cluster::started(3).await?;
    for node in &cluster.nodes {
        wait::until("verdicts are there", LIMIT, async || {
            let rows = node.admin()?.ledger().await?;
            ensure!(rows.len() >= 6, "{} rows", rows.len());
            ensure!(rows.iter().all(|row| !row.reason.is_empty()), "{rows:?}");
            let (status, page) =
                http::get(&format!("{}/ledger?from=0&limit=4", node.metrics_url())).await?;
            ensure!(status == 200, "{status}: {page}");
            let page: serde_json::Value = serde_json::from_str(&page)?;
            let listed = page["rows"].as_array().map_or(0, Vec::len);
            ensure!(listed > 0 && listed <= 4, "{page}");
            let ledger = node.admin()?.status().await?.ledger.unwrap_or_default();
            let is_fresh = ledger.judged_ago_ms.is_some_and(|ago| ago < 10_000);
            ensure!(is_fresh, "{ledger:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_way_of_judging_is_the_same_on_all_members_and_stands_in_the_ledger() -> Outcome {
    let _others = beside_others().await;
    let cluster = Cluster::started(3).await?;
    let (leader, before) = cluster.leader(LIMIT).await?;
    let leader = cluster.nodes[leader].admin()?;
    wait::until("a window is judged as ever", LIMIT, async || {
        ensure!(!leader.ledger().await?.is_empty(), "none yet");
        Ok(())
    })
    .await?;
    let worth = |restarted| ClusterConfig {
        slow_ratio: Some(5),
        points: Some(Points {
            restarted: Some(restarted),
            ..Points::default()
        }),
        ..ClusterConfig::default()
    };
    let refused = leader.configure(worth(1_001)).await;
    let refused = format!("{:#}", refused.err().context("it was taken")?);
    assert!(refused.contains("points.restarted is 1001"), "{refused}");
    leader.configure(worth(77)).await?;

    let mut expected = before.cluster_config.context("no configuration")?;
    expected.slow_ratio = Some(5);
    let points = expected.points.as_mut().context("no points")?;
    points.restarted = Some(77);
    for node in &cluster.nodes {
        wait::until("it judges the other way", LIMIT, async || {
            let config = node.admin()?.status().await?.cluster_config;
            ensure!(config.as_ref() == Some(&expected), "{config:?}");
            let url = format!("{}/ledger?from=0&limit=1000", node.metrics_url());
            let (_, page) = http::get(&url).await?;
            let page: serde_json::Value = serde_json::from_str(&page)?;
            let rows = page["rows"].as_array().context("no rows")?;
            let said = rows
                .iter()
                .map(|row| &row["scoring"]["points"]["restarted"]);
            let said: Vec<_> = said.filter_map(serde_json::Value::as_i64).collect();
            ensure!(said == [10, 77], "the ledger says {said:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_the_ledger_in_every_form() -> Outcome {
    let _others = beside_others().await;
    let cluster = Cluster::started(3).await?;
    let node = &cluster.nodes[0];
    wait::until("some windows are judged", LIMIT, async || {
        let judged = node.admin()?.ledger().await?.len();
        ensure!(judged >= 9, "{judged} rows");
        Ok(())
    })
    .await?;

    let table = cli(node, &["tail", "-n", "2"]).await?;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("AT "), "{table}");
    assert_eq!(lines.len(), 1 + 2 * 3, "{table}");
    assert!(table.contains("acknowledged_in_time"), "{table}");
    let json = cli(node, &["tail", "-n", "2", "-o", "json"]).await?;
    for line in json.lines() {
        let row: serde_json::Value = serde_json::from_str(line)?;
        assert_eq!(row["intervals"].as_array().map(Vec::len), Some(3), "{row}");
    }
    let scores = cli(node, &["scores", "-o", "yaml"]).await?;
    let scores: serde_json::Value = serde_yaml::from_str(&scores)?;
    for (place, node) in cluster.nodes.iter().enumerate() {
        assert!(
            (0..3).any(|at| scores[at]["name"] == node.name.as_str()),
            "member {place} isn't in {scores}"
        );
    }
    for (format, begins) in [("jsonl", "{"), ("csv", "lineage,"), ("parquet", "PAR1")] {
        let file = cluster.directory().join(format);
        let path = file.to_str().context("a path of text")?;
        cli(node, &["export", "--format", format, "--file", path]).await?;
        let bytes = std::fs::read(&file)?;
        assert!(bytes.starts_with(begins.as_bytes()), "{format}");
    }
    let refused = cli(node, &["why", "nobody"]).await;
    let refused = refused.err().context("nobody is a member")?.to_string();
    assert!(refused.contains(&cluster.nodes[2].name), "{refused}");

    let mut follows = command(node, &["tail", "-f", "-n", "1", "-o", "json"])?
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let lines = follows.stdout.take().context("its output")?;
    let mut lines = BufReader::new(lines).lines();
    let mut last = 0;
    for _ in 0..3 {
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await??;
        let row: serde_json::Value = serde_json::from_str(&line.context("it ended")?)?;
        let index = row["index"].as_u64().context("an index")?;
        assert!(index > last, "{index} after {last}");
        last = index;
    }
    Ok(())
}

fn command(node: &Node, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(environment::raftery()?);
    command.args(["ledger", "--endpoint", &node.metrics_url()]);
    command.args(arguments);
    Ok(command)
}

/// What `raftery ledger` prints, or its words if it fails.
async fn cli(node: &Node, arguments: &[&str]) -> Result<String> {
    let ran = command(node, arguments)?.output().await?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{arguments:?}: {said}");
    Ok(String::from_utf8(ran.stdout)?)
}
