//! Prints the CRD, or checks that files hold what it would print.

use std::process::ExitCode;

use raftery_operator::api::crd_yaml;

const USAGE: &str = "usage: crdgen [--check FILE...]";

fn main() -> ExitCode {
    let yaml = match crd_yaml() {
        Ok(yaml) => yaml,
        Err(error) => {
            eprintln!("crdgen: the CRD doesn't print: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        None => {
            print!("{yaml}");
            ExitCode::SUCCESS
        }
        Some("--check") => check(&yaml, args),
        Some(_) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn check(yaml: &str, files: impl Iterator<Item = String>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match std::fs::read_to_string(&file) {
            Ok(text) if text == yaml => {}
            Ok(_) => {
                eprintln!("crdgen: {file} is not what the types say; run `make crds`");
                code = ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("crdgen: {file}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
