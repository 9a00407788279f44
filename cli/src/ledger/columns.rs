//! The documents of MongoDB as flat tables: the same fields, `_id` taken apart.

use mongodb::bson::{Bson, Document};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::args::Table;

/// What a column holds. Any cell may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Number,
    Text,
    Bool,
    Time,
    Json,
}

/// What stands in a column of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Number(i64),
    Text(String),
    Bool(bool),
    /// Milliseconds since 1970, and the date.
    Time(i64, String),
    Json(Value),
}

type Column = (&'static str, Type);

const HEAD: [Column; 10] = [
    ("lineage", Type::Text),
    ("index", Type::Number),
    ("ordinal", Type::Number),
    ("schema", Type::Number),
    ("term", Type::Number),
    ("window", Type::Number),
    ("at", Type::Time),
    ("window_ms", Type::Number),
    ("chain", Type::Text),
    ("member", Type::Text),
];
const REWARDS: [Column; 4] = [
    ("kind", Type::Text),
    ("points", Type::Number),
    ("reason", Type::Text),
    ("details", Type::Json),
];
const INTERVALS: [Column; 26] = [
    ("is_leader", Type::Bool),
    ("heartbeats_sent", Type::Number),
    ("heartbeats_acknowledged", Type::Number),
    ("heartbeats_missed", Type::Number),
    ("round_trip_p50_us", Type::Number),
    ("round_trip_p95_us", Type::Number),
    ("round_trip_max_us", Type::Number),
    ("append_p50_us", Type::Number),
    ("append_p95_us", Type::Number),
    ("append_max_us", Type::Number),
    ("last_heard_ms", Type::Number),
    ("lag_ms", Type::Number),
    ("lag_entries", Type::Number),
    ("has_report", Type::Bool),
    ("sync_p50_us", Type::Number),
    ("sync_p95_us", Type::Number),
    ("sync_max_us", Type::Number),
    ("oldest_write_us", Type::Number),
    ("lateness_p50_us", Type::Number),
    ("lateness_p95_us", Type::Number),
    ("lateness_max_us", Type::Number),
    ("commit_p50_us", Type::Number),
    ("commit_p95_us", Type::Number),
    ("commit_max_us", Type::Number),
    ("heartbeat_interval_ms", Type::Number),
    ("election_timeout_ms", Type::Number),
];
const TAIL: [Column; 1] = [("hash", Type::Text)];

/// The columns of a table, in order.
pub(super) fn columns(table: Table) -> Vec<Column> {
    let body = match table {
        Table::Rewards => &REWARDS[..],
        Table::Intervals => &INTERVALS,
    };
    HEAD.iter().chain(body).chain(&TAIL).copied().collect()
}

/// A document as a row of the columns.
pub(super) fn cells(columns: &[Column], document: &Document) -> Vec<Cell> {
    let id = document.get_document("_id").ok();
    let cell = |(name, kind): &Column| {
        let value = document
            .get(name)
            .or_else(|| id.and_then(|id| id.get(name)));
        match value {
            None | Some(Bson::Null) => Cell::Null,
            Some(Bson::Int32(number)) => Cell::Number(i64::from(*number)),
            Some(Bson::Int64(number)) => Cell::Number(*number),
            Some(Bson::Boolean(is_so)) => Cell::Bool(*is_so),
            Some(Bson::String(text)) => Cell::Text(text.clone()),
            Some(Bson::DateTime(at)) => Cell::Time(
                at.timestamp_millis(),
                at.try_to_rfc3339_string().unwrap_or_default(),
            ),
            Some(other) => {
                debug_assert_eq!(*kind, Type::Json, "{name}");
                let value = serde_json::to_value(other);
                Cell::Json(value.expect("numbers and nulls always encode"))
            }
        }
    };
    columns.iter().map(cell).collect()
}

impl Cell {
    /// As text of a table.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) | Self::Time(_, text) => text.clone(),
            Self::Bool(is_so) => is_so.to_string(),
            Self::Json(value) => value.to_string(),
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) | Self::Time(_, text) => serializer.serialize_str(text),
            Self::Bool(is_so) => serializer.serialize_bool(*is_so),
            Self::Json(value) => value.serialize(serializer),
        }
    }
}

/// A row as a JSON object whose fields come in the order of the columns.
pub(super) struct Object<'a>(pub(super) &'a [Column], pub(super) &'a [Cell]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for ((name, _), cell) in self.0.iter().zip(self.1) {
            map.serialize_entry(name, cell)?;
        }
        map.end()
    }
}
