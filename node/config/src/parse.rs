//! From the command line, the environment and the file to a [`NodeConfig`].

use std::error::Error as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::error::UsageError;
use crate::node_config::NodeConfig;
use crate::options::Options;
use crate::{ETCD_API_VERSION, VERSION};

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run a node.
    Run(Box<NodeConfig>),
    /// Print this on standard output and end with code 0.
    Print(String),
}

/// Flags that no variable stands for: images set `ETCD_VERSION` for their own scripts.
const WITHOUT_VARIABLE: [&str; 2] = ["help", "version"];

const ABOUT: &str = "\
A node of a Raftery cluster: an etcd-compatible store that judges its own members.

A flag may also be given as a variable (--data-dir as ETCD_DATA_DIR) or as a field of the
YAML file named by --config-file (data-dir: /data). A flag beats its variable, a variable
beats the file. Variables that stand for no flag are ignored. Both --flag=value and
--flag value will do, with one dash or two.";

const EXAMPLES: &str = "\
Examples:
  One member for trying things out:
    raftery-node --data-dir=/tmp/one

  The first of three (the others likewise, with their own names and URLs):
    raftery-node --name=a --data-dir=/var/lib/raftery \\
      --listen-client-urls=http://0.0.0.0:2379 --advertise-client-urls=http://10.0.0.1:2379 \\
      --listen-peer-urls=http://0.0.0.0:2380 --initial-advertise-peer-urls=http://10.0.0.1:2380 \\
      --initial-cluster=a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380

  A fourth, after `etcdctl member add d --peer-urls=http://10.0.0.4:2380`:
    raftery-node --name=d ... --initial-cluster-state=existing \\
      --initial-cluster=a=http://10.0.0.1:2380,...,d=http://10.0.0.4:2380

Exit codes: 0 after SIGTERM or SIGINT; 1 when it can't go on; 2 for mistakes in what is set
here; 10 when this member was removed from its cluster; 11 when a sync of its log failed; 12
when its data are damaged; 13 when the cluster doesn't let it in.";

#[derive(Parser)]
#[command(
    name = "raftery-node",
    about = ABOUT,
    after_help = EXAMPLES,
    override_usage = "raftery-node [--FLAG=VALUE]...",
    disable_version_flag = true,
    disable_help_flag = true,
    args_override_self = true
)]
struct CommandLine {
    #[command(flatten)]
    options: Options,

    /// YAML file with any of the flags above as fields.
    #[arg(long, value_name = "FILE", help_heading = "More")]
    config_file: Option<PathBuf>,

    /// Print the version and end.
    #[arg(long, help_heading = "More")]
    version: bool,

    /// Print this and end.
    #[arg(long, short, help_heading = "More", action = clap::ArgAction::HelpShort)]
    help: Option<bool>,
}

/// Reads the process's arguments (its name first), its variables, and the file if one is
/// named.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Invocation, UsageError> {
    let flags = match CommandLine::try_parse_from(args.into_iter().map(with_two_dashes)) {
        Ok(flags) => flags,
        Err(help) if help.kind() == ErrorKind::DisplayHelp => {
            return Ok(Invocation::Print(help.to_string()));
        }
        Err(error) => return Err(usage_error(&error, None)),
    };
    if flags.version {
        return Ok(Invocation::Print(format!(
            "etcd Version: {ETCD_API_VERSION}\nraftery-node Version: {VERSION}\n"
        )));
    }
    let environment = from_environment(variables)?;
    let mut options = flags.options.or(environment.options);
    if let Some(path) = flags.config_file.or(environment.config_file) {
        options = options.or(from_file(&path)?);
    }
    Ok(Invocation::Run(Box::new(NodeConfig::from_options(
        options,
    )?)))
}

/// Go's programs take `-name` for `--name`, and scripts for etcd use it.
fn with_two_dashes(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) => match text.strip_prefix('-') {
            Some(flag) if flag.len() > 1 && flag.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                format!("--{flag}").into()
            }
            _ => argument,
        },
        None => argument,
    }
}

/// Parses each variable that stands for a flag as if it were that flag. Empty ones say
/// nothing, as with etcd.
fn from_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<CommandLine, UsageError> {
    let command = CommandLine::command();
    let flags: Vec<&str> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|flag| !WITHOUT_VARIABLE.contains(flag))
        .collect();
    let mut arguments = vec![OsString::from("raftery-node")];
    for (variable, value) in variables {
        let Some(variable) = variable.to_str().filter(|_| !value.is_empty()) else {
            continue;
        };
        let Some(flag) = flags.iter().find(|flag| variable_of(flag) == variable) else {
            continue;
        };
        let mut argument = OsString::from(format!("--{flag}="));
        argument.push(value);
        // One by one first, so that an error names the variable it is about.
        CommandLine::try_parse_from([&OsString::new(), &argument])
            .map_err(|error| usage_error(&error, Some(variable)))?;
        arguments.push(argument);
    }
    CommandLine::try_parse_from(arguments).map_err(|error| usage_error(&error, None))
}

/// `data-dir` → `ETCD_DATA_DIR`.
fn variable_of(flag: &str) -> String {
    format!("ETCD_{}", flag.replace('-', "_").to_ascii_uppercase())
}

fn from_file(path: &Path) -> Result<Options, UsageError> {
    let text = std::fs::read_to_string(path).map_err(|source| UsageError::ReadFile {
        path: path.to_owned(),
        source,
    })?;
    Options::from_yaml(&text).map_err(|source| UsageError::ParseFile {
        path: path.to_owned(),
        source,
    })
}

/// Says in one line what clap says in several.
fn usage_error(error: &clap::Error, variable: Option<&str>) -> UsageError {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    // clap calls it `--data-dir <DIR>`, or `--managed[=<BOOL>]`.
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    let flag = argument
        .split([' ', '[', '='])
        .next()
        .unwrap_or_default()
        .to_owned();
    let origin = variable.map_or_else(|| flag.clone(), str::to_owned);
    match error.kind() {
        ErrorKind::UnknownArgument if !flag.starts_with('-') => UsageError::NotAFlag(flag),
        ErrorKind::UnknownArgument => UsageError::UnknownFlag {
            flag,
            like: context(ContextKind::SuggestedArg),
        },
        _ => match (context(ContextKind::InvalidValue), error.source()) {
            (Some(value), None) if value.is_empty() => UsageError::MissingValue { origin },
            (_, Some(why)) => UsageError::BadValue {
                origin,
                why: why.to_string(),
            },
            (Some(value), None) => UsageError::BadValue {
                origin,
                why: format!("{value:?} is not a value for it"),
            },
            (None, None) => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                let why = line.strip_prefix("error: ").unwrap_or(line).to_owned();
                UsageError::BadValue { origin, why }
            }
        },
    }
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod parse_test;
