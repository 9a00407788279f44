//! `raftery`: what people and scripts ask of a cluster. Reads only.
//!
//! ```text
//! /ledger of a node ──> node ──┐
//!                              ├──> ledger::{tail, scores, why, verify, export} ──> output
//! MongoDB ──> Archive ─────────┘
//! ```

mod args;
mod ledger;
mod node;
mod output;

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use args::{Cli, Command};

/// Something is wrong, or couldn't be done. (2 is clap's, for a wrong command line.)
const EXIT_WRONG: u8 = 1;

fn main() -> ExitCode {
    let Command::Ledger(args) = Cli::parse().command;
    let ran = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start")
        .and_then(|runtime| runtime.block_on(ledger::run(args)));
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_WRONG),
        // Whoever closed the pipe early (`| head`) has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raftery: {error:#}");
            ExitCode::from(EXIT_WRONG)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
