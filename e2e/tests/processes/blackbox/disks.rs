//! Disks that are slow, fail, or hang.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context;
use raftery_e2e::environment::slowfs;
use raftery_e2e::outcome::Outcome;
use raftery_e2e::slowfs::{Fault, SlowFs};

use super::{LIMIT, Trial};
use crate::beside_others;

/// What a node ends with when a sync failed.
const EXIT_SYNC_FAILED: i32 = 11;

#[test]
fn the_disk_with_faults_keeps_files_and_delays_or_fails_what_it_is_told_to() -> Outcome {
    let directory = tempfile::tempdir()?;
    let mut disk = SlowFs::mount(&slowfs()?, directory.path(), "test")?;
    let folder = disk.directory().join("folder");
    fs::create_dir(&folder)?;
    let mut file = File::create_new(folder.join("file"))?;
    file.write_all(b"some bytes")?;
    file.sync_all()?;
    fs::rename(folder.join("file"), folder.join("renamed"))?;
    File::open(&folder)?.sync_all()?;
    assert_eq!(fs::read(folder.join("renamed"))?, b"some bytes");
    let beneath = directory.path().join("test.beneath/folder/renamed");
    assert_eq!(fs::read(beneath)?, b"some bytes");
    let names = fs::read_dir(&folder)?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<std::io::Result<_>>()?;
    assert_eq!(names, ["renamed"]);

    let delay = Duration::from_millis(150);
    disk.inject(Fault::SlowSyncs(delay))?;
    let began = Instant::now();
    file.sync_data()?;
    assert!(began.elapsed() >= delay);
    disk.inject(Fault::FailingSyncs)?;
    let error = file.sync_data().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
    assert_eq!(disk.heal()?, 3, "syncs that were done");
    disk.inject(Fault::Full)?;
    let error = file.write_all(b"more").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    disk.heal()?;

    disk.inject(Fault::Frozen)?;
    let began = Instant::now();
    let waiter = std::thread::spawn(move || file.write_all(b"more").map(|()| file.sync_data()));
    std::thread::sleep(delay);
    assert!(!waiter.is_finished());
    disk.heal()?;
    waiter.join().expect("it doesn't panic")??;
    assert!(began.elapsed() >= delay);
    let found = fs::read(folder.join("renamed"))?;
    assert_eq!(found, b"some bytesmore");
    fs::remove_dir_all(&folder)?;

    let mountpoint = disk.directory().to_owned();
    drop(disk);
    assert_eq!(fs::read_dir(mountpoint)?.count(), 0, "unmounted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_linearizable_while_the_leaders_syncs_are_slow() -> Outcome {
    let _others = beside_others().await;
    let mut trial = Trial::with_disks().await?;
    for ms in [20, 100, 400] {
        let leader = trial.leader().await?;
        trial.say(&format!("syncs take {ms} ms more, the leader"), leader);
        trial.disks[leader].inject(Fault::SlowSyncs(Duration::from_millis(ms)))?;
        trial.wait(3000..4000).await;
        trial.recorder.serves(None, LIMIT).await?;
        if ms == 100 {
            // what it had not synced yet is lost to nobody
            trial.say("killed", leader);
            trial.cluster.nodes[leader].kill()?;
            trial.disks[leader].heal()?;
            trial.cluster.nodes[leader].start()?;
        }
        trial.disks[leader].heal()?;
        trial.all_serve().await?;
    }
    Ok(trial.finish().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_ends_with_its_own_code_when_a_sync_fails_and_nothing_acknowledged_is_lost()
-> Outcome {
    let _others = beside_others().await;
    let mut trial = Trial::with_disks().await?;
    for round in 0..4 {
        let victim = match round % 2 {
            0 => trial.leader().await?,
            _ => trial.follower().await?,
        };
        trial.say("syncs fail", victim);
        trial.disks[victim].inject(Fault::FailingSyncs)?;
        let node = &mut trial.cluster.nodes[victim];
        let status = node.process()?.ended(LIMIT).await?;
        assert_eq!(status.code(), Some(EXIT_SYNC_FAILED), "{status}");
        let log = node.log();
        let last = log.lines().last().context("it said nothing")?;
        assert!(last.contains("sync"), "not clear: {last}");
        trial.recorder.serves(None, LIMIT).await?;
        trial.disks[victim].heal()?;
        trial.cluster.nodes[victim].start()?;
        trial.all_serve().await?;
    }
    Ok(trial.finish().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_linearizable_while_the_disk_of_a_follower_hangs() -> Outcome {
    let _others = beside_others().await;
    let mut trial = Trial::with_disks().await?;
    for _ in 0..2 {
        let follower = trial.follower().await?;
        trial.say("the disk hangs", follower);
        trial.disks[follower].inject(Fault::Frozen)?;
        trial.wait(2500..3500).await;
        trial.recorder.serves(None, LIMIT).await?;
        trial.disks[follower].heal()?;
        trial.all_serve().await?;
    }
    Ok(trial.finish().await?)
}
