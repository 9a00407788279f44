//! The ledger and its export, with MongoDB and leaders dying.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use mongodb::bson::Document;
use raftery_e2e::bare::Cluster;
use raftery_e2e::mongo::{self, StandIn, number};
use raftery_e2e::outcome::Outcome;
use raftery_e2e::ports::free_port;
use raftery_e2e::report::Progress;
use raftery_e2e::{http, wait};
use raftery_proto::admin::LedgerRow;

use crate::alone;

const LIMIT: Duration = Duration::from_secs(60);
const OUTAGE: Duration = Duration::from_secs(30);
const WINDOWS_IN_OUTAGE_MIN: usize = 20;

/// Windows by the term of the leader that judged.
type Windows = BTreeMap<u64, BTreeSet<u64>>;

#[tokio::test(flavor = "multi_thread")]
async fn rewards_and_intervals_equal_the_ledger_after_mongodb_was_gone_and_leaders_died() -> Outcome
{
    let _alone = alone().await;
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
    let _alone = alone().await;
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
    let _alone = alone().await;
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
            Ok(())
        })
        .await?;
    }
    Ok(())
}
