//! The node's process: reads its configuration, sets up the log, runs the server until a
//! signal ends it.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use raftery_config::{Invocation, LogFormat, LogLevel, NodeConfig};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A request allocates some dozens of small pieces, which glibc's allocator makes dear.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is wrong with flags, variables or file. Shared with other Unix programs.
const EXIT_USAGE: u8 = 2;

/// Up to so many cores one thread does everything asynchronous (files have one of their own): what
/// a second would do is less than what waking each other costs.
const CORES_ALONE_MAX: usize = 2;
/// More threads than this only wait for the one driver.
const WORKERS_MAX: usize = 4;

fn main() -> ExitCode {
    let config = match raftery_config::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(Invocation::Run(config)) => *config,
        Ok(Invocation::Print(text)) => {
            // Whoever closed the pipe early (`--help | head`) has seen enough.
            let _ = io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("raftery-node: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    start_log(config.log_level, config.log_format);
    use_small_pages();
    match run(config) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Pages of 2 MiB would fill up with what the allocator has no use for: some 15 MiB a member, for no
/// gain in speed that could be measured.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the kernel keeps huge pages: more memory will be resident");
    }
}

/// Runs until SIGTERM or SIGINT, or until the server can't go on.
fn run(config: NodeConfig) -> anyhow::Result<ExitCode> {
    let mut builder = if cores() <= CORES_ALONE_MAX {
        Builder::new_current_thread()
    } else {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(cores().min(WORKERS_MAX));
        builder
    };
    let runtime = builder
        .enable_all()
        .build()
        .context("can't start threads")?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("can't listen to SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("can't listen to SIGINT")?;
        let stop = async move {
            let signal = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal, "stopping");
        };
        anyhow::Ok(raftery_server::run(config, stop).await)
    })?;
    // Tasks that are still blocked somewhere don't hold up the end.
    runtime.shutdown_background();
    Ok(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "ended: {error}");
            ExitCode::from(error.exit_code())
        }
    })
}

/// Cores that this process may use, a container's limit included.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lines go to standard error, as etcd's do.
fn start_log(level: LogLevel, format: LogFormat) {
    // Libraries speak up when something is wrong: their every frame at `debug` would bury ours.
    let filter = match level {
        LogLevel::Debug => "info,raftery_server=debug,raftery_ledger=debug,raftery_wal=debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Console => log
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .init(),
    }
}
