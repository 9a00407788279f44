//! The program: parses the command line, and ends everything it started when a signal comes.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use raftery_bench::cli::Cli;

/// As shells have it for a program that SIGINT ended; the other signals' too, nobody tells them apart.
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
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::select! {
            code = raftery_bench::run(cli) => code,
            _ = interrupt.recv() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
            _ = terminate.recv() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
            _ = hangup.recv() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        }
    })
}
