//! `raftery ledger scores`.

use anyhow::Result;
use raftery_ledger::{LedgerPage, MemberPage};

use super::label;
use crate::args::Output;
use crate::node::Node;
use crate::output;

pub(super) async fn run(node: &Node, output: Output) -> Result<()> {
    let page = node.last(0).await?;
    output::print(output, &page.members, |_| table(&page))
}

fn table(page: &LedgerPage) -> String {
    let row = |member: &MemberPage| {
        let mut row = vec![label(member), member.id.to_string()];
        match &member.standing {
            None => row.extend(["-", "-", "not judged yet", "", ""].map(str::to_owned)),
            Some(standing) => {
                let verdict = &standing.last_verdict;
                row.extend([
                    standing.fast.to_string(),
                    standing.slow.to_string(),
                    format!("{:+} {}", verdict.points, verdict.reason),
                    format!("{}/{}", standing.term, standing.window),
                    output::details(verdict),
                ]);
            }
        }
        row
    };
    output::table(
        &[
            "MEMBER",
            "ID",
            "FAST",
            "SLOW",
            "LAST VERDICT",
            "TERM/WINDOW",
            "DETAILS",
        ],
        page.members.iter().map(row),
    )
}
