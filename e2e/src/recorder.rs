//! Clients whose every request and answer is recorded, for [`crate::linear`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, Compare, CompareOp, KeyValue, KvClient, Txn, TxnOp, TxnOpResponse};
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::linear::{Action, Answer, Expected, History, Operation, Seen};
use crate::{etcd, wait};

/// What keys begin with.
pub const PREFIX: &str = "recorded/";
/// Few keys, so that clients meet.
const KEYS: usize = 5;
/// Clients of each endpoint.
const CLIENTS: usize = 4;
/// Without an answer after this, a client goes on with something else.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Reads of a burst wait longer: they are for a member that sleeps.
const BURST_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two requests of a client, at most.
const PAUSE_MS_MAX: u64 = 8;
/// After an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(30);
/// Values of a client; the client's number times this is its first one.
const VALUES_EACH: u64 = 1_000_000;

/// Clients that read, write, and compare and write a few keys. Each has one endpoint and sticks
/// to it, so that every member is asked all the time, the one that is cut off included.
pub struct Recorder {
    shared: Arc<Shared>,
    endpoints: Vec<String>,
    stop: CancellationToken,
    clients: JoinSet<()>,
    bursts: JoinSet<()>,
}

struct Shared {
    began: Instant,
    /// Also with the endpoint's place, for [`Recorder::serves`].
    operations: Mutex<Vec<(usize, Operation)>>,
    clients: AtomicU32,
}

impl Shared {
    fn operations(&self) -> MutexGuard<'_, Vec<(usize, Operation)>> {
        self.operations.lock().expect("no holder panics")
    }
}

impl Recorder {
    /// Begins; the same seed makes the same choices.
    pub async fn start(endpoints: Vec<String>, rng: &mut Rng) -> Result<Self> {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            operations: Mutex::default(),
            clients: AtomicU32::new(0),
        });
        let stop = CancellationToken::new();
        let mut clients = JoinSet::new();
        for (place, endpoint) in endpoints.iter().enumerate() {
            for _ in 0..CLIENTS {
                let session = Session::new(&shared, place, endpoint, TIMEOUT).await?;
                clients.spawn(session.work(rng.fork(), stop.clone()));
            }
        }
        Ok(Self {
            shared,
            endpoints,
            stop,
            clients,
            bursts: JoinSet::new(),
        })
    }

    /// Sends so many reads to an endpoint at once, which wait long for an answer. Returns when
    /// they had time to be sent.
    pub async fn read_at_once(&mut self, place: usize, reads: usize) -> Result<()> {
        for read in 0..reads {
            let endpoint = &self.endpoints[place];
            let mut session = Session::new(&self.shared, place, endpoint, BURST_TIMEOUT).await?;
            self.bursts.spawn(async move {
                session.perform(&key(read % KEYS), Action::Get).await;
            });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }

    /// Waits until an endpoint, or any, has acknowledged a write that was sent after now.
    pub async fn serves(&self, place: Option<usize>, limit: Duration) -> Result<Duration> {
        let since = self.shared.began.elapsed();
        let what = match place {
            Some(place) => format!("{} acknowledges a write", self.endpoints[place]),
            None => "a write is acknowledged".to_owned(),
        };
        let ((), took) = wait::until(&what, limit, async || {
            let operations = self.shared.operations();
            let mut recent = operations.iter().rev().take(CLIENTS * 1000);
            let acknowledged = recent.any(|(at, operation)| {
                place.is_none_or(|place| place == *at)
                    && operation.invoked >= since
                    && matches!(operation.answer, Answer::Written { .. })
            });
            ensure!(acknowledged, "none so far");
            Ok(())
        })
        .await?;
        Ok(took)
    }

    /// Stops after the last answers, and gives what was recorded.
    pub async fn stop(mut self) -> History {
        self.stop.cancel();
        while self.clients.join_next().await.is_some() {}
        while self.bursts.join_next().await.is_some() {}
        let operations = std::mem::take(&mut *self.shared.operations());
        History {
            operations: operations.into_iter().map(|(_, one)| one).collect(),
        }
    }
}

fn key(number: usize) -> String {
    format!("{PREFIX}{number}")
}

/// One client.
struct Session {
    shared: Arc<Shared>,
    place: usize,
    number: u32,
    client: Client,
    timeout: Duration,
    writes: u64,
    /// What it saw last, by key: what it compares with.
    seen: BTreeMap<String, (u64, i64)>,
}

impl Session {
    async fn new(
        shared: &Arc<Shared>,
        place: usize,
        endpoint: &str,
        timeout: Duration,
    ) -> Result<Self> {
        Ok(Self {
            shared: Arc::clone(shared),
            place,
            number: shared.clients.fetch_add(1, Ordering::Relaxed),
            client: etcd::client(&[endpoint]).await?,
            timeout,
            writes: 0,
            seen: BTreeMap::new(),
        })
    }

    async fn work(mut self, mut rng: Rng, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let key = key(rng.usize(0..KEYS));
            let action = self.choose(&key, &mut rng);
            let pause = match self.perform(&key, action).await {
                Answer::Unknown => PAUSE_AFTER_ERROR,
                _ => Duration::from_millis(rng.u64(0..PAUSE_MS_MAX)),
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn choose(&mut self, key: &str, rng: &mut Rng) -> Action {
        let kind = rng.u8(0..10);
        if kind < 4 {
            return Action::Get;
        }
        self.writes += 1;
        let value = u64::from(self.number) * VALUES_EACH + self.writes;
        let seen = self.seen.get(key).copied();
        match (kind, seen) {
            (4..=6, _) => Action::Put(value),
            (7..=8, Some((expected, _))) => Action::CompareAndPut {
                expected: Expected::Value(expected),
                value,
            },
            (_, seen) => Action::CompareAndPut {
                expected: Expected::ModRevision(seen.map_or(0, |(_, revision)| revision)),
                value,
            },
        }
    }

    /// Sends a request, and records it with its answer.
    async fn perform(&mut self, key: &str, action: Action) -> Answer {
        let client = self.client.kv_client();
        let invoked = self.shared.began.elapsed();
        let answer = tokio::time::timeout(self.timeout, ask(client, key, action)).await;
        let returned = self.shared.began.elapsed();
        // An error says nothing for sure: the request may have been on its way.
        let answer = answer.map_or(Answer::Unknown, |answer| answer.unwrap_or(Answer::Unknown));
        let operation = Operation {
            client: self.number,
            key: key.to_owned(),
            action,
            invoked,
            returned,
            answer,
        };
        if let Some(shown) = operation.shows() {
            self.seen.insert(key.to_owned(), shown);
        }
        self.shared.operations().push((self.place, operation));
        answer
    }
}

async fn ask(mut client: KvClient, key: &str, action: Action) -> Result<Answer> {
    match action {
        Action::Get => {
            let answer = client.get(key, None).await?;
            Ok(Answer::Got {
                seen: seen(answer.kvs())?,
                revision: answer.header().context("no header")?.revision(),
            })
        }
        Action::Put(value) => {
            let answer = client.put(key, value.to_string(), None).await?;
            Ok(Answer::Written {
                revision: answer.header().context("no header")?.revision(),
            })
        }
        Action::CompareAndPut { expected, value } => {
            let compare = match expected {
                Expected::Value(expected) => {
                    Compare::value(key, CompareOp::Equal, expected.to_string())
                }
                Expected::ModRevision(expected) => {
                    Compare::mod_revision(key, CompareOp::Equal, expected)
                }
            };
            let transaction = Txn::new()
                .when([compare])
                .and_then([TxnOp::put(key, value.to_string(), None)])
                .or_else([TxnOp::get(key, None)]);
            let answer = client.txn(transaction).await?;
            let revision = answer.header().context("no header")?.revision();
            if answer.succeeded() {
                return Ok(Answer::Written { revision });
            }
            let Some(TxnOpResponse::Get(read)) = answer.op_responses().into_iter().next() else {
                anyhow::bail!("no answer to the read of a transaction");
            };
            Ok(Answer::Differed {
                seen: seen(read.kvs())?,
                revision,
            })
        }
    }
}

fn seen(found: &[KeyValue]) -> Result<Seen> {
    let Some(pair) = found.first() else {
        return Ok(None);
    };
    Ok(Some((pair.value_str()?.parse()?, pair.mod_revision())))
}
