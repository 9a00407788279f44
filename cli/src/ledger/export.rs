//! `raftery ledger export`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use mongodb::bson::Document;
use raftery_ledger::{LedgerRow, documents};

use super::columns::{Cell, Object, cells, columns};
use super::parquet_file::ParquetFile;
use crate::args::{Format, Table};
use crate::node::{Node, Walk};

pub(super) async fn run(
    node: &Node,
    format: Format,
    table: Table,
    from: u64,
    file: Option<&Path>,
) -> Result<()> {
    ensure!(
        format != Format::Parquet || file.is_some() || !io::stdout().is_terminal(),
        "parquet isn't for a terminal: name a --file, or send it into one"
    );
    let out: Box<dyn Write + Send> = match file {
        Some(path) => Box::new(
            File::create(path).with_context(|| format!("{} can't be written", path.display()))?,
        ),
        None => Box::new(io::stdout()),
    };
    let mut writer = TableWriter::new(format, table, BufWriter::new(out))?;
    let mut walk = Walk::new(node, from);
    while let Some((page, rows)) = walk.next().await? {
        writer.write(&page.lineage, &rows)?;
    }
    writer.end()
}

/// Writes rows of documents in a format.
struct TableWriter<W: Write + Send> {
    table: Table,
    sink: Sink<W>,
}

enum Sink<W: Write + Send> {
    Jsonl(W),
    Csv(Box<csv::Writer<W>>),
    Parquet(ParquetFile<W>),
}

impl<W: Write + Send> TableWriter<W> {
    fn new(format: Format, table: Table, out: W) -> Result<Self> {
        let sink = match format {
            Format::Jsonl => Sink::Jsonl(out),
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(columns(table).iter().map(|(name, _)| name))?;
                Sink::Csv(Box::new(csv))
            }
            Format::Parquet => Sink::Parquet(ParquetFile::new(&columns(table), out)?),
        };
        Ok(Self { table, sink })
    }

    fn write(&mut self, lineage: &str, rows: &[LedgerRow]) -> Result<()> {
        let columns = columns(self.table);
        let made = rows.iter().flat_map(|row| self.documents(lineage, row));
        let made: Vec<Vec<Cell>> = made.map(|document| cells(&columns, &document)).collect();
        match &mut self.sink {
            Sink::Jsonl(out) => {
                for row in &made {
                    serde_json::to_writer(&mut *out, &Object(&columns, row))
                        .map_err(io::Error::from)?;
                    out.write_all(b"\n")?;
                }
            }
            Sink::Csv(csv) => {
                for row in &made {
                    csv.write_record(row.iter().map(Cell::text))?;
                }
            }
            Sink::Parquet(file) => file.write(&columns, &made)?,
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        match self.sink {
            Sink::Jsonl(mut out) => out.flush()?,
            Sink::Csv(mut csv) => csv.flush()?,
            Sink::Parquet(file) => file.end()?,
        }
        Ok(())
    }

    fn documents(&self, lineage: &str, row: &LedgerRow) -> Vec<Document> {
        let made = documents(lineage, row);
        match self.table {
            Table::Rewards => made.rewards,
            Table::Intervals => made.intervals,
        }
    }
}

#[cfg(test)]
#[path = "export_test.rs"]
mod export_test;
