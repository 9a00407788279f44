//! Every write and every sync, and every way in which the disk may keep what was not synced.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{
    Model, Run, Step, batch, create, data, hard_state, long_story, open, reopen, run, staged, story,
};
use raftery_fs::MemFs;

/// Opens after a crash. The log must be one that was handed over, and not miss a promise.
fn check_recovered(fs: &MemFs, run: &Run, what: &str) -> Option<Model> {
    let opened = open(fs).unwrap_or_else(|error| panic!("{what}: refused: {error}"));
    let Some((_, recovered)) = opened else {
        assert_eq!(run.acknowledged, 0, "{what}: the log is gone");
        return None;
    };
    let model = Model::from(&recovered);
    // A batch may leave the log as it was: then either number is right.
    let found = run
        .find(&model)
        .unwrap_or_else(|| panic!("{what}: a log that never was"));
    assert!(
        found + 1 >= run.acknowledged,
        "{what}: {found} of {}",
        run.acknowledged
    );
    Some(model)
}

/// What recovery returned is a promise: it must be there after the next crash, and nothing
/// older may come back to life behind what is written next.
fn check_life_after(fs: &MemFs, model: &Model, what: &str) {
    fs.crash_losing_all();
    let (mut wal, recovered) = reopen(fs);
    assert_eq!(
        Model::from(&recovered),
        *model,
        "{what}: recovery promised more"
    );
    assert_eq!(recovered.torn_tail, None, "{what}: the tail was left");
    let last = model.last().index.0;
    let next = batch(1, hard_state(99, last), vec![data(99, last + 1, 40)]);
    wal.append(&next).unwrap();
    wal.sync().unwrap();
    fs.crash_losing_all();
    let (_, recovered) = reopen(fs);
    assert_eq!(
        Model::from(&recovered),
        model.with(&next),
        "{what}: the next batch"
    );
}

#[test]
fn no_crash_loses_a_promise_or_leaves_half_a_batch() {
    check_every_crash(&story(), 24);
}

#[test]
fn no_crash_loses_a_promise_where_several_batches_are_one_write() {
    check_every_crash(&staged(&story()), 24);
    check_every_crash(&staged(&long_story()), 6);
}

#[test]
fn no_crash_loses_a_promise_while_segments_are_cut_and_recycled() {
    check_every_crash(&long_story(), 6);
}

/// Crashes at every operation, with at most about this many pieces for each pattern.
fn check_every_crash(steps: &[Step], pieces_max: usize) {
    let whole = MemFs::new(1);
    let all = run(&whole, steps);
    assert!(all.error.is_none(), "{:?}", all.error);
    assert_eq!(
        all.acknowledged,
        all.models.len(),
        "the story ends well without faults"
    );
    let mut crashes = 0;
    for stop in 0..=whole.operations() {
        let fs = MemFs::new(1);
        fs.stop_at(Some(stop));
        let run = run(&fs, steps);
        // Zeroing a segment leaves many pieces of no interest.
        for (crash, fs) in fs.crashes(pieces_max) {
            let what = format!("stop {stop}, {crash}");
            if let Some(model) = check_recovered(&fs, &run, &what) {
                check_life_after(&fs, &model, &what);
            }
            crashes += 1;
        }
    }
    assert!(crashes > 2_000, "only {crashes} crashes were tried");
}

#[test]
fn a_crash_in_the_middle_of_recovery_changes_nothing_about_that() {
    check_interrupted_recoveries(&story());
    check_interrupted_recoveries(&long_story());
    check_interrupted_recoveries(&staged(&long_story()));
}

fn check_interrupted_recoveries(steps: &[Step]) {
    let whole = MemFs::new(2);
    run(&whole, steps);
    let mut rng = fastrand::Rng::with_seed(2);
    let mut interrupted = 0;
    for stop in 0..=whole.operations() {
        let fs = MemFs::new(2);
        fs.stop_at(Some(stop));
        let run = run(&fs, steps);
        for _ in 0..4 {
            let fs = fs.fork();
            fs.crash_at_random(&mut rng);
            let begun = fs.operations();
            let recovery = fs.fork();
            let _ = open(&recovery);
            for stop in begun..recovery.operations() {
                let what = format!("recovery stopped at {stop}");
                let fs = fs.fork();
                fs.stop_at(Some(stop));
                assert!(open(&fs).is_err(), "{what}: it went on without a disk");
                fs.crash_at_random(&mut rng);
                if let Some(model) = check_recovered(&fs, &run, &what) {
                    check_life_after(&fs, &model, &what);
                }
                interrupted += 1;
            }
        }
    }
    assert!(
        interrupted > 1_000,
        "only {interrupted} recoveries were interrupted"
    );
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_wrote() {
    // No power failure: the system still writes what the process handed over.
    let fs = MemFs::new(3);
    let steps = story();
    let appended: Vec<Step> = steps
        .into_iter()
        .filter(|step| matches!(step, Step::Append(_)))
        .collect();
    let run = run(&fs, &appended);
    let (_, recovered) = reopen(&fs);
    assert_eq!(Model::from(&recovered), *run.models.last().unwrap());
    assert_eq!(recovered.torn_tail, None);
}

#[test]
fn a_disk_that_lies_about_syncs_is_noticed_by_these_checks() {
    let fs = MemFs::new(4);
    let mut wal = create(&fs).unwrap();
    fs.lie_about_syncs(true);
    let lost = batch(1, hard_state(1, 1), vec![data(1, 2, 100)]);
    wal.append(&lost).unwrap();
    wal.sync().unwrap();
    fs.crash_losing_all();
    fs.lie_about_syncs(false);
    let (_, recovered) = reopen(&fs);
    assert_eq!(Model::from(&recovered), Model::founded());
}
