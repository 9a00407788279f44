//! The MongoDB client: writes batches so that each of their documents is there once.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mongodb::IndexModel;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error as DriverError, ErrorKind, InsertManyError};
use mongodb::options::{IndexOptions, ReadConcern, WriteConcern};

use crate::archive::{Archive, OPERATION_TIMEOUT, RETENTION_INDEX, id_numbers};
use crate::batch::LedgerRow;
use crate::document::{COLLECTIONS, INTERVALS, REWARDS, SCORINGS, documents};
use crate::error::ExportError;

/// Documents in one insert.
const INSERT_DOCUMENTS_MAX: usize = 1_000;
/// Bytes in one insert, of which one document alone may take more: far below the 48 MB of a
/// message, so that neither side holds much.
const INSERT_BYTES_MAX: usize = 1 << 20;
/// MongoDB's code for a duplicate key.
const DUPLICATE_KEY: i32 = 11_000;
/// The index on the time where documents don't expire.
const TIME_INDEX: &str = "at";
/// What is about to expire isn't missed: the server removes it when it gets round to it, and its
/// clock isn't ours.
const EXPIRY_SLACK: Duration = Duration::from_secs(120);

/// A connection to MongoDB that writes ledger batches of one lineage.
#[derive(Debug)]
pub struct Exporter {
    archive: Archive,
    retention: Option<Duration>,
}

impl Exporter {
    /// Connects as the file says (its only content is a connection string) and prepares the
    /// collections, see [`Exporter::prepare`].
    ///
    /// # Errors
    /// [`ExportError::UriFile`] and those of [`Exporter::connect`].
    pub async fn connect_from_file(
        path: &Path,
        lineage: &str,
        retention: Option<Duration>,
    ) -> Result<Self, ExportError> {
        let archive = Archive::connect_from_file(path, lineage).await?;
        Self::prepared(archive, retention).await
    }

    /// Connects to `uri`, in whose database (default `raftery`) the collections are written, and
    /// prepares them. `lineage` is the hexadecimal name of the history that the batches belong to;
    /// verdicts and intervals expire after `retention`, if there is one.
    ///
    /// # Errors
    /// [`ExportError::Uri`], [`ExportError::Unreachable`], [`ExportError::TimedOut`],
    /// [`ExportError::Auth`].
    pub async fn connect(
        uri: &str,
        lineage: &str,
        retention: Option<Duration>,
    ) -> Result<Self, ExportError> {
        let archive = Archive::connect(uri, lineage).await?;
        Self::prepared(archive, retention).await
    }

    async fn prepared(archive: Archive, retention: Option<Duration>) -> Result<Self, ExportError> {
        let exporter = Self { archive, retention };
        exporter.prepare().await?;
        Ok(exporter)
    }

    /// Creates the collections and their indexes where they are missing, and makes documents expire
    /// as configured: by an index of its own, changed when the time changes, dropped when there is
    /// none any more. `scorings` never expire: they are few, and the rest is read by them.
    ///
    /// # Errors
    /// Any [`ExportError`].
    pub async fn prepare(&self) -> Result<(), ExportError> {
        for collection in COLLECTIONS {
            let wanted = self.retention.filter(|_| collection != SCORINGS);
            self.settle_retention(collection, wanted).await?;
            self.create_indexes(collection, wanted).await?;
        }
        Ok(())
    }

    /// Writes the batches. When it returns `Ok`, every document of theirs is stored by a majority
    /// and journaled, whether this call wrote it or an earlier one. After an error some may be;
    /// exporting the same batches again completes them.
    ///
    /// # Errors
    /// Any [`ExportError`].
    pub async fn export(&self, rows: &[LedgerRow]) -> Result<(), ExportError> {
        let mut rewards = Chunk::of(REWARDS);
        let mut intervals = Chunk::of(INTERVALS);
        let mut scorings = Chunk::of(SCORINGS);
        for row in rows {
            let made = documents(self.archive.lineage(), row);
            for (chunk, documents) in [
                (&mut rewards, made.rewards),
                (&mut intervals, made.intervals),
                (&mut scorings, made.scorings),
            ] {
                for document in documents {
                    if let Some(full) = chunk.push(document) {
                        self.insert(chunk.collection, &full).await?;
                    }
                }
            }
        }
        for chunk in [rewards, intervals, scorings] {
            if !chunk.documents.is_empty() {
                self.insert(chunk.collection, &chunk.documents).await?;
            }
        }
        Ok(())
    }

    /// Whether documents of these exported batches, which follow each other in the ledger, are
    /// missing. Those that have expired aren't.
    ///
    /// # Errors
    /// When MongoDB doesn't answer, or refuses.
    pub async fn lacks(&self, rows: &[LedgerRow]) -> Result<bool, ExportError> {
        let since = self.lasting_since_unix_ms();
        let lasting: Vec<LedgerRow> = rows
            .iter()
            .filter(|row| row.batch.at_unix_ms >= since)
            .cloned()
            .collect();
        for (collection, rows) in [
            (REWARDS, &lasting[..]),
            (INTERVALS, &lasting),
            (SCORINGS, rows),
        ] {
            let wanted: u64 = rows.iter().map(|row| documents_of(row, collection)).sum();
            let (Some(first), Some(last), 1..) = (rows.first(), rows.last(), wanted) else {
                continue;
            };
            let found = self
                .archive
                .count(collection, first.index, last.index)
                .await?;
            if found < wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Batches before this time have expired, or are about to; 0: nothing ever does.
    #[must_use]
    pub fn lasting_since_unix_ms(&self) -> u64 {
        let Some(retention) = self.retention else {
            return 0;
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let since = now.saturating_sub(retention).saturating_add(EXPIRY_SLACK);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Unordered, so that duplicates don't hold up the rest. How many documents the server says
    /// it inserted is never looked at: servers differ there after duplicates.
    async fn insert(
        &self,
        collection: &'static str,
        documents: &[Document],
    ) -> Result<(), ExportError> {
        let concern = WriteConcern::builder()
            .w(mongodb::options::Acknowledgment::Majority)
            .journal(true)
            .w_timeout(OPERATION_TIMEOUT / 2)
            .build();
        let target = self.archive.collection(collection);
        let insert = target
            .insert_many(documents)
            .ordered(false)
            .write_concern(concern);
        match self.archive.bounded(insert).await? {
            Ok(_) => Ok(()),
            Err(error) => match error.kind.as_ref() {
                ErrorKind::InsertMany(failure) => {
                    self.require_duplicates_only(collection, failure)?;
                    self.verify(collection, documents).await
                }
                _ => Err(self.archive.error(error)),
            },
        }
    }

    /// Compares what is stored with what should be. Read by a majority: a document that only a
    /// deposed primary knew could still be rolled back. All documents are compared rather than
    /// those named by the errors, whose positions a server might count in its own way.
    async fn verify(
        &self,
        collection: &'static str,
        documents: &[Document],
    ) -> Result<(), ExportError> {
        let ids: Vec<&Bson> = documents
            .iter()
            .filter_map(|document| document.get("_id"))
            .collect();
        let filter = doc! { "_id": { "$in": ids } };
        let hashes = self
            .archive
            .bounded(self.hashes(collection, filter))
            .await?;
        let hashes = hashes.map_err(|error| self.archive.error(error))?;
        for document in documents {
            match hashes.get(&id_numbers(document)) {
                Some(stored) if stored.as_ref() == document.get("hash") => {}
                Some(_) => {
                    let id = document
                        .get("_id")
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    return Err(ExportError::ForeignDocument { collection, id });
                }
                None => {
                    let why = "a document that is there isn't stored by a majority yet".to_owned();
                    return Err(ExportError::NotDurable { why });
                }
            }
        }
        Ok(())
    }

    /// The stored hashes by index and ordinal.
    async fn hashes(
        &self,
        collection: &'static str,
        filter: Document,
    ) -> Result<HashMap<(Option<i64>, Option<i64>), Option<Bson>>, DriverError> {
        let target = self.archive.collection(collection);
        let find = target.find(filter).projection(doc! { "hash": 1 });
        let mut cursor = find.read_concern(ReadConcern::majority()).await?;
        let mut hashes = HashMap::new();
        while cursor.advance().await? {
            let stored = cursor.deserialize_current()?;
            hashes.insert(id_numbers(&stored), stored.get("hash").cloned());
        }
        Ok(hashes)
    }

    fn require_duplicates_only(
        &self,
        collection: &'static str,
        failure: &InsertManyError,
    ) -> Result<(), ExportError> {
        if let Some(concern) = &failure.write_concern_error {
            return Err(ExportError::NotDurable {
                why: concern.message.clone(),
            });
        }
        let errors = failure.write_errors.as_deref().unwrap_or_default();
        match errors.iter().find(|error| error.code != DUPLICATE_KEY) {
            Some(error) => {
                let why = error.message.clone();
                Err(self.archive.refused(collection, error.code, why))
            }
            None => Ok(()),
        }
    }

    /// Two indexes on the same field can't stand beside each other: the one that makes documents
    /// expire takes the plain one's place, and gives it back.
    async fn settle_retention(
        &self,
        collection: &'static str,
        wanted: Option<Duration>,
    ) -> Result<(), ExportError> {
        let indexes = self.archive.indexes(collection).await?;
        let is_plain = indexes.iter().any(|(name, _)| name == TIME_INDEX);
        let expires = indexes.iter().find(|(name, _)| name == RETENTION_INDEX);
        let target = self.archive.collection(collection);
        let settled = match (expires, wanted) {
            (Some((_, present)), Some(wanted)) if *present != Some(wanted) => {
                let seconds = i64::try_from(wanted.as_secs()).unwrap_or(i64::MAX);
                let change = doc! {
                    "collMod": collection,
                    "index": { "name": RETENTION_INDEX, "expireAfterSeconds": seconds },
                };
                let changed = self
                    .archive
                    .bounded(self.archive.database().run_command(change));
                changed.await?.map(|_| ())
            }
            (Some(_), None) => {
                self.archive
                    .bounded(target.drop_index(RETENTION_INDEX))
                    .await?
            }
            (None, Some(_)) if is_plain => {
                self.archive.bounded(target.drop_index(TIME_INDEX)).await?
            }
            (Some(_), Some(_)) | (None, Some(_) | None) => return Ok(()),
        };
        settled.map_err(|error| self.archive.error(error))
    }

    /// What people ask for: a member's history, a term's windows, a span of time.
    async fn create_indexes(
        &self,
        collection: &'static str,
        retention: Option<Duration>,
    ) -> Result<(), ExportError> {
        let index = |name: &str, keys: Document| {
            let options = IndexOptions::builder().name(name.to_owned()).build();
            IndexModel::builder().keys(keys).options(options).build()
        };
        let mut time = index(TIME_INDEX, doc! { "at": 1 });
        if retention.is_some() {
            time.options = Some(
                IndexOptions::builder()
                    .name(RETENTION_INDEX.to_owned())
                    .expire_after(retention)
                    .build(),
            );
        }
        let indexes = [
            index("member", doc! { "member": 1, "term": 1, "window": 1 }),
            index("window", doc! { "term": 1, "window": 1 }),
            time,
        ];
        let target = self.archive.collection(collection);
        let created = self.archive.bounded(target.create_indexes(indexes)).await?;
        created
            .map(|_| ())
            .map_err(|error| self.archive.error(error))
    }
}

/// Documents on their way into one collection.
struct Chunk {
    collection: &'static str,
    documents: Vec<Document>,
    bytes: usize,
}

impl Chunk {
    fn of(collection: &'static str) -> Self {
        Self {
            collection,
            documents: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a document; the ones before it, when it doesn't fit beside them.
    fn push(&mut self, document: Document) -> Option<Vec<Document>> {
        // What can't be measured can't be sent either; the driver says why.
        let bytes = document.to_vec().map_or(0, |bytes| bytes.len());
        let is_full = !self.documents.is_empty()
            && (self.documents.len() >= INSERT_DOCUMENTS_MAX
                || self.bytes + bytes > INSERT_BYTES_MAX);
        let full = is_full.then(|| {
            self.bytes = 0;
            std::mem::take(&mut self.documents)
        });
        self.bytes += bytes;
        self.documents.push(document);
        full
    }
}

/// How many documents of a collection a batch makes.
fn documents_of(row: &LedgerRow, collection: &str) -> u64 {
    let count = match collection {
        REWARDS => row.batch.verdicts.len(),
        INTERVALS => row.batch.intervals.len(),
        _ => usize::from(row.batch.scoring.is_some()),
    };
    count as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserts_are_bounded_by_documents_and_by_bytes() {
        let mut small = Chunk::of(REWARDS);
        let full = (0..=INSERT_DOCUMENTS_MAX).find_map(|_| small.push(doc! { "a": 1 }));
        assert_eq!(full.map(|full| full.len()), Some(INSERT_DOCUMENTS_MAX));
        assert_eq!(small.documents.len(), 1);

        let mut large = Chunk::of(REWARDS);
        let document = doc! { "a": "x".repeat(INSERT_BYTES_MAX / 3) };
        let full = (0..3).find_map(|_| large.push(document.clone()));
        assert_eq!(full.map(|full| full.len()), Some(2));

        let mut huge = Chunk::of(REWARDS);
        let document = doc! { "a": "x".repeat(2 * INSERT_BYTES_MAX) };
        assert!(huge.push(document.clone()).is_none(), "an empty insert");
        assert_eq!(huge.push(document).map(|full| full.len()), Some(1));
    }
}
