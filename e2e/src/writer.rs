//! A writer that remembers what it was promised.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Client, ConnectOptions};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{etcd, wait};

/// Connections, spread over the endpoints.
const CONNECTIONS: u32 = 6;
/// A put without an answer after this has an unknown outcome.
const PUT_TIMEOUT: Duration = Duration::from_secs(2);
/// Puts that may wait for an answer at once on one connection.
const IN_FLIGHT_MAX: usize = 64;

/// Puts at a fixed rate, whatever happens, each key once; and records every put that was
/// acknowledged. A connection that fails is made anew, to the next endpoint.
pub struct Writer {
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// A put that was acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// What was written.
    pub key: String,
    /// When it was sent.
    pub begun: Instant,
    /// When the answer came.
    pub at: Instant,
    /// The store's revision that the answer named.
    pub revision: i64,
}

/// What a writer was promised, after it has stopped.
pub struct Record {
    prefix: String,
    /// In order of their answers.
    pub acknowledged: Vec<Acknowledged>,
    /// Messages of the puts with an unknown outcome, and how often each came.
    pub failed: BTreeMap<String, usize>,
}

struct Shared {
    prefix: String,
    endpoints: Vec<String>,
    acknowledged: Mutex<Vec<Acknowledged>>,
    failed: Mutex<BTreeMap<String, usize>>,
}

impl Shared {
    fn acknowledged(&self) -> MutexGuard<'_, Vec<Acknowledged>> {
        self.acknowledged.lock().expect("no holder panics")
    }

    fn failed(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.failed.lock().expect("no holder panics")
    }
}

impl Writer {
    /// Begins to write keys `prefix/...` at so many puts a second.
    #[must_use]
    pub fn start(endpoints: Vec<String>, prefix: &str, puts_per_second: u32) -> Self {
        let shared = Arc::new(Shared {
            prefix: format!("{prefix}/"),
            endpoints,
            acknowledged: Mutex::default(),
            failed: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let every = Duration::from_secs(1) * CONNECTIONS / puts_per_second;
        for number in 0..CONNECTIONS {
            let connection = Connection {
                number,
                shared: shared.clone(),
                in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
                current: Mutex::new((number as usize, None)),
            };
            tasks.spawn(Arc::new(connection).write(every, stop.clone()));
        }
        Self {
            shared,
            stop,
            tasks,
        }
    }

    /// How many puts were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged().len()
    }

    /// Waits for the first acknowledgement of a put that was sent after `since`, and gives
    /// the time from `since` to it.
    pub async fn served_after(&self, since: Instant, limit: Duration) -> Result<Duration> {
        let what = "a put is acknowledged";
        let (at, _) = wait::until(what, limit, async || {
            let acknowledged = self.shared.acknowledged();
            let newest_first = acknowledged.iter().rev().take_while(|ack| ack.at >= since);
            newest_first
                .filter(|ack| ack.begun >= since)
                .map(|ack| ack.at)
                .min()
                .with_context(|| {
                    format!(
                        "puts fail, most often so: {:?}",
                        most_frequent(&self.shared.failed())
                    )
                })
        })
        .await?;
        Ok(at - since)
    }

    /// Stops, after the last answers have come.
    pub async fn stop(mut self) -> Record {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        Record {
            prefix: self.shared.prefix.clone(),
            acknowledged: std::mem::take(&mut *self.shared.acknowledged()),
            failed: std::mem::take(&mut *self.shared.failed()),
        }
    }
}

fn most_frequent(failed: &BTreeMap<String, usize>) -> Option<&String> {
    failed
        .iter()
        .max_by_key(|(_, times)| **times)
        .map(|(message, _)| message)
}

struct Connection {
    number: u32,
    shared: Arc<Shared>,
    in_flight: Arc<Semaphore>,
    /// The place in the list of endpoints (it only grows), and the client once connected.
    current: Mutex<(usize, Option<Client>)>,
}

impl Connection {
    /// Puts begin on time whether or not earlier ones were answered: a slow cluster must not
    /// slow down those who look at it.
    async fn write(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut clock = tokio::time::interval(every);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut puts = JoinSet::new();
        for sequence in 0u64.. {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = clock.tick() => {}
            }
            while puts.try_join_next().is_some() {}
            if let Ok(permit) = self.in_flight.clone().try_acquire_owned() {
                let this = self.clone();
                puts.spawn(async move {
                    this.put(sequence).await;
                    drop(permit);
                });
            }
        }
        while puts.join_next().await.is_some() {}
    }

    async fn put(&self, sequence: u64) {
        let key = format!("{}{}-{sequence:06}", self.shared.prefix, self.number);
        let begun = Instant::now();
        let place = self.current.lock().expect("no holder panics").0;
        let answer = tokio::time::timeout(PUT_TIMEOUT, async {
            let mut client = self.client().await?;
            Ok::<_, anyhow::Error>(client.put(key.clone(), value(&key), None).await?)
        });
        let message = match answer.await {
            Ok(Ok(answer)) => {
                self.shared.acknowledged().push(Acknowledged {
                    key,
                    begun,
                    at: Instant::now(),
                    revision: answer.header().map_or(0, |header| header.revision()),
                });
                return;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer in {PUT_TIMEOUT:?}"),
        };
        *self.shared.failed().entry(message).or_default() += 1;
        let mut current = self.current.lock().expect("no holder panics");
        if current.0 == place {
            *current = (place + 1, None);
        }
    }

    async fn client(&self) -> Result<Client> {
        let place = {
            let current = self.current.lock().expect("no holder panics");
            if let Some(client) = &current.1 {
                return Ok(client.clone());
            }
            current.0
        };
        let endpoint = &self.shared.endpoints[place % self.shared.endpoints.len()];
        let options = ConnectOptions::new().with_connect_timeout(Duration::from_millis(500));
        let client = Client::connect([endpoint], Some(options)).await?;
        let mut current = self.current.lock().expect("no holder panics");
        if current.0 == place {
            current.1 = Some(client.clone());
        }
        Ok(client)
    }
}

fn value(key: &str) -> String {
    format!("value of {key}")
}

impl Record {
    /// The longest time between two acknowledgements.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let pairs = self.acknowledged.windows(2);
        pairs
            .map(|pair| pair[1].at - pair[0].at)
            .max()
            .unwrap_or_default()
    }

    /// Revisions of acknowledged writes are given once each.
    pub fn check_revisions(&self) -> Result<()> {
        let mut seen = BTreeMap::new();
        for ack in &self.acknowledged {
            if let Some(other) = seen.insert(ack.revision, &ack.key) {
                bail!(
                    "{} and {other} were both acknowledged at revision {}",
                    ack.key,
                    ack.revision
                );
            }
        }
        Ok(())
    }

    /// Every acknowledged write is on this member, read without asking the others; waits
    /// until the member has caught up.
    pub async fn check_member(&self, endpoint: &str) -> Result<()> {
        let last = self.acknowledged.iter().map(|ack| ack.revision).max();
        let last = last.context("nothing was acknowledged")?;
        wait::until(
            "the member catches up",
            Duration::from_secs(30),
            async || {
                let answer = etcd::client(&[endpoint]).await?;
                let options = etcd_client::GetOptions::new().with_serializable();
                let answer = answer.kv_client().get("x", Some(options)).await?;
                let revision = answer.header().map_or(0, |header| header.revision());
                ensure!(revision >= last, "at revision {revision} of {last}");
                Ok(())
            },
        )
        .await?;
        let found = etcd::read_locally(endpoint, &self.prefix).await?;
        let mut missing = Vec::new();
        for ack in &self.acknowledged {
            if found.get(&ack.key) != Some(&value(&ack.key)) {
                missing.push((&ack.key, ack.revision, found.get(&ack.key)));
            }
        }
        ensure!(
            missing.is_empty(),
            "{} of {} acknowledged writes are not on {endpoint}, the first {:?}",
            missing.len(),
            self.acknowledged.len(),
            missing[0],
        );
        Ok(())
    }

    /// One line about it.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} puts acknowledged, longest gap {:.2} s, {} with an unknown outcome{}",
            self.acknowledged.len(),
            self.longest_gap().as_secs_f64(),
            self.failed.values().sum::<usize>(),
            most_frequent(&self.failed)
                .map(|m| format!(" (mostly: {m})"))
                .unwrap_or_default(),
        )
    }
}
