//! `raftery ledger verify`: a node's ledger and MongoDB, compared both ways.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use mongodb::bson::{Bson, Document};
use raftery_ledger::{
    Archive, COLLECTIONS, Chain, Gap, INTERVALS, LedgerRow, REWARDS, documents, is_intact,
};
use serde::Serialize;

use crate::args::Output;
use crate::node::{Node, Walk};
use crate::output;

/// The server removes what has expired when it gets round to it, by its own clock.
const EXPIRY_SLACK: Duration = Duration::from_secs(120);

/// What was compared, and what is wrong.
#[derive(Debug, Default, Serialize)]
struct Verified {
    lineage: String,
    /// Retained batches, the first and the last of them by Raft index.
    batches: u64,
    first_index: u64,
    last_index: u64,
    /// Up to which index documents must be there.
    exported_index: u64,
    /// Documents that are as they should be.
    documents: u64,
    /// Documents that aren't there any more because their time was over.
    expired: u64,
    /// What was dropped before it was exported; not wrong, but lost.
    gaps: Vec<Gap>,
    differences: Vec<Difference>,
}

/// Something that isn't as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Difference {
    /// The hash of a batch isn't that of it and the one before.
    BrokenChain { index: u64 },
    /// An exported batch lacks a document.
    Missing {
        collection: &'static str,
        index: u64,
        ordinal: u64,
    },
    /// A document isn't what the batch makes.
    Changed {
        collection: &'static str,
        index: u64,
        ordinal: u64,
        its_hash_fits: bool,
    },
    /// A document of this lineage belongs to no batch.
    Foreign {
        collection: &'static str,
        id: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenChain { index } => write!(
                f,
                "broken chain: the batch at index {index} doesn't follow the one before it"
            ),
            Self::Missing {
                collection,
                index,
                ordinal,
            } => {
                write!(
                    f,
                    "missing in {collection}: index {index}, ordinal {ordinal}"
                )
            }
            Self::Changed {
                collection,
                index,
                ordinal,
                its_hash_fits,
            } => write!(
                f,
                "changed in {collection}: index {index}, ordinal {ordinal} ({})",
                if *its_hash_fits {
                    "its hash fits it: written as it is, but not from this batch"
                } else {
                    "its hash doesn't fit it: edited after it was written"
                }
            ),
            Self::Foreign { collection, id } => {
                write!(f, "foreign in {collection}: {id} belongs to no batch")
            }
        }
    }
}

pub(super) async fn run(node: &Node, output: Output, uri_file: &Path) -> Result<bool> {
    let page = node.last(0).await?;
    let archive = Archive::connect_from_file(uri_file, &page.lineage).await?;
    let mut lasting_since = BTreeMap::new();
    for collection in COLLECTIONS {
        let retention = archive.retention(collection).await?;
        lasting_since.insert(collection, retention.map_or(0, since_unix_ms));
    }
    let mut verified = Verified {
        lineage: page.lineage,
        // What is exported later may be there or not.
        exported_index: page.exported_index,
        ..Verified::default()
    };
    let mut chain = None;
    let mut walk = Walk::new(node, 0);
    while let Some((page, rows)) = walk.next().await? {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            break;
        };
        if verified.batches == 0 {
            verified.first_index = first.index;
            chain = page.chain_before;
        }
        verified.batches += rows.len() as u64;
        verified.differences.extend(broken(&mut chain, &rows));
        let from = if verified.last_index == 0 {
            first.index
        } else {
            verified.last_index + 1
        };
        for collection in COLLECTIONS {
            let found = archive.documents(collection, from, last.index).await?;
            let expected = Expected {
                lineage: &verified.lineage,
                collection,
                rows: &rows,
                exported_index: verified.exported_index,
                lasting_since_unix_ms: lasting_since.get(collection).copied().unwrap_or(0),
            };
            let compared = expected.compare(&found);
            verified.documents += compared.fitting;
            verified.expired += compared.expired;
            verified.differences.extend(compared.differences);
        }
        verified.last_index = last.index;
        verified.gaps = page.gaps;
    }
    let is_right = verified.differences.is_empty();
    output::print(output, &verified, text)?;
    Ok(is_right)
}

fn since_unix_ms(retention: Duration) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let since = now.saturating_sub(retention).saturating_add(EXPIRY_SLACK);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Where the chain breaks in rows that follow `chain`, which moves behind them. `None`: what was
/// before the first row is gone, and its own hash is where the chain begins.
fn broken(chain: &mut Option<Chain>, rows: &[LedgerRow]) -> Vec<Difference> {
    let mut broken = Vec::new();
    for row in rows {
        let is_next = chain.is_none_or(|chain| chain.after(row.index, &row.batch) == row.chain);
        if !is_next {
            broken.push(Difference::BrokenChain { index: row.index });
        }
        *chain = Some(row.chain);
    }
    broken
}

/// What a collection should hold of rows.
struct Expected<'a> {
    lineage: &'a str,
    collection: &'static str,
    rows: &'a [LedgerRow],
    exported_index: u64,
    lasting_since_unix_ms: u64,
}

#[derive(Debug, Default, PartialEq)]
struct Compared {
    fitting: u64,
    expired: u64,
    differences: Vec<Difference>,
}

impl Expected<'_> {
    fn compare(&self, found: &[Document]) -> Compared {
        let collection = self.collection;
        let mut compared = Compared::default();
        let mut wanted = self.documents();
        for document in found {
            let place = place(document);
            match place.and_then(|place| Some((place, wanted.remove(&place)?))) {
                Some((_, (_, expected))) if expected == *document => compared.fitting += 1,
                Some(((index, ordinal), _)) => compared.differences.push(Difference::Changed {
                    collection,
                    index,
                    ordinal,
                    its_hash_fits: is_intact(document),
                }),
                None => {
                    let id = document
                        .get("_id")
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    compared
                        .differences
                        .push(Difference::Foreign { collection, id });
                }
            }
        }
        for ((index, ordinal), (at_unix_ms, _)) in wanted {
            if at_unix_ms < self.lasting_since_unix_ms {
                compared.expired += 1;
            } else if index <= self.exported_index {
                compared.differences.push(Difference::Missing {
                    collection,
                    index,
                    ordinal,
                });
            }
        }
        compared
    }

    /// By place, with the time of their batch.
    fn documents(&self) -> BTreeMap<(u64, u64), (u64, Document)> {
        let mut all = BTreeMap::new();
        for row in self.rows {
            let made = documents(self.lineage, row);
            let made = match self.collection {
                REWARDS => made.rewards,
                INTERVALS => made.intervals,
                _ => made.scorings,
            };
            for (ordinal, document) in (0..).zip(made) {
                all.insert((row.index, ordinal), (row.batch.at_unix_ms, document));
            }
        }
        all
    }
}

/// Index and ordinal of an `_id` that is made as ours are.
fn place(document: &Document) -> Option<(u64, u64)> {
    let id = document
        .get_document("_id")
        .ok()
        .filter(|id| id.len() == 3)?;
    let number = |name: &str| match id.get(name)? {
        Bson::Int64(number) => u64::try_from(*number).ok(),
        Bson::Int32(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    Some((number("index")?, number("ordinal")?))
}

fn text(verified: &Verified) -> String {
    let mut lines = vec![format!(
        "lineage {}: {} batches (index {} to {}), exported up to {}; {} documents fit, {} expired",
        verified.lineage,
        verified.batches,
        verified.first_index,
        verified.last_index,
        verified.exported_index,
        verified.documents,
        verified.expired,
    )];
    for gap in &verified.gaps {
        lines.push(format!(
            "gap: {} batches from index {} to {} were dropped before they were exported",
            gap.batches, gap.first_index, gap.last_index
        ));
    }
    lines.extend(verified.differences.iter().map(ToString::to_string));
    lines.push(match verified.differences.len() {
        0 => "0 differences".to_owned(),
        count => format!("{count} differences"),
    });
    lines.join("\n")
}

#[cfg(test)]
#[path = "verify_test.rs"]
mod verify_test;
