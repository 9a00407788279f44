//! `steady`: full load for a long time, without an election.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use raftery_proto::etcdserverpb::CompactionRequest;

use crate::cli::Steady;
use crate::cluster::{Cluster, System};
use crate::keys::Keys;
use crate::load::{Load, Plan};
use crate::procfs::Cores;
use crate::programs::Programs;
use crate::progress::Progress;
use crate::wire::Connection;

/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(30);

/// Runs it. Fails if there was an election, an error, or a penalty in more than one of a hundred
/// verdicts.
pub async fn steady(args: Steady) -> Result<ExitCode> {
    let progress = Progress::start();
    let programs = Programs::new(args.place)?;
    let size = args.size;
    progress.say(&format!(
        "three members of {}, default settings",
        programs.version(System::Raftery)?
    ));
    let mut cluster = programs.start(System::Raftery, 3).await?;
    let keys = Keys::new(size.keys as usize, size.value_bytes as usize);
    let connections = size.connections as usize;
    let load = Load::connect(&cluster.endpoints(), connections, Rc::new(keys)).await?;
    load.fill().await?;
    progress.say(&format!(
        "{} min of {} with {} callers begin",
        args.minutes, args.workload, args.callers
    ));
    let plan = Plan {
        workload: args.workload,
        callers: args.callers as usize,
        warm_up: size.warm_up,
        measured: Duration::from_secs(u64::from(args.minutes) * 60),
    };
    let servers = cluster.processes();
    let endpoints = cluster.endpoints();
    let first = endpoints.first().context("it has members")?;
    let mut other = Connection::open(first).await?;
    let mut compact_up_to = 0;
    let before = Cores::now()?;
    let run = load.run(plan, &servers);
    tokio::pin!(run);
    let outcome = loop {
        let then = Cores::now()?;
        tokio::select! {
            outcome = &mut run => break outcome?,
            () = tokio::time::sleep(REPORT) => {
                let used = Cores::now()?.used_since(then) * 100.0;
                let mib = cluster.resident_bytes()? >> 20;
                progress.say(&format!("cores {used:.0} % used, servers' memory {mib} MiB"));
                compact_up_to = compact(&mut other, compact_up_to).await?;
            }
        }
    };
    let used = Cores::now()?.used_since(before);
    let elections = outcome.elections();
    println!(
        "{elections} elections, {} errors in {:.0} s; {:.0} operations/s, p50 {:.1} ms, p99 {:.1} ms, \
         longest {:.1} ms; cores {:.0} % used",
        outcome.errors,
        outcome.elapsed.as_secs_f64(),
        outcome.per_second(),
        outcome.quantile_micros(0.5) / 1000.0,
        outcome.quantile_micros(0.99) / 1000.0,
        outcome.latency.max() as f64 / 1000.0,
        used * 100.0
    );
    let (verdicts, penalties) = judged(&mut cluster, args.minutes).await?;
    let penalised: usize = penalties.values().sum();
    println!("{verdicts} verdicts, {penalised} of them penalties: {penalties:?}");
    if let Some(error) = &outcome.first_error {
        println!("first error: {error}");
    }
    let is_calm = elections == 0 && outcome.errors == 0;
    Ok(match is_calm && penalised * 100 <= verdicts {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Lets go of what was older than the newest revision at the call before (0: nothing), as
/// kube-apiserver does every five minutes; without it the quota is reached before the time is over.
/// Gives the newest revision.
async fn compact(connection: &mut Connection, up_to: i64) -> Result<i64> {
    if up_to > 0 {
        let request = CompactionRequest {
            revision: up_to,
            physical: false,
        };
        connection.compact(&request).await.context("compacting")?;
    }
    let status = connection
        .status()
        .await
        .context("asking for the revision")?;
    let header = status.header.context("an answer without a header")?;
    Ok(header.revision)
}

/// Verdicts of the last minutes, and how often which of them was a penalty.
async fn judged(cluster: &mut Cluster, minutes: u32) -> Result<(usize, BTreeMap<String, usize>)> {
    let member = cluster.members().first().context("it has members")?;
    let page = member.ledger(minutes as usize * 60).await?;
    let verdicts = page.rows.iter().flat_map(|row| &row.verdicts);
    let mut penalties = BTreeMap::new();
    for verdict in verdicts.clone().filter(|verdict| verdict.points < 0) {
        *penalties.entry(verdict.reason.clone()).or_default() += 1;
    }
    Ok((verdicts.count(), penalties))
}
