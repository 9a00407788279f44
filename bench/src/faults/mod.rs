//! `faults`: the same faults on Raftery and on etcd, under the same load.
//!
//! - [`case`]: what goes wrong. [`trial`]: a case on one cluster, as often as it is wanted.
//! - [`clients`]: the load. [`readers`]: whether reads are stale. [`watch`]: who leads. [`record`]: what both told, and what follows.
//! - [`results`]: figures, as they are kept and shown.

pub mod case;
pub mod clients;
pub mod readers;
pub mod record;
pub mod results;
pub mod trial;
pub mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::cli::Faults;
use crate::cluster::System;
use crate::compare::today;
use crate::machine::Machine;
use crate::programs::Programs;
use crate::progress::Progress;
use crate::report;
use case::{Aim, Case};
use clients::Demand;
use results::{CaseResult, Contender, Outcome, Results};
use trial::{Settings, Trial};

/// What all cases share.
struct Bench {
    programs: Programs,
    slowfs: PathBuf,
    progress: Progress,
    settings: Settings,
    contenders: Vec<Contender>,
    versions: Vec<String>,
    commit: Option<String>,
}

/// Runs the cases and prints their tables. Fails if a case couldn't be measured, if an
/// acknowledged put was lost, or if a read was stale.
pub async fn faults(args: Faults) -> Result<ExitCode> {
    let programs = Programs::new(args.place.clone())?;
    let contenders = chosen(&args.systems);
    let mut versions = Vec::new();
    for system in [System::Raftery, System::Etcd] {
        if contenders.iter().any(|one| one.system() == system) {
            versions.push(programs.version(system)?);
        }
    }
    let machine = Machine::this(programs.directory())?;
    let bench = Bench {
        slowfs: programs.slowfs(args.slowfs.as_deref())?,
        progress: Progress::start(),
        settings: Settings {
            times: args.times,
            rounds: args.rounds,
            calm: Duration::from_secs(u64::from(args.minutes) * 60),
            settle: args.settle,
            per_second: args.rate,
            callers: args.callers,
            value_bytes: args.value_bytes as usize,
            sync: Duration::from_secs_f64(machine.sync_micros / 1e6),
        },
        programs,
        contenders,
        versions,
        commit: args.commit.clone(),
    };
    bench.progress.say(&format!(
        "{} on {}",
        bench.versions.join(" and "),
        machine.describe()
    ));
    let mut is_good = true;
    for case in chosen(&args.case) {
        let result = bench.case(case).await;
        println!("\n{}\n", report::faults::terminal(&result));
        is_good &= result
            .outcomes
            .iter()
            .all(|outcome| outcome.notes.is_empty());
        if let Some(directory) = &args.write_docs {
            let mut results = Results::read(&report::faults::raw(directory))?;
            results.machine = machine.describe();
            results.put(result);
            report::faults::write(&results, directory)
                .with_context(|| format!("writing into {}", directory.display()))?;
            let page = directory.join("faults.md");
            bench.progress.say(&format!("wrote {}", page.display()));
        }
    }
    Ok(match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What was asked for, or everything.
fn chosen<T: ValueEnum + PartialEq>(asked: &[T]) -> Vec<T> {
    let all = T::value_variants().iter();
    let wanted = all.filter(|one| asked.is_empty() || asked.contains(one));
    wanted.cloned().collect()
}

impl Bench {
    /// A case on all contenders, one after the other. What fails is noted, so that one bad minute
    /// doesn't cost hours.
    async fn case(&self, case: Case) -> CaseResult {
        self.progress
            .say(&format!("{}: {}", case.name(), case.explanation()));
        let mut outcomes = Vec::new();
        for contender in &self.contenders {
            let mut outcome = Outcome::new(*contender);
            if let Err(error) = self.measure(case, *contender, &mut outcome).await {
                let note = format!("not measured to its end: {error:#}");
                let name = case.name();
                self.progress
                    .say(&format!("{name} {}: {note}", contender.title()));
                outcome.notes.push(note);
            }
            outcomes.push(outcome);
        }
        CaseResult {
            case,
            date: today(),
            commit: self.commit.clone(),
            versions: self.versions.clone(),
            load: self.load(case.aim()),
            extent: self.extent(case.aim()),
            outcomes,
        }
    }

    async fn measure(&self, case: Case, contender: Contender, outcome: &mut Outcome) -> Result<()> {
        let trial = Trial::start(
            &self.programs,
            &self.slowfs,
            &self.progress,
            self.settings,
            case,
            contender,
        );
        trial.await?.run(outcome).await
    }

    fn load(&self, aim: Aim) -> String {
        let (demand, deadline) = self.settings.demand(aim);
        let demand = match demand {
            Demand::Constant(per_second) => format!("{per_second} puts/s"),
            Demand::Callers(callers) => format!("{callers} callers in a closed loop"),
        };
        format!("{demand}, {} ms for each put", deadline.as_millis())
    }

    fn extent(&self, aim: Aim) -> String {
        let settles: Vec<String> = self
            .contenders
            .iter()
            .map(|one| {
                let seconds = self.settings.settle(*one).as_secs_f64();
                format!("{} {seconds} s", one.title())
            })
            .collect();
        let settles = settles.join("; ");
        match aim {
            Aim::Progress => format!("{} times; settled before: {settles}", self.settings.times),
            Aim::Rate => format!("{} rounds; settled before: {settles}", self.settings.rounds),
            Aim::Calm => format!(
                "{} min; settled before: {settles}",
                self.settings.calm.as_secs() / 60
            ),
        }
    }
}
