//! `docs/faults.md`, its pictures, and the same tables on a terminal.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use comfy_table::presets::ASCII_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table as Grid};

use super::timeline;
use crate::faults::results::{CaseResult, Results};
use crate::faults::trial::{ADAPTS, LASTS, LASTS_MAX, MEASURED};
use crate::faults::watch::LOOK_EVERY;

/// Where pictures and figures lie.
const DIRECTORY: &str = "faults";

/// The file of all values.
#[must_use]
pub fn raw(directory: &Path) -> PathBuf {
    directory.join(DIRECTORY).join("results.json")
}

/// A case to read on a terminal.
#[must_use]
pub fn terminal(result: &CaseResult) -> String {
    let mut grid = Grid::new();
    grid.load_style(ASCII_FULL_CONDENSED);
    grid.set_header(head(result));
    for row in rows(result) {
        grid.add_row(row);
    }
    for column in grid.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{} ({})\n{grid}", result.case.title(), result.extent);
    for note in notes(result) {
        text.push_str(&format!("\n! {note}"));
    }
    text
}

/// Writes the page, the pictures and the values.
pub fn write(results: &Results, directory: &Path) -> Result<()> {
    let pictures = directory.join(DIRECTORY);
    std::fs::create_dir_all(&pictures)?;
    for result in &results.cases {
        let file = result.case.picture();
        timeline::draw(&pictures.join(&file), result)
            .map_err(|error| anyhow!("drawing {file}: {error}"))?;
    }
    std::fs::write(directory.join("faults.md"), page(results))?;
    let values = serde_json::to_string_pretty(results)?;
    std::fs::write(raw(directory), values + "\n")?;
    Ok(())
}

fn head(result: &CaseResult) -> Vec<&str> {
    let systems = result.outcomes.iter().map(|one| one.contender.title());
    [""].into_iter().chain(systems).collect()
}

fn rows(result: &CaseResult) -> Vec<Vec<String>> {
    let row = |quantity: crate::faults::results::Quantity| {
        let cells = result.outcomes.iter();
        let cells = cells.map(|one| quantity.cell(one.values(quantity)));
        [quantity.title().to_owned()]
            .into_iter()
            .chain(cells)
            .collect()
    };
    result.quantities().into_iter().map(row).collect()
}

fn notes(result: &CaseResult) -> impl Iterator<Item = String> {
    result.outcomes.iter().flat_map(|outcome| {
        let who = outcome.contender.title();
        outcome
            .notes
            .iter()
            .map(move |note| format!("{who}: {note}"))
    })
}

fn page(results: &Results) -> String {
    let mut page = String::new();
    write_page(results, &mut page).expect("a String takes whatever is written");
    page
}

fn write_page(results: &Results, to: &mut String) -> std::fmt::Result {
    writeln!(to, "# Faults\n")?;
    writeln!(to, "Written by `make faults`; changes by hand are lost.\n")?;
    writeln!(to, "Machine: {}.\n", results.machine)?;
    writeln!(
        to,
        "Three members of one system at a time on that one machine, which the load shares with them; a \
         new cluster\nfor each case. raftery and etcd run with their default settings; the third column \
         is etcd with\n`--heartbeat-interval 10 --election-timeout 100`. What members say to each other \
         goes through TCP proxies\nthat delay, lose and hold it, and their data directories lie on a \
         FUSE file system that is slow, fails or\nfreezes when it is told to. Both are there in every \
         case, also where nothing is wrong with them.\n"
    )?;
    writeln!(
        to,
        "The clients are the same for all: gRPC, one connection for each client, spread evenly over the \
         members.\nA put has a fixed time (named below); when it is over or the put fails, the client goes \
         to the next member at\nonce, on a new connection, and that put isn't sent again. There is no \
         back-off and no list of members that\nare down, so that what is measured is the cluster. Before \
         each fault every member answers a linearizable\nread, all name the same leader, and then the \
         cluster is left alone for a while (named below; timers that follow\nwhat they measure need it), \
         and the clients are back at the members that they began with.\n"
    )?;
    writeln!(
        to,
        "- Times are `median / 99th percentile / longest` of all repetitions, other figures medians \
         (lowest–highest).\n  \"Next acknowledged put\" counts from the fault to the answer of a put that \
         was sent at least 10 ms after it. \"Never\": not\n  within the {} s that the fault lasts then; otherwise it \
         lasts {} s.\n\
         - Who leads is asked of every member every {} ms. Leader changes are \
         `etcd_server_leader_changes_seen_total`,\n  which both count, of the member that saw most.\n\
         - Every put has a key of its own for the next 50,000 puts. After each fault about progress, what \
         was acknowledged\n  from 3 s before it to its end is read back; what is missing is lost.\n\
         - All the while every member is asked for linearizable reads, one after the other. One whose \
         revision is lower\n  than that of a put acknowledged before it was sent is stale.\n\
         - Rates under a fault are those of {} s, from {} s after it on, beside those of {} s before it.\n\
         - Pictures show one repetition, the middle one; the red line is the fault, the green one its end, \
         and blue\n  ones are where another leader was seen. Orange triangles are windows in which the member \
         of that name\n  was penalised.",
        LASTS_MAX.as_secs(),
        LASTS.as_secs(),
        LOOK_EVERY.as_millis(),
        MEASURED.as_secs(),
        ADAPTS.as_secs(),
        MEASURED.as_secs(),
    )?;
    for result in &results.cases {
        write_case(result, to)?;
    }
    writeln!(
        to,
        "\nEvery value: [results.json]({DIRECTORY}/results.json)."
    )
}

fn write_case(result: &CaseResult, to: &mut String) -> std::fmt::Result {
    let case = result.case;
    writeln!(to, "\n## {}\n", case.title())?;
    writeln!(to, "{}\n", case.explanation())?;
    let head = head(result).join(" | ");
    writeln!(
        to,
        "| {head} |\n|---{}|",
        "|--:".repeat(result.outcomes.len())
    )?;
    for row in rows(result) {
        writeln!(to, "| {} |", row.join(" | "))?;
    }
    let versions = result.versions.join(", ");
    let commit = result.commit.as_deref();
    let commit = commit.map_or_else(String::new, |commit| format!(", commit {commit}"));
    writeln!(
        to,
        "\n{}; {}. {}: {versions}{commit}; `make faults CASE={}`",
        result.load,
        result.extent,
        result.date,
        case.name()
    )?;
    let mut notes = notes(result).peekable();
    if notes.peek().is_some() {
        writeln!(to, "\nNot as it should be:\n")?;
    }
    for note in notes {
        writeln!(to, "- {note}")?;
    }
    let picture = case.picture();
    writeln!(to, "\n![{}]({DIRECTORY}/{picture})", case.title())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::case::Case;
    use crate::faults::results::{Contender, Outcome, Quantity, Timeline};

    fn result() -> CaseResult {
        let mut ours = Outcome::new(Contender::Raftery);
        ours.add(Quantity::NextPut, Some(0.3));
        ours.timeline = Timeline {
            from: -1.0,
            width: 0.5,
            rates: vec![500.0, 480.0, 0.0, 510.0],
            leaders: vec![(0.4, "m2".to_owned())],
            healed: Some(0.9),
            penalties: vec![(0.6, "m1".to_owned())],
        };
        let mut theirs = Outcome::new(Contender::Etcd);
        theirs.add(Quantity::NextPut, None);
        theirs
            .notes
            .push("3 of 9 acknowledged puts were lost".to_owned());
        CaseResult {
            case: Case::LeaderKilled,
            date: "2026-01-01".to_owned(),
            commit: Some("abc".to_owned()),
            versions: vec!["raftery-node 0.1.0".to_owned(), "etcd 3.7.3".to_owned()],
            load: "500 puts/s, 200 ms for each put".to_owned(),
            extent: "1 times".to_owned(),
            outcomes: vec![ours, theirs],
        }
    }

    #[test]
    fn systems_stand_beside_each_other_with_what_went_wrong() {
        let mut text = String::new();
        write_case(&result(), &mut text).unwrap();
        for wanted in [
            "\n|  | raftery | etcd |\n|---|--:|--:|\n| fault → next acknowledged put | 300 ms | never |\n",
            "\n- etcd: 3 of 9 acknowledged puts were lost\n",
            "\n![Leader killed](faults/leader-killed.svg)\n",
        ] {
            assert!(text.contains(wanted), "{wanted} isn't in:\n{text}");
        }
        let shown = terminal(&result());
        assert!(
            shown.contains("300 ms") && shown.ends_with("were lost"),
            "{shown}"
        );
    }

    #[test]
    fn a_page_lies_beside_its_pictures_and_values() {
        let directory = tempfile::tempdir().unwrap();
        let mut results = Results::default();
        results.put(result());
        write(&results, directory.path()).unwrap();
        assert_eq!(Results::read(&raw(directory.path())).unwrap(), results);
        let picture = directory.path().join("faults/leader-killed.svg");
        let picture = std::fs::read_to_string(picture).unwrap();
        assert!(
            picture.contains("m2") && picture.contains("raftery"),
            "{picture}"
        );
        assert!(directory.path().join("faults.md").is_file());
    }
}
