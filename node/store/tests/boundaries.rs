//! Every write, sync and rename, and every way in which the disk may keep what was not synced.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io;

use common::{Draw, Entry, Node, State, at, create, delete, open, put, reopen};
use raftery_fs::{Fate, MemFs};
use raftery_store::{SnapshotError, StoreIoError, WriteOp};

/// What a system answers with: EIO, ENOSPC, EROFS.
const REFUSALS: [io::ErrorKind; 3] = [
    io::ErrorKind::Other,
    io::ErrorKind::StorageFull,
    io::ErrorKind::ReadOnlyFilesystem,
];

/// One step of a story.
#[derive(Clone, Debug)]
enum Step {
    Apply(Entry),
    Flush,
    Sync,
    Checkpoint,
    /// If one is worth it.
    Rewrite,
    /// The store takes a snapshot of itself over.
    Install,
}

/// Entries of every kind, several to a flush and to a sync, over several segments, checkpoints
/// where the store wants them and where it doesn't, rewrites, and a snapshot.
fn story() -> Vec<Step> {
    let fs = MemFs::new(1);
    let mut node = create(&fs).unwrap();
    let mut draw = Draw::new(7);
    let mut steps = Vec::new();
    let mut rewrites = 0;
    for step in 1..=260_u32 {
        let entry = draw.entry(node.store.revision());
        node.apply(&entry).unwrap();
        steps.push(Step::Apply(entry));
        if step % 3 == 0 {
            steps.push(Step::Flush);
        }
        if step % 7 == 0 {
            steps.push(Step::Sync);
        }
        if node.store.wants_checkpoint() || step % 50 == 0 {
            node.checkpoint().unwrap();
            steps.push(Step::Checkpoint);
        }
        if step % 9 == 0 && node.rewrite().unwrap() {
            rewrites += 1;
            steps.push(Step::Rewrite);
        }
        if step == 140 {
            let snapshot = node.snapshot().unwrap();
            node.install(&snapshot).unwrap();
            steps.push(Step::Install);
        }
    }
    assert!(rewrites > 3, "only {rewrites} rewrites");
    let newest = node.state().blobs.last().map_or(0, |(number, _)| *number);
    assert!(newest > 6, "only {newest} blobs, so few were dropped");
    steps
}

/// What a run of the story has promised and written.
#[derive(Default)]
struct Run {
    is_created: bool,
    durable: u64,
    /// How often there was no room, and then was.
    waits: usize,
    /// What ended it.
    error: Option<StoreIoError>,
}

/// Lets the story happen until it ends or the disk does.
fn run(fs: &MemFs, steps: &[Step], mut states: Option<&mut Vec<State>>) -> Run {
    let mut run = Run::default();
    let mut node = match create(fs) {
        Ok(node) => node,
        Err(error) => {
            run.error = Some(error);
            return run;
        }
    };
    run.is_created = true;
    if let Some(states) = states.as_mut() {
        states.push(node.state());
    }
    for step in steps {
        let mut done = take(&mut node, step);
        // Want of room is waited out, as by the server; but a snapshot comes from elsewhere again.
        if !matches!(step, Step::Install) && done.as_ref().is_err_and(StoreIoError::is_out_of_space)
        {
            run.waits += 1;
            fs.stop_failing();
            done = take(&mut node, step);
        }
        if let Err(error) = done {
            run.error = Some(error);
            return run;
        }
        run.durable = node.store.durable().index;
        if let (Step::Apply(_), Some(states)) = (step, states.as_mut()) {
            states.push(node.state());
        }
    }
    run
}

fn take(node: &mut Node, step: &Step) -> Result<(), StoreIoError> {
    match step {
        Step::Apply(entry) => node.apply(entry),
        Step::Flush => node.store.flush().map(drop),
        Step::Sync => node.sync(),
        Step::Checkpoint => node.checkpoint(),
        Step::Rewrite => node.rewrite().map(|_| ()),
        Step::Install => install(node),
    }
}

fn install(node: &mut Node) -> Result<(), StoreIoError> {
    let snapshot = node.snapshot()?;
    node.install(&snapshot).map_err(|error| match error {
        SnapshotError::Io(error) => error,
        other => panic!("{other}"),
    })
}

/// Opens after a crash. The state must be one that was, and not miss a promise.
fn check_recovered(fs: &MemFs, run: &Run, states: &[State], what: &str) -> Option<State> {
    let opened = open(fs).unwrap_or_else(|error| panic!("{what}: refused: {error}"));
    let Some(node) = opened else {
        assert!(!run.is_created, "{what}: the store is gone");
        return None;
    };
    node.store.check_invariants();
    let state = node.state();
    let index = state.applied.index;
    assert!(index >= run.durable, "{what}: {index} of {}", run.durable);
    assert_eq!(
        state,
        states[usize::try_from(index).unwrap()],
        "{what}: a state that never was"
    );
    Some(state)
}

/// What recovery returned is a promise: it must be there after the next crash, and nothing
/// older may come back to life behind what is written next.
fn check_life_after(fs: &MemFs, state: &State, what: &str) {
    fs.crash_losing_all();
    let mut node = reopen(fs);
    assert_eq!(node.state(), *state, "{what}: recovery promised more");
    node.apply(&Entry::Write(put("after", "1"))).unwrap();
    node.sync().unwrap();
    let state = node.state();
    fs.crash_losing_all();
    assert_eq!(reopen(fs).state(), state, "{what}: the next entry");
}

#[test]
fn no_crash_loses_a_promise_or_leaves_half_an_entry() {
    let steps = story();
    let whole = MemFs::new(1);
    let mut states = Vec::new();
    run(&whole, &steps, Some(&mut states));
    let mut crashes = 0;
    for stop in 0..=whole.operations() {
        let fs = MemFs::new(1);
        fs.stop_at(Some(stop));
        let run = run(&fs, &steps, None);
        for (crash, fs) in fs.crashes(8) {
            let what = format!("stop {stop}, {crash}");
            if let Some(state) = check_recovered(&fs, &run, &states, &what) {
                check_life_after(&fs, &state, &what);
            }
            crashes += 1;
        }
    }
    assert!(crashes > 2_000, "only {crashes} crashes were tried");
}

#[test]
fn no_refused_operation_loses_a_promise_and_want_of_room_is_waited_out() {
    let steps = story();
    let whole = MemFs::new(1);
    let mut states = Vec::new();
    run(&whole, &steps, Some(&mut states));
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut waited, mut refused) = (0, 0);
    for at in 0..whole.operations() {
        for kind in REFUSALS {
            for lasts in [false, true] {
                let what = format!("{kind:?} at {at}, lasting: {lasts}");
                let fs = MemFs::new(1);
                if lasts {
                    fs.fail_from(at, kind);
                } else {
                    fs.fail_at(at, kind);
                }
                let run = run(&fs, &steps, None);
                fs.stop_failing();
                waited += run.waits;
                match &run.error {
                    None => assert_eq!(kind, io::ErrorKind::StorageFull, "{what}: unnoticed"),
                    Some(StoreIoError::Damaged { .. }) => panic!("{what}: {:?}", run.error),
                    Some(_) => refused += 1,
                }
                // The process ends and starts again; or the machine does.
                check_recovered(&fs.fork(), &run, &states, &what);
                fs.crash_at_random(&mut rng);
                if let Some(state) = check_recovered(&fs, &run, &states, &what) {
                    check_life_after(&fs, &state, &what);
                }
            }
        }
    }
    assert!(waited > 100, "it was waited for room only {waited} times");
    assert!(refused > 1_000, "only {refused} operations ended the run");
}

#[test]
fn a_crash_in_the_middle_of_recovery_changes_nothing_about_that() {
    let steps = story();
    let whole = MemFs::new(2);
    let mut states = Vec::new();
    run(&whole, &steps, Some(&mut states));
    let mut rng = fastrand::Rng::with_seed(2);
    let mut interrupted = 0;
    for stop in 0..=whole.operations() {
        let fs = MemFs::new(2);
        fs.stop_at(Some(stop));
        let run = run(&fs, &steps, None);
        for _ in 0..3 {
            let fs = fs.fork();
            fs.crash_at_random(&mut rng);
            let begun = fs.operations();
            let recovery = fs.fork();
            drop(open(&recovery));
            for stop in begun..recovery.operations() {
                let what = format!("recovery stopped at {stop}");
                let fs = fs.fork();
                fs.stop_at(Some(stop));
                assert!(open(&fs).is_err(), "{what}: it went on without a disk");
                fs.crash_at_random(&mut rng);
                if let Some(state) = check_recovered(&fs, &run, &states, &what) {
                    check_life_after(&fs, &state, &what);
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
fn a_process_that_is_killed_loses_nothing_that_it_flushed() {
    let fs = MemFs::new(3);
    let mut node = create(&fs).unwrap();
    let mut draw = Draw::new(3);
    for _ in 0..200 {
        let entry = draw.entry(node.store.revision());
        node.apply(&entry).unwrap();
    }
    node.store.flush().unwrap();
    let state = node.state();
    drop(node);
    assert_eq!(reopen(&fs).state(), state);
}

#[test]
fn a_refused_operation_is_applied_without_effect() {
    let fs = MemFs::new(4);
    let mut node = create(&fs).unwrap();
    let refused = node
        .store
        .apply(at(5), &WriteOp::Compact { revision: 9 })
        .unwrap();
    assert!(refused.is_err());
    node.sync().unwrap();
    fs.crash_losing_all();
    let node = reopen(&fs);
    assert_eq!((node.store.applied(), node.store.revision()), (at(5), 1));
}

#[test]
fn a_full_disk_is_told_and_the_flush_may_be_repeated() {
    let fs = MemFs::new(5);
    let mut node = create(&fs).unwrap();
    node.apply(&Entry::Write(put("a", "1"))).unwrap();
    fs.stop_at(Some(fs.operations()));
    let error = node.store.flush().unwrap_err();
    assert!(
        matches!(
            error,
            StoreIoError::Io {
                action: "write",
                ..
            }
        ),
        "{error}"
    );
    // What isn't flushed is served, and written once there is space.
    let state = node.state();
    fs.stop_at(None);
    node.sync().unwrap();
    fs.crash_losing_all();
    assert_eq!(reopen(&fs).state(), state);
}

#[test]
fn what_is_applied_during_a_sync_waits_in_memory() {
    let fs = MemFs::new(6);
    let mut node = create(&fs).unwrap();
    node.apply(&Entry::Write(put("a", "1"))).unwrap();
    assert!(node.store.flush().unwrap());
    let sync_point = node.store.sync_point();
    let operations = fs.operations();
    node.apply(&Entry::Write(put("b", "2"))).unwrap();
    assert!(!node.store.flush().unwrap(), "it isn't handed over");
    assert_eq!(fs.operations(), operations);
    let synced = sync_point.run().unwrap();
    node.store.on_synced(synced);
    assert_eq!(node.store.durable(), at(1));
    // It is served meanwhile, and the next sync takes it along though nothing more is applied.
    let state = node.state();
    node.sync().unwrap();
    assert_eq!(node.store.durable(), at(2));
    fs.crash_losing_all();
    assert_eq!(reopen(&fs).state(), state);
}

#[test]
fn memory_for_what_is_applied_during_a_sync_is_bounded() {
    let fs = MemFs::new(6);
    let mut node = create(&fs).unwrap();
    let sync_point = node.store.sync_point();
    let operations = fs.operations();
    let mut entries = 0;
    while fs.operations() == operations {
        let value = vec![0; 1 << 10];
        node.apply(&Entry::Write(put("a", value))).unwrap();
        node.store.flush().unwrap();
        entries += 1;
    }
    // Of a little more than 1 KiB each, beside the 32 KiB that may wait.
    assert!((25..=32).contains(&entries), "{entries}");
    let synced = sync_point.run().unwrap();
    node.store.on_synced(synced);
    let state = node.state();
    node.sync().unwrap();
    fs.crash_losing_all();
    assert_eq!(reopen(&fs).state(), state);
}

#[test]
fn a_failed_sync_promises_nothing() {
    let fs = MemFs::new(6);
    let mut node = create(&fs).unwrap();
    node.apply(&Entry::Write(put("a", "1"))).unwrap();
    node.store.flush().unwrap();
    let sync_point = node.store.sync_point();
    fs.fail_next_sync();
    let error = sync_point.run().unwrap_err();
    assert!(matches!(error, StoreIoError::Sync { .. }), "{error}");
    assert_eq!(node.store.durable().index, 0);
}

#[test]
fn a_disk_that_lies_about_syncs_is_noticed_by_these_checks() {
    let fs = MemFs::new(7);
    let mut node = create(&fs).unwrap();
    fs.lie_about_syncs(true);
    node.apply(&Entry::Write(put("a", "1"))).unwrap();
    node.apply(&Entry::Write(delete("a"))).unwrap();
    node.sync().unwrap();
    fs.crash_losing_all();
    fs.lie_about_syncs(false);
    let node: Node = reopen(&fs);
    assert_eq!(node.store.applied().index, 0);
}

#[test]
fn a_creation_that_was_interrupted_is_begun_anew() {
    let fs = MemFs::new(8);
    fs.stop_at(Some(3));
    drop(create(&fs));
    fs.crash(|_| Fate::Kept);
    assert!(open(&fs).unwrap().is_none(), "no manifest, no store");
    create(&fs).unwrap();
}
