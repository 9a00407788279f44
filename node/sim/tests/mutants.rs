//! Each deliberate defect is found by a property, in a number of seeds. Built with
//! `--cfg raftery_defects` only: `make mutants`.
#![cfg(raftery_defects)]

use std::collections::BTreeMap;
use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use raftery_defects::{Defect, with};
use raftery_sim::{NO_PANIC, Options, Violation, run};

const EVENTS: u64 = 10_000;
const THREADS: usize = 2;
/// For one defect.
const TIME_MAX: Duration = Duration::from_secs(60);

/// What became of the search for one defect.
struct Search {
    defect: Defect,
    seeds: u64,
    /// Runs that ended in a panic: they say nothing, the product mustn't be its own judge.
    panics: u64,
    found: Option<Violation>,
    took: Duration,
}

fn search(defect: Defect) -> Search {
    let begun = Instant::now();
    let (mut seeds, mut panics, mut found) = (0, 0, None);
    while found.is_none() && begun.elapsed() < TIME_MAX {
        seeds += 1;
        let options = Options {
            seed: seeds,
            events: EVENTS,
        };
        match with(defect, || run(options)) {
            Ok(_) => {}
            Err(violation) if violation.property == NO_PANIC => panics += 1,
            Err(violation) => found = Some(violation),
        }
    }
    let took = begun.elapsed();
    Search {
        defect,
        seeds,
        panics,
        found,
        took,
    }
}

#[test]
fn without_a_defect_nothing_is_found() {
    for seed in 1..=200 {
        let options = Options {
            seed,
            events: EVENTS,
        };
        run(options).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

/// All, or the one that the environment names.
fn wanted() -> Vec<Defect> {
    let name = std::env::var("DEFECT").ok();
    let is_wanted = |defect: &Defect| {
        name.as_ref()
            .is_none_or(|name| *name == format!("{defect:?}"))
    };
    let wanted: Vec<_> = Defect::ALL.iter().copied().filter(is_wanted).collect();
    assert!(!wanted.is_empty(), "there is no defect {name:?}");
    wanted
}

#[test]
fn every_defect_is_found_by_a_property() {
    let wanted = wanted();
    panic::set_hook(Box::new(|_| {}));
    let (next, searches) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(defect) = wanted.get(place) else {
                        break;
                    };
                    let search = search(*defect);
                    let mut searches = searches.lock().expect("no panics here");
                    searches.insert(place, search);
                }
            });
        }
    });
    let _ = panic::take_hook();
    println!(
        "\n{:24} {:36} {:>6} {:>7} {:>7}",
        "defect", "found by", "seeds", "panics", "time"
    );
    let mut missed = Vec::new();
    for search in searches.into_inner().expect("no panics here").values() {
        let (defect, took) = (format!("{:?}", search.defect), search.took.as_secs_f32());
        let by = search
            .found
            .as_ref()
            .map_or("NOTHING", |found| found.property);
        println!(
            "{defect:24} {by:36} {:>6} {:>7} {took:>6.1}s",
            search.seeds, search.panics
        );
        if let Some(found) = &search.found {
            println!("{:24} {}", "", found.what);
        } else {
            missed.push(search.defect);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
