//! Tables on the terminal, and the page with its plots.

pub mod faults;
mod page;
mod plot;
mod timeline;

use std::path::Path;

use anyhow::Result;
use comfy_table::presets::ASCII_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table as Grid};

use crate::compare::Results;
use crate::figures::Table;

/// Heads of the columns behind subject and figure.
const COLUMNS: [&str; 3] = ["raftery", "etcd", "raftery / etcd"];

/// A table to read on a terminal.
#[must_use]
pub fn terminal(table: &Table) -> String {
    let mut grid = Grid::new();
    grid.load_style(ASCII_FULL_CONDENSED);
    let head = [&table.subjects[..], "figure"].into_iter().chain(COLUMNS);
    grid.set_header(head);
    let mut last = "";
    for row in &table.rows {
        let subject = if row.subject == last {
            ""
        } else {
            &row.subject
        };
        last = &row.subject;
        let mut cells = vec![subject.to_owned(), row.figure.name().to_owned()];
        cells.extend(row.cells());
        grid.add_row(cells);
    }
    for column in grid.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!(
        "{}: median (lowest–highest) of the rounds\n{grid}",
        table.title
    );
    for mark in &table.marks {
        text.push_str(&format!("\n! {mark}"));
    }
    text
}

/// Writes the page, the plots and the raw figures.
pub fn write(results: &Results, directory: &Path) -> Result<()> {
    let pictures = directory.join("benchmarks");
    std::fs::create_dir_all(&pictures)?;
    let drawn = plot::all(results, &pictures)?;
    std::fs::write(
        directory.join("benchmarks.md"),
        page::markdown(results, &drawn),
    )?;
    let raw = serde_json::to_string_pretty(results)?;
    std::fs::write(pictures.join("results.json"), raw + "\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figure;

    #[test]
    fn a_subject_is_named_once_and_marks_follow() {
        let mut table = Table::new("Title", "workload");
        table.add("put", Figure::PerSecond, true, 3000.0);
        table.add("put", Figure::PerSecond, false, 1000.0);
        table.add("put", Figure::P50, true, 900.0);
        table.marks.push("round 1, etcd, put: 2 errors".to_owned());
        let text = terminal(&table);
        assert_eq!(text.matches(" put ").count(), 1, "{text}");
        assert!(text.contains("3,000") && text.contains("3.00x"), "{text}");
        assert!(text.ends_with("! round 1, etcd, put: 2 errors"), "{text}");
    }
}
