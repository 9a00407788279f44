//! Two hundred runs, and one that shows that they would notice. `SEED=n` runs exactly one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use raftery_sim::{Faults, Options, Report, Syncs, Violation, run};

const SEEDS: u64 = 200;
const EVENTS_MIN: u64 = 10_000;
const ACKNOWLEDGED_MIN: u64 = 100;

/// One run; a failed assertion of the code under test names the seed as well.
fn run_seed(seed: u64, syncs: Syncs) -> Result<Report, Violation> {
    let options = Options {
        seed,
        events: EVENTS_MIN,
        syncs,
    };
    catch_unwind(AssertUnwindSafe(|| run(options))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Violation {
            seed,
            event: 0,
            elapsed: std::time::Duration::ZERO,
            property: "no assertion fails",
            what: text.unwrap_or_default(),
        })
    })
}

#[test]
fn every_property_holds_in_every_run_and_every_fault_happens() {
    let only: Option<u64> = std::env::var("SEED")
        .ok()
        .map(|seed| seed.parse().expect("SEED is a number"));
    let seeds = only.map_or(1..=SEEDS, |seed| seed..=seed);
    let (mut faults, mut elections, mut changes, mut reads) = (Faults::default(), 0, 0, 0);
    let mut acknowledged = 0;
    for seed in seeds {
        let report = run_seed(seed, Syncs::Done).unwrap_or_else(|violation| panic!("{violation}"));
        assert!(report.events >= EVENTS_MIN, "{report:?}");
        assert!(
            report.acknowledged >= ACKNOWLEDGED_MIN,
            "too few writes (SEED={seed}): {report:?}"
        );
        if only.is_some() {
            println!("{report:#?}");
        }
        faults.add(&report.faults);
        elections += report.elections;
        changes += report.changes;
        reads += report.reads;
        acknowledged += report.acknowledged;
    }
    println!("{acknowledged} writes, {reads} reads, {elections} elections, {changes} changes");
    println!("{faults:?}");
    if only.is_none() {
        for (kind, count) in faults.kinds() {
            assert!(count > 0, "no {kind} in {SEEDS} runs");
        }
        assert!(reads > 0 && changes > SEEDS, "nothing of interest happened");
    }
}

#[test]
fn the_same_seed_does_the_same_again() {
    let tell = |seed| format!("{:?}", run_seed(seed, Syncs::Done));
    assert_eq!(tell(17), tell(17));
    assert_ne!(tell(17), tell(18));
}

#[test]
fn without_syncs_the_invariants_are_broken() {
    // A forgotten vote or entry does harm only when the others need it: about a third of the runs.
    const RUNS: u64 = 60;
    const BROKEN_MIN: usize = 5;
    let about_data = [
        "election safety",
        "log matching",
        "leader completeness",
        "state-machine safety",
        "no acknowledged write lost",
    ];
    let found: Vec<_> = (1..=RUNS)
        .filter_map(|seed| run_seed(seed, Syncs::TakenOut).err())
        .map(|violation| violation.property)
        .collect();
    println!("{found:?}");
    let broken = found
        .iter()
        .filter(|property| about_data.contains(property))
        .count();
    assert!(broken >= BROKEN_MIN, "only {found:?}");
}
