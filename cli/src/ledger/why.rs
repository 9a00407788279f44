//! `raftery ledger why`: what a score is made of.

use std::collections::BTreeMap;

use anyhow::Result;
use raftery_behaviour::{MemberId, Scoring, share_kept};
use raftery_ledger::{LedgerRow, MemberPage, VerdictPage};
use serde::Serialize;

use super::{label, member};
use crate::args::Output;
use crate::node::{Node, Walk};
use crate::output;

/// What a member's slow score is made of.
#[derive(Debug, PartialEq, Serialize)]
struct Why {
    /// The member, and how it stands.
    member: MemberPage,
    /// Points that the retained verdicts still weigh.
    explained: f64,
    /// What else is in the slow score: verdicts of batches that were dropped, what a bound of the
    /// score cut off, and rounding.
    rest: f64,
    /// The sums, the heaviest first.
    reasons: Vec<Sum>,
    /// The verdicts, the newest first.
    verdicts: Vec<Run>,
}

/// All verdicts for one reason.
#[derive(Debug, PartialEq, Serialize)]
struct Sum {
    reason: String,
    windows: u64,
    points: i64,
    weighs: f64,
}

/// Equal verdicts of windows that follow each other.
#[derive(Debug, PartialEq, Serialize)]
struct Run {
    #[serde(flatten)]
    newest: VerdictPage,
    /// Of the newest of them.
    index: u64,
    at_unix_ms: u64,
    windows: u64,
    weighs: f64,
}

pub(super) async fn run(node: &Node, output: Output, asked: &str, limit: usize) -> Result<()> {
    // First the name, so that a wrong one is told at once.
    let page = node.last(0).await?;
    let member = member(&page, asked)?.clone();
    let mut walk = Walk::new(node, 0);
    let mut rows = Vec::new();
    while let Some((_, page)) = walk.next().await? {
        rows.extend(page);
    }
    // The standing at the last row that was read, not at the first look.
    let page = node.last(0).await?;
    let member = super::member(&page, &member.id.to_string())?.clone();
    let judged_until = member
        .standing
        .as_ref()
        .map(|standing| (standing.term, standing.window));
    rows.retain(|row| {
        judged_until.is_some_and(|until| (row.batch.term, row.batch.window) <= until)
    });
    let mut why = why(member, &rows, &page.scoring);
    why.verdicts.truncate(limit);
    output::print(output, &why, table)
}

/// Goes through the rows backwards: each window that the member was judged in took its share of all
/// earlier points.
fn why(member: MemberPage, rows: &[LedgerRow], scoring: &Scoring) -> Why {
    let by_row = scorings(rows, scoring);
    let mut kept = 1.0;
    let mut judged = 0_u64;
    let mut sums: BTreeMap<&'static str, Sum> = BTreeMap::new();
    let mut runs: Vec<(u64, Run)> = Vec::new();
    for (row, scoring) in rows.iter().zip(by_row).rev() {
        let verdicts = verdicts_on(row, member.id);
        if verdicts.is_empty() {
            continue;
        }
        judged += 1;
        for verdict in verdicts {
            let weighs = f64::from(verdict.points) * kept;
            let sum = sums.entry(verdict.reason.name()).or_insert_with(|| Sum {
                reason: verdict.reason.name().to_owned(),
                windows: 0,
                points: 0,
                weighs: 0.0,
            });
            sum.windows += 1;
            sum.points += i64::from(verdict.points);
            sum.weighs += weighs;
            let page = VerdictPage::from(verdict);
            let goes_on = runs.iter_mut().rev().find(|(last, run)| {
                last + 1 == judged
                    && run.newest.reason == page.reason
                    && run.newest.points == page.points
            });
            if let Some((last, run)) = goes_on {
                *last = judged;
                run.windows += 1;
                run.weighs += weighs;
            } else {
                let run = Run {
                    newest: page,
                    index: row.index,
                    at_unix_ms: row.batch.at_unix_ms,
                    windows: 1,
                    weighs,
                };
                runs.push((judged, run));
            }
        }
        kept *= share_kept(row.batch.window_ms, &scoring);
    }
    let mut reasons: Vec<Sum> = sums.into_values().collect();
    reasons.sort_by(|a, b| b.weighs.abs().total_cmp(&a.weighs.abs()));
    let explained = reasons.iter().map(|sum| sum.weighs).sum();
    let slow = member.standing.as_ref().map_or(0, |standing| standing.slow);
    Why {
        member,
        explained,
        rest: f64::from(slow) - explained,
        reasons,
        verdicts: runs.into_iter().map(|(_, run)| run).collect(),
    }
}

fn verdicts_on(row: &LedgerRow, member: MemberId) -> Vec<&raftery_behaviour::Verdict> {
    row.batch
        .verdicts
        .iter()
        .filter(|verdict| verdict.member == member)
        .collect()
}

/// By what each row is scored: what it or the last one before it says. Rows before the first that
/// says so take that one's: within a term it doesn't change without saying so.
fn scorings(rows: &[LedgerRow], now: &Scoring) -> Vec<Scoring> {
    let mut present = rows
        .iter()
        .find_map(|row| row.batch.scoring)
        .unwrap_or(*now);
    let scoring = |row: &LedgerRow| {
        present = row.batch.scoring.unwrap_or(present);
        present
    };
    rows.iter().map(scoring).collect()
}

fn table(why: &Why) -> String {
    let name = label(&why.member);
    let Some(standing) = &why.member.standing else {
        return format!("{name} wasn't judged yet");
    };
    let reasons = why.reasons.iter().map(|sum| {
        vec![
            sum.reason.clone(),
            sum.windows.to_string(),
            format!("{:+}", sum.points),
            format!("{:+.1}", sum.weighs),
        ]
    });
    let runs = why.verdicts.iter().map(|run| {
        vec![
            output::date(run.at_unix_ms),
            run.index.to_string(),
            format!("{:+}", run.newest.points),
            run.newest.reason.clone(),
            run.windows.to_string(),
            format!("{:+.1}", run.weighs),
            output::details(&run.newest),
        ]
    });
    format!(
        "{name}: fast {}, slow {} = {:+.1} by the retained verdicts {:+.1} by dropped ones, bounds and rounding\n\n{}\n\n{}",
        standing.fast,
        standing.slow,
        why.explained,
        why.rest,
        output::table(&["REASON", "WINDOWS", "POINTS", "STILL WEIGHS"], reasons),
        output::table(
            &[
                "AT",
                "INDEX",
                "POINTS",
                "REASON",
                "WINDOWS",
                "STILL WEIGHS",
                "DETAILS"
            ],
            runs
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use raftery_behaviour::{Reason, Rules, Verdict, Window};
    use raftery_ledger::{Ledger, LedgerBatch, StandingPage};

    use super::*;

    const MEMBER: MemberId = MemberId(0xab);

    fn batch(window: u64, verdicts: &[(i32, Reason)]) -> LedgerBatch {
        let verdict = |(points, reason): &(i32, Reason)| Verdict {
            member: MEMBER,
            points: *points,
            reason: reason.clone(),
        };
        LedgerBatch {
            rules: Rules::HIGHEST,
            term: 1,
            window: Window(window),
            at_unix_ms: window * 1_000,
            window_ms: 1_000,
            scoring: None,
            verdicts: verdicts.iter().map(verdict).collect(),
            intervals: vec![],
        }
    }

    #[test]
    fn the_verdicts_explain_the_score_to_a_point() {
        let scoring = Scoring::default();
        let (mut ledger, mut blocks) = (Ledger::new(), BTreeMap::new());
        for window in 0..900 {
            if let Some((number, bytes)) = ledger.full_block() {
                blocks.insert(number, Bytes::from(bytes));
            }
            let repaired = [(-100, Reason::Repaired { times: 1 })];
            let healthy = [(1, Reason::AcknowledgedInTime { acknowledged: 10 })];
            let verdicts = if window == 300 { &repaired } else { &healthy };
            ledger.apply_batch(10 + window, 1, &batch(window, verdicts), &scoring);
        }
        let member = MemberPage {
            id: MEMBER,
            name: "node-1".to_owned(),
            standing: ledger.standing(MEMBER).map(StandingPage::from),
        };
        let block = |number| blocks.get(&number).cloned().ok_or(number);
        let rows = ledger.rows(0, 1_000).load(block).unwrap();
        let rows = rows.decode().unwrap().rows;
        let why = why(member, &rows, &scoring);
        assert!(why.rest.abs() < 2.0, "{}", why.rest);
        assert_eq!(why.reasons[0].reason, "acknowledged_in_time");
        let runs: Vec<_> = why
            .verdicts
            .iter()
            .map(|run| (run.index, run.windows))
            .collect();
        assert_eq!(runs, [(909, 599), (310, 1), (309, 300)]);
        let repaired = &why.verdicts[1];
        assert!(
            (-51.0..-49.0).contains(&repaired.weighs),
            "{}",
            repaired.weighs
        );
        let shown = table(&why);
        assert!(
            shown.contains("repaired") && shown.contains("times=1"),
            "{shown}"
        );
    }

    #[test]
    fn a_change_of_the_half_life_counts_from_where_it_is_said() {
        let slow = Scoring {
            half_life_ms: 10_000,
            ..Scoring::default()
        };
        let row = |index, scoring| LedgerRow {
            index,
            chain: raftery_ledger::Chain::default(),
            batch: Arc::new(LedgerBatch {
                scoring,
                ..batch(index, &[])
            }),
        };
        let rows = [row(1, None), row(2, Some(slow)), row(3, None)];
        assert_eq!(scorings(&rows, &Scoring::default()), [slow, slow, slow]);
        let rows = [
            row(1, Some(Scoring::default())),
            row(2, Some(slow)),
            row(3, None),
        ];
        assert_eq!(scorings(&rows, &slow), [Scoring::default(), slow, slow]);
    }
}
