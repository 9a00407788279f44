//! Load on three Raftery nodes and three of etcd, compared.
//!
//! One load generator for both: callers in a closed loop ([`load`]) on plain HTTP/2 connections
//! ([`wire`]) speak etcd's API. Load and orchestration run on one thread, because the load shares
//! the cores with the servers that it measures.

mod cli;
mod keys;
mod load;
mod procfs;
mod wire;
mod workload;

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use cli::{Cli, Command, LoadArgs};
use keys::Keys;
use load::{Load, Plan};

/// As shells have it for a program that SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("raftery-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    // On a signal the run is dropped, and with it every process and directory that it made.
    LocalSet::new().block_on(&runtime, async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            code = run(cli) => code,
            _ = interrupt.recv() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
            _ = terminate.recv() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        }
    })
}

async fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Load(args) => load_only(args).await,
        _ => todo!(),
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
    let (lowest, highest) = outcome.terms;
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
        "elections": highest.saturating_sub(lowest),
        "errors": outcome.errors,
        "first_error": outcome.first_error,
    });
    println!("{line}");
    Ok(match outcome.errors {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
