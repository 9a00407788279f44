//! `raftery ledger`: one file for each of its commands.

mod columns;
mod export;
mod parquet_file;
mod scores;
mod tail;
mod verify;
mod why;

use anyhow::{Context, Result};
use raftery_behaviour::MemberId;
use raftery_ledger::{LedgerPage, MemberPage};

use crate::args::{LedgerArgs, LedgerCommand};
use crate::node::Node;

/// Runs the command; `false`: something is wrong, and was told.
pub(crate) async fn run(args: LedgerArgs) -> Result<bool> {
    let node = Node::new(&args.endpoint);
    let output = args.output;
    match args.command {
        LedgerCommand::Tail { batches, follow } => {
            tail::run(&node, output, batches, follow).await?;
        }
        LedgerCommand::Scores => scores::run(&node, output).await?,
        LedgerCommand::Why { member, limit } => why::run(&node, output, &member, limit).await?,
        LedgerCommand::Verify { mongodb_uri_file } => {
            return verify::run(&node, output, &mongodb_uri_file).await;
        }
        LedgerCommand::Export {
            format,
            table,
            from,
            file,
        } => export::run(&node, format, table, from, file.as_deref()).await?,
    }
    Ok(true)
}

/// A member by name or ID.
fn member<'a>(page: &'a LedgerPage, asked: &str) -> Result<&'a MemberPage> {
    let id = u64::from_str_radix(asked.trim_start_matches("0x"), 16).map(MemberId);
    let named = page.members.iter().find(|member| member.name == asked);
    let found = named.or_else(|| page.members.iter().find(|member| Ok(member.id) == id));
    found.with_context(|| {
        let known = page
            .members
            .iter()
            .map(label)
            .collect::<Vec<_>>()
            .join(", ");
        format!("no member has the name or ID {asked:?}; there are {known}")
    })
}

/// What people call a member.
fn label(member: &MemberPage) -> String {
    if member.name.is_empty() {
        member.id.to_string()
    } else {
        member.name.clone()
    }
}

/// What people call the member with this ID; one that has left has only the ID.
fn label_of(page: &LedgerPage, id: MemberId) -> String {
    let found = page.members.iter().find(|member| member.id == id);
    found.map_or_else(|| id.to_string(), label)
}
