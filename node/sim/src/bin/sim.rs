//! Looks for seeds that break something, or repeats one and tells what happens.
//!
//! ```text
//! sim                          new seeds for 180 s, one thread per core
//! sim --seconds 20             … for 20 s
//! sim --seeds 10000 --from 1   these
//! sim --seed 17                one, told event by event (--quiet: the outcome only)
//! ```
//!
//! `--events N` sets the length of the phase of chaos (default 10,000). It ends with status 1
//! when a property doesn't hold, or when a kind of fault never happened in 100 runs or more.

use std::io::{BufWriter, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use raftery_sim::{Options, Report, Violation, run, run_told};

/// So many runs see every kind of fault.
const RUNS_FOR_ALL: u64 = 100;
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Further ones say little.
const VIOLATIONS_MAX: usize = 20;

struct Search {
    from: u64,
    /// One after the last; `u64::MAX` when time decides.
    end: u64,
    until: Option<Instant>,
    events: u64,
    next: AtomicU64,
    stops: AtomicBool,
    sum: Mutex<Sum>,
}

#[derive(Default)]
struct Sum {
    runs: u64,
    report: Report,
    violations: Vec<Violation>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| -> Option<u64> {
        let place = words.iter().position(|word| word == name)?;
        let value = words.get(place + 1).and_then(|word| word.parse().ok());
        Some(value.unwrap_or_else(|| panic!("{name} wants a number")))
    };
    let events = number("--events").unwrap_or(10_000);
    if let Some(seed) = number("--seed") {
        return repeat(
            Options { seed, events },
            words.iter().any(|word| word == "--quiet"),
        );
    }
    let from = number("--from").unwrap_or_else(new_seed);
    let seconds = number("--seconds").unwrap_or(180);
    let seeds = number("--seeds");
    search(&Search {
        from,
        end: seeds.map_or(u64::MAX, |seeds| from + seeds),
        until: (seeds.is_none()).then(|| Instant::now() + Duration::from_secs(seconds)),
        events,
        next: AtomicU64::new(from),
        stops: AtomicBool::new(false),
        sum: Mutex::default(),
    })
}

/// Short enough to be typed, and with room for a day's seeds behind it.
fn new_seed() -> u64 {
    fastrand::u64(1..1 << 40)
}

fn repeat(options: Options, is_quiet: bool) -> ExitCode {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let result = if is_quiet {
        run(options)
    } else {
        run_told(options, &mut |line| {
            // A closed pipe: nobody reads on.
            let _ = writeln!(out, "{line}");
        })
    };
    let _ = match &result {
        Ok(report) => writeln!(out, "{report:#?}"),
        Err(violation) => writeln!(out, "VIOLATED: {violation}"),
    };
    if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn search(search: &Search) -> ExitCode {
    let begun = Instant::now();
    println!("seeds from {}, {} events each", search.from, search.events);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(search))).collect();
        let mut shown = Instant::now();
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(100));
            if shown.elapsed() >= PROGRESS_EVERY {
                shown = Instant::now();
                progress(search, begun);
            }
        }
    });
    progress(search, begun);
    let sum = search.sum.lock().expect("no thread panics");
    let Sum {
        runs,
        report,
        violations,
    } = &*sum;
    for (kind, count) in report.work().chain(report.faults.kinds()) {
        println!("{count:>12} {kind}");
    }
    for violation in violations {
        println!("VIOLATED: {violation}");
    }
    let missing: Vec<_> = report.missing().collect();
    let is_missing = *runs >= RUNS_FOR_ALL && !missing.is_empty();
    if is_missing {
        println!("NEVER HAPPENED: {missing:?}");
    }
    if violations.is_empty() && !is_missing {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn work(search: &Search) {
    while !search.stops.load(Ordering::Relaxed)
        && search.until.is_none_or(|until| Instant::now() < until)
    {
        let seed = search.next.fetch_add(1, Ordering::Relaxed);
        if seed >= search.end {
            return;
        }
        let options = Options {
            seed,
            events: search.events,
        };
        let result = run(options);
        let mut sum = search.sum.lock().expect("no thread panics");
        sum.runs += 1;
        match result {
            Ok(report) => sum.report.add(&report),
            Err(violation) => {
                println!("VIOLATED: {violation}");
                sum.violations.push(violation);
                if sum.violations.len() >= VIOLATIONS_MAX {
                    search.stops.store(true, Ordering::Relaxed);
                }
            }
        }
    }
}

fn progress(search: &Search, begun: Instant) {
    let sum = search.sum.lock().expect("no thread panics");
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = sum.report.events as f64 / seconds;
    println!(
        "{seconds:>6.0} s: {} seeds, {} events ({rate:.0}/s), {:.0} h simulated, {} violated",
        sum.runs,
        sum.report.events,
        sum.report.elapsed.as_secs_f64() / 3600.0,
        sum.violations.len()
    );
}
