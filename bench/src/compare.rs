//! `compare`: the same load on both systems, in turns.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cli::{Compare, Size};
use crate::cluster::{Cluster, System};
use crate::figures::{Figure, Table, with_thousands};
use crate::growth;
use crate::keys::Keys;
use crate::load::{Load, Plan};
use crate::machine::Machine;
use crate::programs::Programs;
use crate::progress::Progress;
use crate::report;
use crate::workload::Workload;

/// Settings of `--quick`.
const QUICK_SECONDS: Duration = Duration::from_secs(2);
const QUICK_WARM_UP: Duration = Duration::from_millis(500);
const QUICK_KEYS: u32 = 10_000;

/// All that a comparison found out.
#[derive(Serialize)]
pub struct Results {
    /// Day of the run, UTC.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// What was built.
    pub commit: Option<String>,
    /// What our program says it is.
    pub raftery_version: String,
    /// What etcd says it is.
    pub etcd_version: String,
    /// Measured seconds of each run.
    pub seconds: f64,
    /// Rounds.
    pub rounds: u32,
    /// Members of a cluster where nothing else is said.
    pub members: u32,
    /// Keys to begin with where nothing else is said.
    pub keys: u32,
    /// Bytes of a value where nothing else is said.
    pub value_bytes: u32,
    /// Connections.
    pub connections: u32,
    /// The workloads.
    pub workloads: Table,
    /// How figures grow with keys, members and callers.
    pub growth: Option<growth::Tables>,
}

/// Runs it and prints its tables.
pub async fn compare(mut args: Compare) -> Result<ExitCode> {
    if args.quick {
        args.rounds = 1;
        args.seconds = QUICK_SECONDS;
        args.size.warm_up = QUICK_WARM_UP;
        args.size.keys = QUICK_KEYS;
    }
    let programs = Programs::new(args.place.clone())?;
    let mut results = Results {
        date: today(),
        machine: Machine::this(programs.directory())?,
        commit: args.commit.clone(),
        raftery_version: programs.version(System::Raftery)?,
        etcd_version: programs.version(System::Etcd)?,
        seconds: args.seconds.as_secs_f64(),
        rounds: args.rounds,
        members: args.members,
        keys: args.size.keys,
        value_bytes: args.size.value_bytes,
        connections: args.size.connections,
        workloads: Table::new(&format!("{} members beside etcd", args.members), "workload"),
        growth: None,
    };
    let bench = Bench {
        programs,
        progress: Progress::start(),
        size: args.size,
        measured: args.seconds,
        rounds: args.rounds,
    };
    bench.progress.say(&format!(
        "{} and {} on {}",
        results.raftery_version,
        results.etcd_version,
        results.machine.describe()
    ));
    let chosen = Workload::ALL.into_iter();
    let chosen: Vec<_> = chosen
        .filter(|workload| args.only.is_empty() || args.only.contains(workload))
        .collect();
    for (round, system) in bench.turns() {
        bench
            .round(&mut results.workloads, &chosen, system, round, args.members)
            .await?;
    }
    println!("\n{}", report::terminal(&results.workloads));
    if args.growth {
        let tables = growth::measure(&bench, args.quick).await?;
        for table in tables.all() {
            println!("\n{}", report::terminal(table));
        }
        results.growth = Some(tables);
    }
    if let Some(directory) = &args.write_docs {
        report::write(&results, directory)
            .with_context(|| format!("writing into {}", directory.display()))?;
        bench.progress.say(&format!(
            "wrote {}",
            directory.join("benchmarks.md").display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Day of now, UTC.
#[must_use]
pub fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.chars().take("2026-01-01".len()).collect()
}

/// What all measurements of a comparison share.
pub struct Bench {
    /// What is measured.
    pub programs: Programs,
    /// Says what happens.
    pub progress: Progress,
    /// Keys, values, connections.
    pub size: Size,
    /// Measured time of each run.
    pub measured: Duration,
    /// Rounds.
    pub rounds: u32,
}

impl Bench {
    /// Both systems in every round; the one that came last begins the next round, so that
    /// neither always finds the machine as the other left it.
    #[must_use]
    pub fn turns(&self) -> Vec<(u32, System)> {
        let turn = |round: u32| match round % 2 {
            1 => [(round, System::Raftery), (round, System::Etcd)],
            _ => [(round, System::Etcd), (round, System::Raftery)],
        };
        (1..=self.rounds).flat_map(turn).collect()
    }

    /// A system's part of a round: all workloads on one new cluster.
    async fn round(
        &self,
        table: &mut Table,
        workloads: &[Workload],
        system: System,
        round: u32,
        members: u32,
    ) -> Result<()> {
        let (cluster, load, _) = self.filled(system, members as usize, self.keys()).await?;
        for workload in workloads {
            let run = Run {
                subject: &workload.to_string(),
                workload: *workload,
                callers: workload.callers(),
                system,
                round,
            };
            self.run(table, &cluster, &load, run).await?;
        }
        let memory = cluster.resident_bytes()? as f64;
        table.add("after these", Figure::Memory, system.is_ours(), memory);
        self.finish(cluster, load).await
    }

    /// The keys of the settings.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys::new(self.size.keys as usize, self.size.value_bytes as usize)
    }

    /// A new cluster with these keys, and how many of them were written in a second.
    pub async fn filled(
        &self,
        system: System,
        members: usize,
        keys: Keys,
    ) -> Result<(Cluster, Load, f64)> {
        let cluster = self.programs.start(system, members).await?;
        let count = with_thousands(keys.count() as u64);
        self.progress.say(&format!(
            "{members} members of {system} serve; writing {count} keys"
        ));
        let connections = self.size.connections as usize;
        let load = Load::connect(&cluster.endpoints(), connections, Rc::new(keys)).await?;
        let per_second = load
            .fill()
            .await
            .with_context(|| format!("filling {system}"))?;
        Ok((cluster, load, per_second))
    }

    /// One run, its figures added to the table.
    pub async fn run(
        &self,
        table: &mut Table,
        cluster: &Cluster,
        load: &Load,
        run: Run<'_>,
    ) -> Result<()> {
        let plan = Plan {
            workload: run.workload,
            callers: run.callers,
            warm_up: self.size.warm_up,
            measured: self.measured,
        };
        let Run {
            subject,
            system,
            round,
            ..
        } = run;
        let outcome = load
            .run(plan, &cluster.processes())
            .await
            .with_context(|| format!("{subject} on {system}"))?;
        let figures = [
            (Figure::PerSecond, outcome.per_second()),
            (Figure::P50, outcome.quantile_micros(0.5)),
            (Figure::P99, outcome.quantile_micros(0.99)),
            (Figure::ServerCpu, outcome.server_micros()),
        ];
        for (figure, value) in figures {
            table.add(subject, figure, system.is_ours(), value);
        }
        let shown: Vec<String> = figures
            .iter()
            .map(|(figure, value)| format!("{} {}", figure.name(), figure.show(*value)))
            .collect();
        self.progress.say(&format!(
            "round {round}/{} {system:<7} {subject}: {}",
            self.rounds,
            shown.join(", ")
        ));
        for spoilt in outcome.spoilt_by() {
            self.progress.say(&format!("        {spoilt}"));
            table
                .marks
                .push(format!("round {round}, {system}, {subject}: {spoilt}"));
        }
        Ok(())
    }

    /// Removes a cluster, and lets the disk come to rest before the next one.
    pub async fn finish(&self, cluster: Cluster, load: Load) -> Result<()> {
        drop(load);
        drop(cluster);
        tokio::task::spawn_blocking(rustix::fs::sync)
            .await
            .context("waiting for the disk")
    }
}

/// Which run.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Its row in the table.
    pub subject: &'a str,
    /// What every caller does.
    pub workload: Workload,
    /// Callers.
    pub callers: usize,
    /// On which system.
    pub system: System,
    /// In which round, from 1.
    pub round: u32,
}
