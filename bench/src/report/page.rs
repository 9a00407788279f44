//! `docs/benchmarks.md`.

use std::fmt::Write;

use crate::compare::Results;
use crate::figures::Table;

use super::COLUMNS;
use super::plot::Drawn;

/// The page. Pictures lie beside it in `benchmarks/`.
#[must_use]
pub(super) fn markdown(results: &Results, pictures: &[Drawn]) -> String {
    let mut page = String::new();
    write_page(results, pictures, &mut page).expect("a String takes whatever is written");
    page
}

fn write_page(results: &Results, pictures: &[Drawn], to: &mut String) -> std::fmt::Result {
    let Results {
        date,
        machine,
        raftery_version,
        etcd_version,
        seconds,
        rounds,
        members,
        keys,
        value_bytes,
        connections,
        ..
    } = results;
    writeln!(to, "# Benchmarks\n")?;
    writeln!(to, "Written by `make bench`; changes by hand are lost.\n")?;
    writeln!(to, "| | |\n|---|---|")?;
    writeln!(to, "| Date | {date} |")?;
    match &results.commit {
        Some(commit) => writeln!(to, "| Raftery | {raftery_version}, commit {commit} |")?,
        None => writeln!(to, "| Raftery | {raftery_version} |")?,
    }
    writeln!(to, "| Beside it | {etcd_version} |")?;
    writeln!(to, "| Machine | {} |", machine.describe())?;
    writeln!(
        to,
        "\nServers and load share that one machine: {members} processes of one system and the load at \
         a time, the\nsystems in turns, each time on empty directories. Rounds: {rounds}. Both run \
         with their default settings\n(heartbeat 100 ms, election timeout 1 s) but for a quota of 16 GiB. The load is the same \
         code for both: callers in a closed loop, one\nrequest at a time each, on {connections} \
         connections spread over all members; {value_bytes}-byte values; {keys} keys\nwritten before, \
         drawn evenly; {seconds} s measured after a warm-up. A single caller goes round the\n\
         connections. Server CPU is user and system time of all servers divided by the operations. \
         Figures are\nmedians (lowest–highest of the rounds); the ratio is taken within each round."
    )?;
    write_table(&results.workloads, to)?;
    for table in results.growth.iter().flat_map(|growth| growth.all()) {
        write_table(table, to)?;
    }
    writeln!(to, "\n## Plots\n")?;
    writeln!(to, "Strokes reach from the lowest to the highest round.")?;
    for picture in pictures {
        writeln!(to, "\n![{}](benchmarks/{})", picture.title, picture.file)?;
    }
    writeln!(
        to,
        "\nEvery value of every round: [results.json](benchmarks/results.json)."
    )
}

fn write_table(table: &Table, to: &mut String) -> std::fmt::Result {
    writeln!(to, "\n## {}\n", table.title)?;
    let columns = COLUMNS.join(" | ");
    writeln!(
        to,
        "| {} | figure | {columns} |\n|---|---|--:|--:|--:|",
        table.subjects
    )?;
    let mut last = "";
    for row in &table.rows {
        let subject = if row.subject == last {
            ""
        } else {
            &row.subject
        };
        last = &row.subject;
        writeln!(
            to,
            "| {subject} | {} | {} |",
            row.figure.name(),
            row.cells().join(" | ")
        )?;
    }
    if !table.marks.is_empty() {
        writeln!(to, "\nNot clean:\n")?;
    }
    for mark in &table.marks {
        writeln!(to, "- {mark}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figure;

    #[test]
    fn tables_are_markdown_with_what_spoilt_them() {
        let mut table = Table::new("Title", "workload");
        table.add("put", Figure::PerSecond, true, 3000.0);
        table.add("put", Figure::PerSecond, false, 1000.0);
        table.marks.push("round 1: 2 errors".to_owned());
        let mut text = String::new();
        write_table(&table, &mut text).unwrap();
        let wanted = "\n## Title\n\n\
            | workload | figure | raftery | etcd | raftery / etcd |\n|---|---|--:|--:|--:|\n\
            | put | operations/s | 3,000 | 1,000 | 3.00x |\n\nNot clean:\n\n- round 1: 2 errors\n";
        assert_eq!(text, wanted);
    }
}
