//! Load on three Raftery nodes and three of etcd, compared; and faults under load ([`faults`]).
//!
//! One load generator for both: callers in a closed loop ([`load`]) on plain HTTP/2 connections
//! ([`wire`]) speak etcd's API. Load and orchestration run on one thread, because the load shares
//! the cores with the servers that it measures.

pub mod cli;
pub mod cluster;
pub mod compare;
pub mod faults;
pub mod figures;
pub mod growth;
pub mod keys;
pub mod load;
pub mod machine;
pub mod procfs;
pub mod programs;
pub mod progress;
pub mod report;
pub mod steady;
pub mod wire;
pub mod workload;

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Result;

use cli::{Cli, Command, LoadArgs};
use keys::Keys;
use load::{Load, Plan};

/// Does what the command line says.
pub async fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Compare(args) => compare::compare(args).await,
        Command::Load(args) => load_only(args).await,
        Command::Steady(args) => steady::steady(args).await,
        Command::Faults(args) => faults::faults(args).await,
    }
}

async fn load_only(args: LoadArgs) -> Result<ExitCode> {
    let size = args.size;
    let keys = Rc::new(Keys::new(size.keys as usize, size.value_bytes as usize));
    let load = Load::connect(&args.endpoints, size.connections as usize, keys).await?;
    if args.fill {
        load.fill().await?;
    }
    let callers = args.callers.map(|callers| callers as usize);
    let plan = Plan {
        workload: args.workload,
        callers: callers.unwrap_or(args.workload.callers()),
        warm_up: size.warm_up,
        measured: args.seconds,
    };
    let outcome = load.run(plan, &args.pids).await?;
    let line = serde_json::json!({
        "workload": args.workload,
        "callers": plan.callers,
        "connections": size.connections,
        "seconds": outcome.elapsed.as_secs_f64(),
        "operations": outcome.operations(),
        "operations_per_second": outcome.per_second().round(),
        "p50_us": outcome.quantile_micros(0.5),
        "p99_us": outcome.quantile_micros(0.99),
        "max_us": outcome.latency.max(),
        "server_cpu_us_per_operation": (!args.pids.is_empty()).then(|| outcome.server_micros()),
        "load_cpu_us_per_operation": outcome.load_micros(),
        "conflicts": outcome.conflicts,
        "elections": outcome.elections(),
        "errors": outcome.errors,
        "first_error": outcome.first_error,
    });
    println!("{line}");
    Ok(match outcome.errors {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
