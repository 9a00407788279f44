//! Command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::faults::case::Case;
use crate::faults::results::Contender;
use crate::workload::Workload;

/// Measures Raftery beside etcd, on this machine.
///
/// Everything is started and ended by the program itself, on ports of 127.0.0.1 and with data in
/// a directory that is removed afterwards. `make bench` builds what it needs and runs `compare`.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the same load on three raftery-nodes and on three etcds, in turns, and compare
    #[command(after_help = "\
Examples:
  raftery-bench compare                           the six workloads, three rounds: about 9 minutes
  raftery-bench compare --only put,txn --rounds 1 two of them, once
  raftery-bench compare --growth                  keys, members and callers as well: about an hour
  raftery-bench compare --growth --quick          all of it for a look, with little data")]
    Compare(Compare),
    /// Put load on a cluster that runs already; prints one line of JSON
    #[command(after_help = "\
Example:
  raftery-bench load --endpoints http://127.0.0.1:2379,http://127.0.0.1:3379 --workload put --fill
  raftery-bench load --endpoints http://127.0.0.1:2379 --workload get --pids \"$(pidof -s raftery-node)\"")]
    Load(LoadArgs),
    /// Keep three raftery-nodes under full load and count elections; there must be none
    Steady(Steady),
    /// Kill, freeze, cut off and slow down members of raftery and of etcd under constant load
    #[command(after_help = "\
Examples:
  raftery-bench faults --case leader-killed --times 3   how soon puts go on, on all systems
  raftery-bench faults --systems raftery --case jitter --minutes 1
  raftery-bench faults --times 100 --write-docs docs    everything, for the page: many hours

Members' links go through proxies, and their directories lie on a FUSE file system, which takes
/dev/fuse and the right to mount. Each case has a cluster of its own for each system. Before each
fault all members must answer and agree on a leader, and then are left alone (--settle). Clients ask
all members evenly; a put that fails or takes too long isn't sent again, and its client goes to the
next member at once. Exits with 1 if an acknowledged put was lost, a read was stale, or a case
couldn't be measured.")]
    Faults(Faults),
}

/// Where the programs are and where data goes.
#[derive(Args, Debug, Clone)]
pub struct Place {
    /// The node [default: $RAFTERY_BIN_DIR/raftery-node]
    #[arg(long, value_name = "PATH")]
    pub raftery_node: Option<PathBuf>,
    /// The etcd, not as part of a larger program, which would need more memory [default:
    /// $RAFTERY_TOOLS/etcd-alone, which hack/bench.sh builds]
    #[arg(long, value_name = "PATH")]
    pub etcd: Option<PathBuf>,
    /// Where the members' data directories are made; must be on a disk, not in memory [default:
    /// the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// How much there is, and how many ask for it.
#[derive(Args, Debug, Clone, Copy)]
pub struct Size {
    /// Keys to begin with
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub keys: u32,
    /// Bytes of every value
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub value_bytes: u32,
    /// HTTP/2 connections, in turn to every member
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Seconds at the start of a run that aren't measured
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub warm_up: Duration,
}

/// `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// Programs and data
    #[command(flatten)]
    pub place: Place,
    /// Keys, values, connections
    #[command(flatten)]
    pub size: Size,
    /// Measured seconds of each workload in each round
    #[arg(long, default_value = "8", value_parser = seconds)]
    pub seconds: Duration,
    /// Rounds; in each of them both systems start empty
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Only these workloads
    #[arg(long, value_name = "WORKLOADS", value_delimiter = ',')]
    pub only: Vec<Workload>,
    /// Members of each cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub members: u32,
    /// Also measure how the figures change with keys, members and callers
    #[arg(long)]
    pub growth: bool,
    /// One round of 2 s each, 10,000 keys, small growth: to see that it works, not to quote
    #[arg(long)]
    pub quick: bool,
    /// Write benchmarks.md and benchmarks/*.svg into this directory
    #[arg(long, value_name = "DIR", requires = "growth", conflicts_with_all = ["only", "quick"])]
    pub write_docs: Option<PathBuf>,
    /// What was built, for the page: a commit
    #[arg(long, value_name = "TEXT")]
    pub commit: Option<String>,
}

/// `load`.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// Clients' URLs of the members
    #[arg(long, value_name = "URLS", value_delimiter = ',', required = true)]
    pub endpoints: Vec<String>,
    /// What every caller does
    #[arg(long, value_enum)]
    pub workload: Workload,
    /// Callers, each with one request at a time [default: 256; 1 for one-put]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub callers: Option<u32>,
    /// Measured seconds
    #[arg(long, default_value = "8", value_parser = seconds)]
    pub seconds: Duration,
    /// Keys, values, connections
    #[command(flatten)]
    pub size: Size,
    /// Write every key first; gets and txns need them there
    #[arg(long)]
    pub fill: bool,
    /// Processes of the servers: their CPU time is reported
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub pids: Vec<u32>,
}

/// `steady`.
#[derive(Args, Debug)]
pub struct Steady {
    /// Programs and data
    #[command(flatten)]
    pub place: Place,
    /// Keys, values, connections
    #[command(flatten)]
    pub size: Size,
    /// How long
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub minutes: u32,
    /// What every caller does
    #[arg(long, value_enum, default_value = "put")]
    pub workload: Workload,
    /// Callers
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub callers: u32,
}

/// `faults`.
#[derive(Args, Debug)]
pub struct Faults {
    /// Programs and data
    #[command(flatten)]
    pub place: Place,
    /// The file system with faults [default: $RAFTERY_BIN_DIR/slowfs]
    #[arg(long, value_name = "PATH")]
    pub slowfs: Option<PathBuf>,
    /// Only these cases
    #[arg(long, value_name = "CASES", value_delimiter = ',', value_enum)]
    pub case: Vec<Case>,
    /// Only these systems
    #[arg(long, value_name = "SYSTEMS", value_delimiter = ',', value_enum)]
    pub systems: Vec<Contender>,
    /// How often a fault is repeated where it is measured how soon puts go on
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub times: u32,
    /// How often where the rate under the fault is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// How long where nothing must happen
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub minutes: u32,
    /// Seconds for which a whole cluster is left alone before a fault [default: 15 for raftery,
    /// whose timers follow what they measure; 5 for etcd]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub settle: Option<Duration>,
    /// Puts a second, except where the rate under the fault is measured
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=2000))]
    pub rate: u32,
    /// Callers, each with one put at a time, where the rate under the fault is measured
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub callers: u32,
    /// Bytes of every value
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub value_bytes: u32,
    /// Write faults.md and faults/*.svg into this directory, after each case; what is there of
    /// other cases stays
    #[arg(long, value_name = "DIR")]
    pub write_docs: Option<PathBuf>,
    /// What was built, for the page: a commit
    #[arg(long, value_name = "TEXT")]
    pub commit: Option<String>,
}

/// A number of seconds, at least a tenth and at most a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "a number of seconds is wanted, such as 8 or 0.5".to_owned())?;
    if !(0.1..=86_400.0).contains(&number) {
        return Err("at least 0.1 and at most 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(number))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn workloads_are_listed_with_commas() {
        let cli =
            Cli::try_parse_from(["raftery-bench", "compare", "--only", "put,serializable-get"]);
        let Command::Compare(compare) = cli.unwrap().command else {
            panic!("it was compare");
        };
        assert_eq!(compare.only, [Workload::Put, Workload::SerializableGet]);
        assert_eq!((compare.rounds, compare.members), (3, 3));
        assert_eq!(compare.seconds, Duration::from_secs(8));
    }

    #[test]
    fn the_page_wants_whole_runs() {
        let parse = |more: &[&str]| {
            Cli::try_parse_from(
                [&["raftery-bench", "compare", "--write-docs", "docs"], more].concat(),
            )
        };
        assert!(parse(&["--growth"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--growth", "--quick"]).is_err());
        assert!(parse(&["--growth", "--only", "put"]).is_err());
    }

    #[test]
    fn a_length_of_time_is_a_sensible_number() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "x", "-1", "0", "NaN", "inf", "1e9"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cases_and_systems_are_listed_with_commas() {
        let line = "raftery-bench faults --case leader-killed,leader-sync-50 --systems etcd-tuned";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Faults(faults) = cli.command else {
            panic!("it was faults");
        };
        assert_eq!(faults.case, [Case::LeaderKilled, Case::LeaderSync50]);
        assert_eq!(faults.systems, [Contender::EtcdTuned]);
        assert_eq!((faults.times, faults.minutes, faults.settle), (20, 5, None));
    }

    #[test]
    fn load_needs_endpoints() {
        assert!(Cli::try_parse_from(["raftery-bench", "load", "--workload", "put"]).is_err());
    }
}
