//! Enough of MongoDB's wire protocol to answer the exporter wrongly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The answer to `OP_QUERY`, by which drivers introduce themselves.
const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2_004;
const OP_MSG: i32 = 2_013;

/// What is wrong with the server.
#[derive(Clone)]
pub(super) enum Manner {
    /// It accepts connections and says nothing.
    Silent,
    /// It introduces itself, then sends the first half of each answer.
    Half,
    /// It answers inserts like this, and everything else well.
    AnswersInserts(Document),
    /// It takes so long for each answer.
    Slow(Duration),
}

pub(super) struct Fake {
    port: u16,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    inserts: Inserts,
    task: tokio::task::JoinHandle<()>,
}

/// The commands to insert that came, without the documents where these are apart.
type Inserts = Arc<Mutex<Vec<Document>>>;

impl Fake {
    pub(super) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (opened, seen) = (Arc::clone(&open), Arc::clone(&accepted));
        let inserts = Inserts::default();
        let all_inserts = Arc::clone(&inserts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::Relaxed);
                opened.fetch_add(1, Ordering::Relaxed);
                let (manner, opened) = (manner.clone(), Arc::clone(&opened));
                let inserts = Arc::clone(&all_inserts);
                tokio::spawn(async move {
                    // It ends when the client closes.
                    let _ = serve(stream, &manner, &inserts).await;
                    opened.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self {
            port,
            open,
            accepted,
            inserts,
            task,
        }
    }

    pub(super) fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// Connections that are open now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The commands to insert that came.
    pub(super) fn inserts(&self) -> Vec<Document> {
        self.inserts.lock().unwrap().clone()
    }

    /// Connections that there were.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, manner: &Manner, inserts: &Inserts) -> std::io::Result<()> {
    loop {
        let bytes = stream.read_i32_le().await?;
        let mut message = vec![0; usize::try_from(bytes).unwrap() - 4];
        stream.read_exact(&mut message).await?;
        let number = i32::from_le_bytes(message[..4].try_into().unwrap());
        let kind = i32::from_le_bytes(message[8..12].try_into().unwrap());
        let command = command(kind, &message[12..]);
        let name = command.keys().next().cloned().unwrap_or_default();
        if name == "insert" {
            inserts.lock().unwrap().push(command);
        }
        let is_hello = name == "hello" || name.eq_ignore_ascii_case("ismaster");
        let answer = match (manner, name.as_str()) {
            (Manner::Silent, _) => continue,
            _ if is_hello => hello(),
            (Manner::AnswersInserts(answer), "insert") => answer.clone(),
            (_, "insert") => doc! { "ok": 1.0, "n": documents(&message[12..]) },
            (_, "listIndexes") => {
                doc! { "ok": 1.0, "cursor": { "id": 0_i64, "ns": "raftery.rewards", "firstBatch": [] } }
            }
            _ => doc! { "ok": 1.0 },
        };
        let answer = framed(kind, number, &answer);
        if let (Manner::Slow(takes), false) = (manner, is_hello) {
            tokio::time::sleep(*takes).await;
        }
        let is_cut = matches!(manner, Manner::Half) && !is_hello;
        let sent = if is_cut {
            &answer[..answer.len() / 2]
        } else {
            &answer
        };
        stream.write_all(sent).await?;
    }
}

fn hello() -> Document {
    doc! {
        "ok": 1.0,
        "ismaster": true,
        "isWritablePrimary": true,
        "minWireVersion": 0,
        "maxWireVersion": 21,
        "maxBsonObjectSize": 16 << 20,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
    }
}

/// The command in the body of a message.
fn command(kind: i32, body: &[u8]) -> Document {
    let document = match kind {
        // flags, collection, two numbers
        OP_QUERY => {
            let name = body[4..].iter().position(|byte| *byte == 0).unwrap();
            &body[4 + name + 1 + 8..]
        }
        // flags, kind of the section
        OP_MSG => &body[5..],
        other => panic!("opcode {other}"),
    };
    Document::from_reader(document).unwrap()
}

/// How many documents come with a command, in a section of their own behind it.
fn documents(body: &[u8]) -> i32 {
    let size = |at: usize| {
        let bytes: [u8; 4] = body[at..at + 4].try_into().unwrap();
        usize::try_from(i32::from_le_bytes(bytes)).unwrap()
    };
    // flags, kind of the section; the command; kind, size and name of the other section
    let section = 5 + size(5) + 1;
    let name = body[section + 4..].iter().position(|byte| *byte == 0);
    let mut at = section + 4 + name.unwrap() + 1;
    let mut count = 0;
    while at < section + size(section) {
        at += size(at);
        count += 1;
    }
    count
}

fn framed(asked: i32, answers: i32, document: &Document) -> Vec<u8> {
    let mut body = Vec::new();
    if asked == OP_QUERY {
        // flags, cursor, first, count
        body.extend([0; 4 + 8 + 4]);
        body.extend(1_i32.to_le_bytes());
    } else {
        body.extend([0; 4 + 1]);
    }
    body.extend(document.to_vec().unwrap());
    let kind = if asked == OP_QUERY { OP_REPLY } else { OP_MSG };
    let mut framed = Vec::new();
    framed.extend(i32::try_from(16 + body.len()).unwrap().to_le_bytes());
    for number in [1, answers, kind] {
        framed.extend(number.to_le_bytes());
    }
    framed.extend(body);
    framed
}
