//! The command line, and what `--help` teaches.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  raftery ledger scores                     how every member stands
  raftery ledger tail -f                    verdicts as they fall
  raftery ledger why node-2                 what led to the score of node-2
  raftery ledger verify --mongodb-uri-file uri
                                            the ledger against MongoDB
  raftery ledger export --format csv --file rewards.csv

As kubectl raftery: put this program, or a link to it, on the PATH as kubectl-raftery; then forward
the metrics port of a pod of the cluster:
  kubectl port-forward pod/NAME-0 2381 &
  kubectl raftery ledger scores";

/// Looks into Raftery clusters.
#[derive(Debug, Parser)]
#[command(name = "raftery", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The replicated ledger: what members earned, why, and whether MongoDB has it all.
    #[command(after_help = EXAMPLES)]
    Ledger(LedgerArgs),
}

#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    /// A node of the cluster, by its metrics address (--listen-metrics-urls).
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "RAFTERY_ENDPOINT",
        default_value = "http://127.0.0.1:2381"
    )]
    pub(crate) endpoint: String,

    /// How to print.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Output,

    #[command(subcommand)]
    pub(crate) command: LedgerCommand,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Shows the verdicts of the last batches; -f goes on with new ones.
    #[command(after_help = "\
Examples:
  raftery ledger tail                  the last ten windows
  raftery ledger tail -n 1 -o json     the last one, with all that was measured
  raftery ledger tail -f               goes on until it is interrupted")]
    Tail {
        /// How many batches to begin with.
        #[arg(short = 'n', long, value_name = "BATCHES", default_value_t = 10)]
        batches: usize,
        /// Go on with new batches as they come.
        #[arg(short, long)]
        follow: bool,
    },
    /// Shows how every member stands: fast score, slow score, last verdict.
    ///
    /// The fast score says whether a member is slow now: 1 (no) to 100. The slow score says whether
    /// it has been good: -1000 to 1000; old deeds fade.
    #[command(after_help = "\
Examples:
  raftery ledger scores
  raftery ledger scores -o json --endpoint http://node-1:2381")]
    Scores,
    /// Shows the verdicts that led to a member's score, and how much each still weighs.
    ///
    /// Points fade with the half-life of the cluster. Equal verdicts of windows that follow each
    /// other stand in one line.
    #[command(after_help = "\
Examples:
  raftery ledger why node-2
  raftery ledger why 8e9e05c52164694d --limit 100")]
    Why {
        /// Name or ID of the member.
        member: String,
        /// Most lines of verdicts, the newest first.
        #[arg(long, value_name = "LINES", default_value_t = 20)]
        limit: usize,
    },
    /// Compares the ledger with MongoDB, both ways. Exit code 1 when something is wrong.
    ///
    /// The node's retained batches must follow each other in the chain of hashes; the documents of
    /// each exported one must be in MongoDB as they should be; and each document of this lineage in
    /// the same range must belong to a batch. Recorded gaps and expired documents are told, and
    /// aren't wrong.
    #[command(after_help = "\
Examples:
  raftery ledger verify --mongodb-uri-file uri
  raftery ledger verify --mongodb-uri-file uri -o json | jq .differences

The file has the connection string as its only content, as the node's does:
  mongodb://reader:PASSWORD@mongodb:27017/raftery?tls=true&tlsCAFile=/etc/ca.pem")]
    Verify {
        /// File with the URI of the MongoDB.
        #[arg(long, value_name = "FILE", env = "RAFTERY_LEDGER_MONGODB_URI_FILE")]
        mongodb_uri_file: PathBuf,
    },
    /// Writes the retained batches as a table, with the fields of the documents in MongoDB.
    #[command(after_help = "\
Examples:
  raftery ledger export --format jsonl | jq 'select(.points < 0)'
  raftery ledger export --format csv --table intervals --file intervals.csv
  raftery ledger export --format parquet --file rewards.parquet")]
    Export {
        /// jsonl: one JSON object a line.
        #[arg(long, value_enum)]
        format: Format,
        /// What to write.
        #[arg(long, value_enum, default_value = "rewards")]
        table: Table,
        /// Raft index of the first batch [default: the oldest].
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        from: u64,
        /// Where to write [default: standard output].
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// How to write a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated, with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// Which documents to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// Verdicts.
    Rewards,
    /// What was measured.
    Intervals,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_of_the_examples_is_one() {
        Cli::command().debug_assert();
        for line in EXAMPLES.lines() {
            let Some(rest) = line.trim().strip_prefix("raftery ") else {
                continue;
            };
            let words = rest
                .split("  ")
                .next()
                .into_iter()
                .flat_map(str::split_whitespace);
            Cli::try_parse_from(std::iter::once("raftery").chain(words)).expect(line);
        }
    }

    #[test]
    fn what_is_asked_of_all_commands_may_stand_behind_them() {
        let words = "raftery ledger scores -o json --endpoint http://a:1";
        let Command::Ledger(ledger) = Cli::parse_from(words.split(' ')).command;
        assert_eq!(
            (ledger.output, &ledger.endpoint[..]),
            (Output::Json, "http://a:1")
        );
    }
}
