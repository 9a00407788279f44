//! A Parquet file of rows: one row group for each page of the ledger, all columns optional.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::columns::{Cell, Type};

pub(super) struct ParquetFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
}

impl<W: Write + Send> ParquetFile<W> {
    pub(super) fn new(columns: &[(&str, Type)], out: W) -> Result<Self> {
        let column = |(name, kind): &(&str, Type)| match kind {
            Type::Number => format!("OPTIONAL INT64 {name};"),
            Type::Bool => format!("OPTIONAL BOOLEAN {name};"),
            Type::Text | Type::Json => format!("OPTIONAL BYTE_ARRAY {name} (UTF8);"),
            Type::Time => format!("OPTIONAL INT64 {name} (TIMESTAMP(MILLIS,true));"),
        };
        let columns: String = columns.iter().map(column).collect();
        let schema = parse_message_type(&format!("message ledger {{ {columns} }}"))?;
        let properties = Arc::new(WriterProperties::builder().build());
        let writer = SerializedFileWriter::new(out, Arc::new(schema), properties)?;
        Ok(Self { writer })
    }

    /// Writes rows as one group.
    pub(super) fn write(&mut self, columns: &[(&str, Type)], rows: &[Vec<Cell>]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for (at, (name, kind)) in columns.iter().enumerate() {
            let cells = rows.iter().map(|row| &row[at]);
            match kind {
                Type::Number | Type::Time => {
                    write_column::<W, Int64Type>(&mut group, cells, number)
                }
                Type::Bool => write_column::<W, BoolType>(&mut group, cells, boolean),
                Type::Text | Type::Json => {
                    write_column::<W, ByteArrayType>(&mut group, cells, text)
                }
            }
            .with_context(|| format!("column {name}"))?;
        }
        group.close()?;
        Ok(())
    }

    pub(super) fn end(self) -> Result<()> {
        self.writer.close()?;
        Ok(())
    }
}

fn write_column<'a, W: Write + Send, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    cells: impl Iterator<Item = &'a Cell>,
    value: fn(&Cell) -> Result<T::T>,
) -> Result<()> {
    let mut values = Vec::new();
    let mut levels = Vec::new();
    for cell in cells {
        let is_there = *cell != Cell::Null;
        levels.push(i16::from(is_there));
        if is_there {
            values.push(value(cell)?);
        }
    }
    let mut column = group
        .next_column()?
        .context("more columns than in the schema")?;
    column
        .typed::<T>()
        .write_batch(&values, Some(&levels), None)?;
    column.close()?;
    Ok(())
}

fn number(cell: &Cell) -> Result<i64> {
    match cell {
        Cell::Number(number) | Cell::Time(number, _) => Ok(*number),
        Cell::Null | Cell::Text(_) | Cell::Bool(_) | Cell::Json(_) => {
            bail!("{cell:?} is no number")
        }
    }
}

fn boolean(cell: &Cell) -> Result<bool> {
    match cell {
        Cell::Bool(is_so) => Ok(*is_so),
        Cell::Null | Cell::Text(_) | Cell::Number(_) | Cell::Time(..) | Cell::Json(_) => {
            bail!("{cell:?} is neither true nor false")
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of three functions of a type")]
fn text(cell: &Cell) -> Result<ByteArray> {
    Ok(ByteArray::from(cell.text().into_bytes()))
}
