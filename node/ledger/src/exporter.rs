//! The MongoDB client: writes batches so that each of their documents is there once.

use std::collections::HashMap;
use std::future::{Future, IntoFuture};
use std::path::Path;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error as DriverError, ErrorKind, InsertManyError};
use mongodb::options::{ClientOptions, IndexOptions, ReadConcern, WriteConcern};
use mongodb::{Client, Collection, Database, IndexModel};

use crate::batch::LedgerRow;
use crate::document::{Documents, INTERVALS, REWARDS, SCORINGS, documents};
use crate::error::ExportError;

/// The database where the connection string names none.
const DATABASE_DEFAULT: &str = "raftery";
/// How long the driver looks for a server that takes writes.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the driver waits for a connection to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long any one operation may take; the driver itself waits for a stopped server for ever.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Documents in one insert: some 400 kB.
const INSERT_DOCUMENTS_MAX: usize = 1_000;
/// MongoDB's code for a duplicate key.
const DUPLICATE_KEY: i32 = 11_000;

/// A connection to MongoDB that writes ledger batches of one lineage.
#[derive(Debug)]
pub struct Exporter {
    database: Database,
    lineage: String,
    servers: String,
}

impl Exporter {
    /// Connects as the file says (its only content is a connection string) and creates the
    /// collections' indexes where they are missing.
    ///
    /// # Errors
    /// [`ExportError::UriFile`] and those of [`Exporter::connect`].
    pub async fn connect_from_file(path: &Path, lineage: &str) -> Result<Self, ExportError> {
        let read = tokio::fs::read_to_string(path).await;
        let uri = read.map_err(|source| ExportError::UriFile {
            path: path.to_owned(),
            source,
        })?;
        Self::connect(uri.trim(), lineage).await
    }

    /// Connects to `uri`, in whose database (default `raftery`) the collections `rewards` and
    /// `intervals` are written, and creates their indexes where they are missing. `lineage` is the
    /// hexadecimal name of the history that the batches belong to.
    ///
    /// # Errors
    /// [`ExportError::Uri`], [`ExportError::Unreachable`], [`ExportError::TimedOut`],
    /// [`ExportError::Auth`].
    pub async fn connect(uri: &str, lineage: &str) -> Result<Self, ExportError> {
        let mut options = parse(uri).await?;
        options.app_name = Some("raftery".to_owned());
        options.server_selection_timeout = Some(SERVER_SELECTION_TIMEOUT);
        options.connect_timeout = Some(CONNECT_TIMEOUT);
        let hosts: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
        let servers = hosts.join(", ");
        let database = options.default_database.clone();
        let client = Client::with_options(options)
            .map_err(|error| ExportError::from_driver(error, &servers))?;
        let database = client.database(database.as_deref().unwrap_or(DATABASE_DEFAULT));
        let exporter = Self {
            database,
            lineage: lineage.to_owned(),
            servers,
        };
        exporter.create_indexes().await?;
        Ok(exporter)
    }

    /// Writes the batches. When it returns `Ok`, every document of theirs is stored by a majority
    /// and journaled, whether this call wrote it or an earlier one. After an error some may be;
    /// exporting the same batches again completes them.
    ///
    /// # Errors
    /// Any [`ExportError`].
    pub async fn export(&self, rows: &[LedgerRow]) -> Result<(), ExportError> {
        let mut all = Documents {
            rewards: Vec::new(),
            intervals: Vec::new(),
            scorings: Vec::new(),
        };
        for row in rows {
            let made = documents(&self.lineage, row);
            all.rewards.extend(made.rewards);
            all.intervals.extend(made.intervals);
            all.scorings.extend(made.scorings);
        }
        for (collection, documents) in [
            (REWARDS, all.rewards),
            (INTERVALS, all.intervals),
            (SCORINGS, all.scorings),
        ] {
            for documents in documents.chunks(INSERT_DOCUMENTS_MAX) {
                self.insert(collection, documents).await?;
            }
        }
        Ok(())
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
        let target = self.collection(collection);
        let insert = target
            .insert_many(documents)
            .ordered(false)
            .write_concern(concern);
        match self.bounded(insert).await? {
            Ok(_) => Ok(()),
            Err(error) => match error.kind.as_ref() {
                ErrorKind::InsertMany(failure) => {
                    require_duplicates_only(collection, failure)?;
                    self.verify(collection, documents).await
                }
                _ => Err(self.error(error)),
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
        let hashes = self.bounded(self.hashes(collection, filter)).await?;
        let hashes = hashes.map_err(|error| self.error(error))?;
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
        let target = self.collection(collection);
        let find = target.find(filter).projection(doc! { "hash": 1 });
        let mut cursor = find.read_concern(ReadConcern::majority()).await?;
        let mut hashes = HashMap::new();
        while cursor.advance().await? {
            let stored = cursor.deserialize_current()?;
            hashes.insert(id_numbers(&stored), stored.get("hash").cloned());
        }
        Ok(hashes)
    }

    /// What people ask for: a member's history, a term's windows, a span of time.
    async fn create_indexes(&self) -> Result<(), ExportError> {
        for collection in [REWARDS, INTERVALS, SCORINGS] {
            let index = |name: &str, keys: Document| {
                let options = IndexOptions::builder().name(name.to_owned()).build();
                IndexModel::builder().keys(keys).options(options).build()
            };
            let indexes = [
                index("member", doc! { "member": 1, "term": 1, "window": 1 }),
                index("window", doc! { "term": 1, "window": 1 }),
                index("at", doc! { "at": 1 }),
            ];
            let target = self.collection(collection);
            let created = self.bounded(target.create_indexes(indexes)).await?;
            created.map_err(|error| self.error(error))?;
        }
        Ok(())
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    async fn bounded<F: IntoFuture>(&self, work: F) -> Result<F::Output, ExportError> {
        within(OPERATION_TIMEOUT, work.into_future(), &self.servers).await
    }

    fn error(&self, error: DriverError) -> ExportError {
        ExportError::from_driver(error, &self.servers)
    }
}

async fn within<F: Future>(
    after: Duration,
    work: F,
    servers: &str,
) -> Result<F::Output, ExportError> {
    let timed_out = |_| ExportError::TimedOut {
        servers: servers.to_owned(),
        after,
    };
    tokio::time::timeout(after, work).await.map_err(timed_out)
}

/// Reads the connection string; one with `mongodb+srv` asks the name service.
async fn parse(uri: &str) -> Result<ClientOptions, ExportError> {
    let parsed = within(
        OPERATION_TIMEOUT,
        ClientOptions::parse(uri).into_future(),
        "its SRV record",
    );
    parsed.await?.map_err(|error| ExportError::Uri {
        // The driver's words may quote the string; behind an `@` would stand a host, before it
        // the password.
        why: if uri.contains('@') {
            "check its scheme, hosts and options, and that user and password are percent-encoded"
                .to_owned()
        } else {
            error.to_string()
        },
    })
}

fn require_duplicates_only(
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
        Some(error) => Err(ExportError::Refused {
            collection,
            code: error.code,
            why: error.message.clone(),
        }),
        None => Ok(()),
    }
}

/// Index and ordinal of a document's `_id`. MongoDB takes equal numbers of different types for
/// the same key, so both integer types are read.
fn id_numbers(document: &Document) -> (Option<i64>, Option<i64>) {
    let id = document.get_document("_id").ok();
    let number = |name: &str| match id.and_then(|id| id.get(name)) {
        Some(Bson::Int64(number)) => Some(*number),
        Some(Bson::Int32(number)) => Some(i64::from(*number)),
        _ => None,
    };
    (number("index"), number("ordinal"))
}
