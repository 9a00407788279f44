//! What a node does with damaged files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use raftery_e2e::bare::Cluster;
use raftery_e2e::outcome::Outcome;

use crate::alone;

const LIMIT: Duration = Duration::from_secs(30);
/// What a node ends with when its store is damaged.
const EXIT_DAMAGED: i32 = 12;
const MARK: &str = "a mark that is found again in the file";

#[tokio::test(flavor = "multi_thread")]
async fn a_log_damaged_below_its_watermark_is_kept_aside_unchanged_and_repaired_from_the_leader()
-> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    let mut client = cluster.nodes[0].client().await?;
    client.put("marked", MARK, None).await?;
    for number in 0..50 {
        client.put(format!("later-{number}"), "x", None).await?;
    }
    cluster.all_caught_up(LIMIT).await?;
    let node = &mut cluster.nodes[1];
    node.kill()?;

    let (file, offset) = find(&node.data, MARK.as_bytes())?;
    let mut bytes = fs::read(&file)?;
    bytes[offset] ^= 0x01;
    fs::write(&file, &bytes)?;
    node.start()?;
    node.serves(LIMIT).await?;
    let log = node.log();
    let named = file
        .file_name()
        .context("a file has a name")?
        .to_string_lossy()
        .into_owned();
    let line = log
        .lines()
        .rev()
        .find(|line| line.contains(&named) && line.contains("offset"));
    let line = line.with_context(|| format!("no line names {named} and an offset:\n{log}"))?;
    let numbers: Vec<usize> = numbers(line.split("offset").nth(1).unwrap_or_default());
    // the frame begins a little before the value that lies in it
    assert!(
        numbers
            .iter()
            .any(|at| (offset - 200..=offset).contains(at)),
        "{offset}: {line}"
    );
    let aside = fs::read_dir(&node.data)?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().contains("damaged"));
    let aside = aside.context("the damaged log is gone")?.path();
    assert!(
        fs::read(aside.join(&named))? == bytes,
        "the damaged file was changed"
    );

    client.put("the others", "go on", None).await?;
    cluster.all_caught_up(LIMIT).await?;
    let found = raftery_e2e::etcd::read_locally(&cluster.nodes[1].client_url(), "later-").await?;
    assert_eq!(found.len(), 50);
    // It is whole again: the next start finds nothing to repair.
    let node = &mut cluster.nodes[1];
    node.kill()?;
    let said = node.log().len();
    node.start()?;
    node.serves(LIMIT).await?;
    assert!(
        !node.log()[said..].contains("damaged"),
        "{}",
        &node.log()[said..]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_left_behind_and_the_node_comes_back_whole() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    let mut client = cluster.nodes[0].client().await?;
    for number in 0..50 {
        client.put(format!("key-{number:02}"), "x", None).await?;
    }
    cluster.all_caught_up(LIMIT).await?;
    let node = &mut cluster.nodes[2];
    node.kill()?;

    // Half of what it was about to write. (The last whole frame is left alone: it may hold an
    // acknowledged entry whose seal, due within 10 ms, the kill came before.)
    let file = last_segment(&node.data)?;
    let mut bytes = fs::read(&file)?;
    let last = bytes.iter().rposition(|byte| *byte != 0);
    let behind = last.context("an empty segment")?.next_multiple_of(8) + 64;
    bytes[behind..behind + 100].fill(0xab);
    fs::write(&file, &bytes)?;
    node.start()?;
    node.serves(LIMIT).await?;
    cluster.all_caught_up(LIMIT).await?;
    let found = raftery_e2e::etcd::read_locally(&cluster.nodes[2].client_url(), "key-").await?;
    assert_eq!(found.len(), 50);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_ends_the_node_with_its_own_code_and_the_rest_goes_on() -> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    let (leader, _) = cluster.leader(LIMIT).await?;
    cluster.all_caught_up(LIMIT).await?;
    let node = &mut cluster.nodes[(leader + 1) % 3];
    node.kill()?;
    // What it vouches for can't be known any more.
    let manifest = node.data.join("store/manifest");
    let mut bytes = fs::read(&manifest)?;
    bytes[20] ^= 1;
    fs::write(&manifest, &bytes)?;
    node.start()?;
    let status = node.process()?.ended(LIMIT).await?;
    assert_eq!(status.code(), Some(EXIT_DAMAGED), "{status}");
    let log = node.log();
    let said = log.lines().last().context("it said nothing")?;
    assert!(said.contains("store/manifest"), "{said}");
    assert!(
        fs::read(&manifest)? == bytes,
        "the damaged file was changed"
    );
    let mut client = cluster.nodes[leader].client().await?;
    client.put("the others", "go on", None).await?;
    Ok(())
}

fn numbers(text: &str) -> Vec<usize> {
    let digits = text.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

fn segments(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "wal") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The segment where the log ends; one behind it is in reserve, and has a header only.
fn last_segment(directory: &Path) -> Result<PathBuf> {
    const HEADER_BYTES: usize = 4096;
    let has_frames = |file: &PathBuf| {
        let bytes = fs::read(file).unwrap_or_default();
        bytes.iter().skip(HEADER_BYTES).any(|byte| *byte != 0)
    };
    let mut segments = segments(directory)?;
    segments.retain(has_frames);
    segments.pop().context("no segment")
}

/// Where some bytes stand first.
fn find(directory: &Path, wanted: &[u8]) -> Result<(PathBuf, usize)> {
    for file in segments(directory)? {
        let bytes = fs::read(&file)?;
        if let Some(at) = bytes
            .windows(wanted.len())
            .position(|window| window == wanted)
        {
            return Ok((file, at));
        }
    }
    anyhow::bail!("no segment has it")
}
