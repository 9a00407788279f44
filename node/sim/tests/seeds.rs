//! A number of runs that no property contradicts and in which every kind of fault happens; and the
//! seeds that failed once.

use raftery_sim::{Options, Report, run};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=120;
const EVENTS: u64 = 10_000;
const ACKNOWLEDGED_MIN: u64 = 300;

fn run_seed(seed: u64) -> Report {
    let options = Options {
        seed,
        events: EVENTS,
    };
    run(options).unwrap_or_else(|violation| panic!("{violation}"))
}

#[test]
fn every_property_holds_in_every_run_and_every_fault_happens() {
    let mut sum = Report::default();
    for seed in SEEDS {
        sum.add(&run_seed(seed));
    }
    println!("{sum:#?}");
    // In wild weather a run may get little done, all together don't.
    let runs = SEEDS.count() as u64;
    assert!(
        sum.acknowledged >= runs * ACKNOWLEDGED_MIN,
        "too few writes"
    );
    let missing: Vec<_> = sum.missing().collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn the_same_seed_does_the_same_again() {
    let tell = |seed| format!("{:?}", run_seed(seed));
    assert_eq!(tell(17), tell(17));
    assert_ne!(tell(17), tell(18));
}

#[test]
fn seeds_that_failed_once_do_not_fail_again() {
    // A line: seed, events, and what it found.
    for line in include_str!("../past_seeds.txt").lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>());
        if let Some(seed) = numbers.next() {
            let seed = seed.expect("a seed");
            let events = numbers.next().expect("events").expect("a number");
            run(Options { seed, events }).unwrap_or_else(|violation| panic!("{violation}"));
        }
    }
}
