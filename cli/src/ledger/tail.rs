//! `raftery ledger tail`.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use raftery_ledger::{LedgerPage, RowPage};

use super::label_of;
use crate::args::Output;
use crate::node::Node;
use crate::output;

/// How often it is looked for new batches.
const POLL: Duration = Duration::from_millis(500);

pub(super) async fn run(node: &Node, output: Output, batches: usize, follow: bool) -> Result<()> {
    let mut page = node.last(batches).await?;
    if output == Output::Table {
        writeln!(io::stdout().lock(), "{}", heading())?;
    }
    let mut next_index = page.last_index + 1;
    let mut is_failing = false;
    loop {
        for row in &page.rows {
            show(output, &page, row)?;
            next_index = next_index.max(row.index + 1);
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
        match node.since(next_index).await {
            Ok(next) => {
                page = next;
                is_failing = false;
            }
            // It may be starting again.
            Err(error) => {
                if !is_failing {
                    eprintln!("raftery: {error:#}; trying again");
                }
                page.rows.clear();
                is_failing = true;
            }
        }
    }
}

fn show(output: Output, page: &LedgerPage, row: &RowPage) -> Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Table => write!(out, "{}", lines(page, row))?,
        Output::Json => writeln!(out, "{}", serde_json::to_string(row)?)?,
        Output::Yaml => write!(out, "---\n{}", serde_yaml::to_string(row)?)?,
    }
    Ok(out.flush()?)
}

/// Columns of a fixed width: what comes later isn't known yet.
fn columns(cells: [&str; 7]) -> String {
    let [at, index, window, member, points, reason, details] = cells;
    let line = format!(
        "{at:<24}  {index:>9}  {window:>12}  {member:<16}  {points:>6}  {reason:<21}  {details}"
    );
    line.trim_end().to_owned()
}

fn heading() -> String {
    columns([
        "AT",
        "INDEX",
        "TERM/WINDOW",
        "MEMBER",
        "POINTS",
        "REASON",
        "DETAILS",
    ])
}

fn lines(page: &LedgerPage, row: &RowPage) -> String {
    let mut lines = String::new();
    for verdict in &row.verdicts {
        lines.push_str(&columns([
            &output::date(row.at_unix_ms),
            &row.index.to_string(),
            &format!("{}/{}", row.term, row.window),
            &label_of(page, verdict.member),
            &format!("{:+}", verdict.points),
            &verdict.reason,
            &output::details(verdict),
        ]));
        lines.push('\n');
    }
    lines
}
