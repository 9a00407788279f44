//! How the figures change with keys, members and callers.

use anyhow::Result;
use serde::Serialize;

use crate::cluster::System;
use crate::compare::{Bench, Run};
use crate::figures::{Figure, Table, with_thousands};
use crate::keys::Keys;
use crate::workload::Workload;

/// Bytes of the values that many keys have.
const VALUE_BYTES: usize = 1024;
/// Members of a cluster while something else grows.
const MEMBERS: usize = 3;
/// Callers while something else grows.
const CALLERS: usize = 256;

const KEYS: [usize; 3] = [10_000, 100_000, 1_000_000];
const SIZES: [usize; 3] = [3, 5, 7];
const CALLER_COUNTS: [usize; 6] = [1, 4, 16, 64, 256, 1024];
const QUICK_KEYS: [usize; 2] = [1_000, 10_000];

/// One table for each thing that grows.
#[derive(Serialize)]
pub struct Tables {
    /// More keys of 1 KiB.
    pub keys: Table,
    /// More members.
    pub members: Table,
    /// More callers.
    pub callers: Table,
}

impl Tables {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> [&Table; 3] {
        [&self.keys, &self.members, &self.callers]
    }
}

/// Measures it. A quick look has fewer keys.
pub async fn measure(bench: &Bench, is_quick: bool) -> Result<Tables> {
    let mut tables = Tables {
        keys: Table::new("Growing keys: puts over keys of 1 KiB", "keys"),
        members: Table::new("Growing clusters: puts", "members"),
        callers: Table::new("Growing load: puts", "callers"),
    };
    let sizes = if is_quick { &QUICK_KEYS[..] } else { &KEYS };
    for (round, system) in bench.turns() {
        for count in sizes {
            keys(bench, &mut tables.keys, system, round, *count).await?;
        }
        for size in SIZES {
            members(bench, &mut tables.members, system, round, size).await?;
        }
        callers(bench, &mut tables.callers, system, round).await?;
    }
    Ok(tables)
}

async fn keys(
    bench: &Bench,
    table: &mut Table,
    system: System,
    round: u32,
    count: usize,
) -> Result<()> {
    let keys = Keys::new(count, VALUE_BYTES);
    let (mut cluster, load, fill) = bench.filled(system, MEMBERS, keys).await?;
    let subject = with_thousands(count as u64);
    let run = put(&subject, CALLERS, system, round);
    bench.run(table, &cluster, &load, run).await?;
    let memory = cluster.resident_bytes()? as f64;
    let restart = cluster.restart_one().await?.as_secs_f64();
    let figures = [
        (Figure::FillPerSecond, fill),
        (Figure::Memory, memory),
        (Figure::Restart, restart),
    ];
    for (figure, value) in figures {
        table.add(&subject, figure, system.is_ours(), value);
        let (name, value) = (figure.name(), figure.show(value));
        bench.progress.say(&format!("        {name} {value}"));
    }
    bench.finish(cluster, load).await
}

async fn members(
    bench: &Bench,
    table: &mut Table,
    system: System,
    round: u32,
    size: usize,
) -> Result<()> {
    let (cluster, load, _) = bench.filled(system, size, bench.keys()).await?;
    let subject = size.to_string();
    let run = put(&subject, CALLERS, system, round);
    bench.run(table, &cluster, &load, run).await?;
    bench.finish(cluster, load).await
}

async fn callers(bench: &Bench, table: &mut Table, system: System, round: u32) -> Result<()> {
    let (cluster, load, _) = bench.filled(system, MEMBERS, bench.keys()).await?;
    for count in CALLER_COUNTS {
        let subject = with_thousands(count as u64);
        let run = put(&subject, count, system, round);
        bench.run(table, &cluster, &load, run).await?;
    }
    bench.finish(cluster, load).await
}

fn put(subject: &str, callers: usize, system: System, round: u32) -> Run<'_> {
    Run {
        subject,
        workload: Workload::Put,
        callers,
        system,
        round,
    }
}
