use std::sync::Arc;

use mongodb::bson::Bson;
use parquet::file::reader::{FileReader, SerializedFileReader};
use raftery_behaviour::{MemberId, Observation, Reason, Rules, Times, Verdict, Window};
use raftery_ledger::{Chain, LedgerBatch};

use super::super::columns::Type;
use super::*;

const LINEAGE: &str = "00000000000000aa";
const TABLES: [Table; 2] = [Table::Rewards, Table::Intervals];

fn rows() -> Vec<LedgerRow> {
    let times = Times {
        p50_micros: 1,
        p95_micros: 2,
        max_micros: 3,
    };
    let batch = LedgerBatch {
        rules: Rules::HIGHEST,
        term: 2,
        window: Window(7),
        at_unix_ms: 1_700_000_000_123,
        window_ms: 1_000,
        scoring: None,
        verdicts: vec![
            Verdict {
                member: MemberId(0xab),
                points: -8,
                reason: Reason::SlowDisk {
                    sync_micros: 90_000,
                    median_micros: 1_000,
                },
            },
            Verdict {
                member: MemberId(0xcd),
                points: 1,
                reason: Reason::Led,
            },
        ],
        intervals: vec![
            Observation {
                round_trips: Some(times),
                ..Observation::blank(MemberId(0xab))
            },
            Observation {
                is_leader: true,
                ..Observation::blank(MemberId(0xcd))
            },
        ],
    };
    vec![LedgerRow {
        index: 9,
        chain: Chain::default(),
        batch: Arc::new(batch),
    }]
}

/// A place that outlives its writer.
#[derive(Clone, Default)]
struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(format: Format, table: Table) -> Vec<u8> {
    let out = Shared::default();
    let mut writer = TableWriter::new(format, table, out.clone()).unwrap();
    writer.write(LINEAGE, &rows()).unwrap();
    writer.end().unwrap();
    std::mem::take(&mut out.0.lock().unwrap())
}

#[test]
fn every_field_of_a_document_has_its_column_and_every_column_its_field() {
    for table in TABLES {
        let writer = TableWriter::new(Format::Jsonl, table, io::sink()).unwrap();
        let document = writer.documents(LINEAGE, &rows()[0]).remove(0);
        let mut fields: Vec<&str> = document.keys().map(String::as_str).collect();
        fields.retain(|field| *field != "_id");
        fields.extend(
            document
                .get_document("_id")
                .unwrap()
                .keys()
                .map(String::as_str),
        );
        let mut named: Vec<&str> = columns(table).iter().map(|(name, _)| *name).collect();
        fields.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, fields);
        for (name, kind) in columns(table) {
            let fits = match document.get(name) {
                Some(Bson::Int32(_) | Bson::Int64(_)) => kind == Type::Number,
                Some(Bson::String(_)) => kind == Type::Text,
                Some(Bson::Boolean(_)) => kind == Type::Bool,
                Some(Bson::DateTime(_)) => kind == Type::Time,
                Some(Bson::Document(_)) => kind == Type::Json,
                _ => true,
            };
            assert!(fits, "{name}: {kind:?}");
        }
    }
}

#[test]
fn jsonl_has_an_object_a_line() {
    let text = String::from_utf8(written(Format::Jsonl, Table::Rewards)).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["at"], "2023-11-14T22:13:20.123Z");
    assert_eq!(lines[0]["details"]["sync_p95_us"], 90_000);
    assert_eq!(lines[1]["points"], 1);
    assert!(
        text.starts_with(r#"{"lineage":"00000000000000aa","index":9,"ordinal":0,"#),
        "{text}"
    );
}

#[test]
fn csv_has_a_header_and_nothing_where_nothing_was_measured() {
    let bytes = written(Format::Csv, Table::Intervals);
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let at = |name: &str, reader: &mut csv::Reader<&[u8]>| {
        reader
            .headers()
            .unwrap()
            .iter()
            .position(|header| header == name)
            .unwrap()
    };
    let (round_trip, leader) = (
        at("round_trip_p95_us", &mut reader),
        at("is_leader", &mut reader),
    );
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(
        (&records[0][round_trip], &records[0][leader]),
        ("2", "false")
    );
    assert_eq!((&records[1][round_trip], &records[1][leader]), ("", "true"));
}

#[test]
fn parquet_reads_back_as_the_same_rows() {
    for table in TABLES {
        let bytes = hyper::body::Bytes::from(written(Format::Parquet, table));
        let reader = SerializedFileReader::new(bytes).unwrap();
        let read: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read.len(), 2);
        let writer = TableWriter::new(Format::Jsonl, table, io::sink()).unwrap();
        let columns = columns(table);
        for (row, document) in read.iter().zip(writer.documents(LINEAGE, &rows()[0])) {
            for ((name, field), cell) in row.get_column_iter().zip(cells(&columns, &document)) {
                let shown = match cell {
                    Cell::Null => "null".to_owned(),
                    Cell::Text(_) | Cell::Json(_) => format!("\"{}\"", cell.text()),
                    Cell::Time(millis, _) => {
                        assert!(
                            matches!(field, parquet::record::Field::TimestampMillis(at) if *at == millis)
                        );
                        continue;
                    }
                    other => other.text(),
                };
                assert_eq!(field.to_string(), shown, "{name}");
            }
        }
    }
}
