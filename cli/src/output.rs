//! How things look: tables for people, JSON and YAML for programs.

use std::io::{self, Write};

use anyhow::Result;
use comfy_table::presets::NOTHING;
use raftery_ledger::VerdictPage;
use serde::Serialize;
use serde_json::Value;

use crate::args::Output;

/// Prints a value as asked for; `table` is what people see.
pub(crate) fn print<T: Serialize>(
    output: Output,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<()> {
    let text = match output {
        Output::Table => table(value),
        Output::Json => serde_json::to_string_pretty(value)?,
        Output::Yaml => serde_yaml::to_string(value)?,
    };
    writeln!(io::stdout().lock(), "{}", text.trim_end())?;
    Ok(())
}

/// Columns under headings, as kubectl has them.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(NOTHING).set_header(headings);
    table.add_rows(rows);
    let text = table.to_string();
    let lines = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

/// The figures of a verdict in a line: `sync_micros=9000 median_micros=500`.
pub(crate) fn details(verdict: &VerdictPage) -> String {
    let Value::Object(fields) = &verdict.details else {
        return String::new();
    };
    let field = |(name, value): (&String, &Value)| format!("{name}={value}");
    fields.iter().map(field).collect::<Vec<_>>().join(" ")
}

/// Milliseconds since 1970 as a date of UTC.
pub(crate) fn date(unix_ms: u64) -> String {
    let millis = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let date = mongodb::bson::DateTime::from_millis(millis).try_to_rfc3339_string();
    // A leader's clock may be anywhere.
    date.unwrap_or_else(|_| format!("{unix_ms} ms"))
}
