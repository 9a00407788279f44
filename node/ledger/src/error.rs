//! Why an export failed, in words for the status of the cluster. No message holds the connection
//! string: it may contain a password.

use std::path::PathBuf;
use std::time::Duration;

use mongodb::error::{Error as DriverError, ErrorKind};

/// Why an export failed. All but [`ExportError::ForeignDocument`] may pass by themselves.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file that names the connection can't be read.
    #[error("the MongoDB URI file {} can't be read: {source}", path.display())]
    UriFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection string is not one, or its host name doesn't lead anywhere.
    #[error("the MongoDB URI is not usable: {why}")]
    Uri {
        /// Why, without the string itself.
        why: String,
    },
    /// No server that takes writes was found.
    #[error("MongoDB at {servers} can't be reached: {why}")]
    Unreachable {
        /// Host and port of the servers that were tried.
        servers: String,
        /// Why.
        why: &'static str,
    },
    /// A server was found but didn't answer.
    #[error("MongoDB at {servers} didn't answer within {} s", after.as_secs())]
    TimedOut {
        /// Host and port of the servers that were tried.
        servers: String,
        /// How long was waited.
        after: Duration,
    },
    /// User or password are wrong, or the user may not write here.
    #[error("MongoDB at {servers} refuses the user: {why}")]
    Auth {
        /// Host and port of the servers that were tried.
        servers: String,
        /// What the server said.
        why: String,
    },
    /// A document with our `_id` is there, and it isn't ours. Somebody must look at it: two
    /// clusters share a lineage, or the document was changed.
    #[error("another document has the _id {id} in collection {collection}")]
    ForeignDocument {
        /// The collection.
        collection: &'static str,
        /// The `_id`.
        id: String,
    },
    /// The documents are written, but not by a majority, or not yet journaled.
    #[error("MongoDB has not made the documents durable: {why}")]
    NotDurable {
        /// What the server said.
        why: String,
    },
    /// The server has no space left, or the account's quota is used up.
    #[error("MongoDB at {servers} is full: {why} (code {code}); free or add space there")]
    Full {
        /// Host and port of the servers that were tried.
        servers: String,
        /// MongoDB's error code.
        code: i32,
        /// What the server said.
        why: String,
    },
    /// The server refused a document.
    #[error("MongoDB refused a document in collection {collection}: {why} (code {code})")]
    Refused {
        /// The collection.
        collection: &'static str,
        /// MongoDB's error code.
        code: i32,
        /// What the server said.
        why: String,
    },
    /// Anything else that the driver reports.
    #[error("MongoDB: {0}")]
    Driver(#[source] Box<DriverError>),
}

/// MongoDB's code for an operation that the user may not do.
const UNAUTHORIZED: i32 = 13;
/// MongoDB's code for a disk that is full.
const OUT_OF_DISK_SPACE: i32 = 14_031;
/// MongoDB's code for a quota of files that is used up.
const QUOTA_FULL: i32 = 12_501;
/// The code of hosted MongoDBs for refusals of their own, a space quota among them.
const HOSTED: i32 = 8_000;
/// MongoDB's code for a user that could not be authenticated.
const AUTHENTICATION_FAILED: i32 = 18;

impl ExportError {
    /// Puts what the driver reports into plain words.
    pub(crate) fn from_driver(error: DriverError, servers: &str) -> Self {
        let servers = servers.to_owned();
        match error.kind.as_ref() {
            ErrorKind::Authentication { message, .. } => Self::Auth {
                servers,
                why: message.clone(),
            },
            ErrorKind::Command(failed)
                if [UNAUTHORIZED, AUTHENTICATION_FAILED].contains(&failed.code) =>
            {
                Self::Auth {
                    servers,
                    why: failed.message.clone(),
                }
            }
            ErrorKind::Command(failed) if is_full(failed.code, &failed.message) => Self::Full {
                servers,
                code: failed.code,
                why: failed.message.clone(),
            },
            ErrorKind::ServerSelection { message, .. } => Self::Unreachable {
                servers,
                why: why_unreachable(message),
            },
            ErrorKind::Io(source) => Self::Unreachable {
                servers,
                why: why_unreachable(&source.to_string()),
            },
            ErrorKind::ConnectionPoolCleared { message, .. } => Self::Unreachable {
                servers,
                why: why_unreachable(message),
            },
            _ => Self::Driver(Box::new(error)),
        }
    }
}

/// Whether the server says that there is no space.
pub(crate) fn is_full(code: i32, message: &str) -> bool {
    match code {
        OUT_OF_DISK_SPACE | QUOTA_FULL => true,
        HOSTED => message.to_lowercase().contains("quota"),
        _ => false,
    }
}

/// The driver describes the whole topology in one sentence; the cause is in there as text only.
fn why_unreachable(message: &str) -> &'static str {
    let causes = [
        ("Connection refused", "connection refused"),
        ("failed to lookup address", "the host name doesn't resolve"),
        ("certificate", "its TLS certificate isn't trusted"),
        ("tls", "the TLS handshake failed"),
        ("timed out", "no answer"),
        ("unreachable", "no route to the host"),
        ("ReplicaSetNoPrimary", "the replica set has no primary"),
        // None of the others: the handshake still waits.
        ("No available servers", "no answer"),
    ];
    let message = message.to_lowercase();
    let found = causes
        .iter()
        .find(|(text, _)| message.contains(&text.to_lowercase()));
    found.map_or(
        "the connection broke, or no server takes writes",
        |(_, why)| why,
    )
}
