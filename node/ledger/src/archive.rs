//! What MongoDB holds of one lineage, for reading.

use std::future::{Future, IntoFuture};
use std::path::Path;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::{ClientOptions, ReadConcern};
use mongodb::{Client, Collection, Database};

use crate::error::{ExportError, is_full};

/// The database where the connection string names none.
const DATABASE_DEFAULT: &str = "raftery";
/// How long the driver looks for a server that takes writes.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the driver waits for a connection to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections that one client may open: one works, one more watches the server.
const POOL_MAX: u32 = 2;
/// How long any one operation may take; the driver itself waits for a stopped server for ever.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// MongoDB's code for a collection that isn't there.
const NAMESPACE_NOT_FOUND: i32 = 26;
/// The index by which documents expire.
pub(crate) const RETENTION_INDEX: &str = "retention";

/// A connection to MongoDB and the lineage that is looked for there.
#[derive(Debug)]
pub struct Archive {
    database: Database,
    lineage: String,
    servers: String,
}

impl Archive {
    /// Connects as the file says; its only content is a connection string.
    ///
    /// # Errors
    /// [`ExportError::UriFile`] and those of [`Archive::connect`].
    pub async fn connect_from_file(path: &Path, lineage: &str) -> Result<Self, ExportError> {
        let read = tokio::fs::read_to_string(path).await;
        let uri = read.map_err(|source| ExportError::UriFile {
            path: path.to_owned(),
            source,
        })?;
        Self::connect(uri.trim(), lineage).await
    }

    /// Connects to `uri`, in whose database (default `raftery`) the collections are. `lineage` is
    /// the hexadecimal name of the history that is looked for. Whether a server answers shows with
    /// the first question.
    ///
    /// # Errors
    /// [`ExportError::Uri`].
    pub async fn connect(uri: &str, lineage: &str) -> Result<Self, ExportError> {
        let mut options = parse(uri).await?;
        options.app_name = Some("raftery".to_owned());
        options.server_selection_timeout = Some(SERVER_SELECTION_TIMEOUT);
        options.connect_timeout = Some(CONNECT_TIMEOUT);
        options.max_pool_size = Some(POOL_MAX);
        let hosts: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
        let servers = hosts.join(", ");
        let database = options.default_database.clone();
        let client = Client::with_options(options)
            .map_err(|error| ExportError::from_driver(error, &servers))?;
        Ok(Self {
            database: client.database(database.as_deref().unwrap_or(DATABASE_DEFAULT)),
            lineage: lineage.to_owned(),
            servers,
        })
    }

    /// The documents of the batches at these Raft indexes, both included, in order of their `_id`;
    /// whatever stands there under our lineage.
    ///
    /// # Errors
    /// When MongoDB doesn't answer, or refuses.
    pub async fn documents(
        &self,
        collection: &str,
        first_index: u64,
        last_index: u64,
    ) -> Result<Vec<Document>, ExportError> {
        let target = self.collection(collection);
        let find = target
            .find(self.between(first_index, last_index))
            .sort(doc! { "_id": 1 })
            .read_concern(ReadConcern::majority());
        let read = async {
            let mut cursor = find.await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                found.push(cursor.deserialize_current()?);
            }
            Ok::<_, DriverError>(found)
        };
        self.bounded(read).await?.map_err(|error| self.error(error))
    }

    /// How many documents the batches at these Raft indexes have, both included.
    pub(crate) async fn count(
        &self,
        collection: &str,
        first_index: u64,
        last_index: u64,
    ) -> Result<u64, ExportError> {
        let target = self.collection(collection);
        let count = target
            .count_documents(self.between(first_index, last_index))
            .read_concern(ReadConcern::majority());
        self.bounded(count)
            .await?
            .map_err(|error| self.error(error))
    }

    /// After what time documents of a collection expire; `None`: never, or there is no such
    /// collection.
    ///
    /// # Errors
    /// When MongoDB doesn't answer, or refuses.
    pub async fn retention(&self, collection: &str) -> Result<Option<Duration>, ExportError> {
        let indexes = self.indexes(collection).await?;
        let retention = indexes
            .into_iter()
            .find(|(name, _)| name == RETENTION_INDEX);
        Ok(retention.and_then(|(_, expires)| expires))
    }

    /// Names of a collection's indexes, and after what time they make documents expire.
    pub(crate) async fn indexes(
        &self,
        collection: &str,
    ) -> Result<Vec<(String, Option<Duration>)>, ExportError> {
        let target = self.collection(collection);
        let list = async {
            let mut cursor = target.list_indexes().await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                let options = cursor.deserialize_current()?.options.unwrap_or_default();
                found.push((options.name.unwrap_or_default(), options.expire_after));
            }
            Ok::<_, DriverError>(found)
        };
        match self.bounded(list).await? {
            Ok(found) => Ok(found),
            Err(error) if is_missing_namespace(&error) => Ok(Vec::new()),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Bounds on the whole `_id`, which is the one index that every collection has: documents are
    /// compared field by field.
    fn between(&self, first_index: u64, last_index: u64) -> Document {
        let bound = |index: u64| {
            let index = i64::try_from(index).unwrap_or(i64::MAX);
            doc! { "lineage": &self.lineage, "index": index }
        };
        doc! { "_id": { "$gte": bound(first_index), "$lt": bound(last_index.saturating_add(1)) } }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn lineage(&self) -> &str {
        &self.lineage
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    pub(crate) async fn bounded<F: IntoFuture>(&self, work: F) -> Result<F::Output, ExportError> {
        within(OPERATION_TIMEOUT, work.into_future(), &self.servers).await
    }

    pub(crate) fn refused(&self, collection: &'static str, code: i32, why: String) -> ExportError {
        if is_full(code, &why) {
            let servers = self.servers.clone();
            return ExportError::Full { servers, code, why };
        }
        ExportError::Refused {
            collection,
            code,
            why,
        }
    }

    pub(crate) fn error(&self, error: DriverError) -> ExportError {
        ExportError::from_driver(error, &self.servers)
    }
}

/// The server knows no such collection.
fn is_missing_namespace(error: &DriverError) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(failed) if failed.code == NAMESPACE_NOT_FOUND)
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

/// Index and ordinal of a document's `_id`. MongoDB takes equal numbers of different types for
/// the same key, so both integer types are read.
pub(crate) fn id_numbers(document: &Document) -> (Option<i64>, Option<i64>) {
    let id = document.get_document("_id").ok();
    let number = |name: &str| match id.and_then(|id| id.get(name)) {
        Some(Bson::Int64(number)) => Some(*number),
        Some(Bson::Int32(number)) => Some(i64::from(*number)),
        _ => None,
    };
    (number("index"), number("ordinal"))
}
