//! The load: callers in a closed loop, one request at a time each, and what they saw.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use hdrhistogram::Histogram;
use raftery_proto::etcdserverpb::{PutRequest, RangeRequest};
use tokio::task::JoinSet;

use crate::keys::{BEHIND, Keys, PREFIX};
use crate::procfs;
use crate::wire::{CallError, Connection};
use crate::workload::{Answer, Workload, operate};

/// A caller that got an error waits so long: a member that is gone must not be a busy loop.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);
/// Calls still without an answer so long after the end are errors.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Keys are loaded by so many callers.
const LOADERS: usize = 256;
/// Loading gives up on a key after so many errors.
const LOAD_ATTEMPTS: u32 = 50;
/// Keys on a page when their revisions are learnt.
const PAGE_KEYS: i64 = 5_000;
/// Latencies up to so long are told apart, in microseconds; longer ones count as this.
const LATENCY_MAX_MICROS: u64 = 60_000_000;

/// Who sends what for how long.
#[derive(Clone, Copy)]
pub struct Plan {
    /// What every caller does.
    pub workload: Workload,
    /// How many callers.
    pub callers: usize,
    /// Time at the beginning that isn't measured.
    pub warm_up: Duration,
    /// Time that is measured.
    pub measured: Duration,
}

/// What a plan's measured time brought.
pub struct Outcome {
    /// The measured time.
    pub elapsed: Duration,
    /// Answers in that time, in microseconds.
    pub latency: Histogram<u64>,
    /// Of those, txns whose compare failed.
    pub conflicts: u64,
    /// Calls that failed, warm-up included.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// Lowest and highest term in an answer, warm-up included: they differ after an election.
    pub terms: (u64, u64),
    /// CPU time of the servers.
    pub server_cpu: Duration,
    /// CPU time of this process.
    pub load_cpu: Duration,
}

impl Outcome {
    /// Operations in the measured time.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.latency.len()
    }

    /// Operations in a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.operations() as f64 / self.elapsed.as_secs_f64()
    }

    /// That share of the latencies is at most this, in microseconds.
    #[must_use]
    pub fn quantile_micros(&self, share: f64) -> f64 {
        self.latency.value_at_quantile(share) as f64
    }

    /// Elections while it ran, as far as answers told: each raises the term.
    #[must_use]
    pub fn elections(&self) -> u64 {
        let (lowest, highest) = self.terms;
        highest.saturating_sub(lowest)
    }

    /// What makes its figures doubtful.
    #[must_use]
    pub fn spoilt_by(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.errors > 0 {
            let first = self.first_error.as_deref().unwrap_or_default();
            found.push(format!("{} errors, the first: {first}", self.errors));
        }
        if self.elections() > 0 {
            found.push(format!("{} elections", self.elections()));
        }
        found
    }

    /// CPU time of the servers for one operation, in microseconds.
    #[must_use]
    pub fn server_micros(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.operations().max(1) as f64
    }

    /// CPU time of this process for one operation, in microseconds.
    #[must_use]
    pub fn load_micros(&self) -> f64 {
        self.load_cpu.as_secs_f64() * 1e6 / self.operations().max(1) as f64
    }
}

/// Connections to a cluster's members, and its keys.
pub struct Load {
    connections: Vec<Connection>,
    keys: Rc<Keys>,
}

impl Load {
    /// Opens `connections` connections, in turn to each endpoint.
    pub async fn connect(endpoints: &[String], connections: usize, keys: Rc<Keys>) -> Result<Self> {
        ensure!(!endpoints.is_empty(), "there is no endpoint");
        let mut opened = Vec::with_capacity(connections);
        for endpoint in endpoints.iter().cycle().take(connections) {
            opened.push(Connection::open(endpoint).await?);
        }
        Ok(Self {
            connections: opened,
            keys,
        })
    }

    /// Writes every key once; how many went in a second.
    pub async fn fill(&self) -> Result<f64> {
        let began = Instant::now();
        let next = Rc::new(Cell::new(0));
        let mut loaders = JoinSet::new();
        for number in 0..LOADERS {
            let mut connection = self.connections[number % self.connections.len()].clone();
            let (keys, next) = (Rc::clone(&self.keys), Rc::clone(&next));
            loaders.spawn_local(async move {
                let mut random = Rng::with_seed(number as u64);
                while next.get() < keys.count() {
                    let number = next.replace(next.get() + 1);
                    fill_one(&mut connection, &keys, number, &mut random).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = loaders.join_next().await {
            ended.context("a loader ended")??;
        }
        Ok(self.keys.count() as f64 / began.elapsed().as_secs_f64())
    }

    /// Runs a plan. `servers` are the processes whose CPU time is taken.
    pub async fn run(&self, plan: Plan, servers: &[u32]) -> Result<Outcome> {
        let revisions = match plan.workload {
            Workload::Txn => self.revisions().await?,
            Workload::Put
            | Workload::Get
            | Workload::SerializableGet
            | Workload::Mix
            | Workload::OnePut => Vec::new(),
        };
        let tally = Rc::new(Tally::new(revisions));
        let mut callers = JoinSet::new();
        for number in 0..plan.callers {
            let caller = Caller {
                connections: self.connections_of(number, plan.callers),
                workload: plan.workload,
                keys: Rc::clone(&self.keys),
                tally: Rc::clone(&tally),
                random: Rng::with_seed(number as u64),
            };
            callers.spawn_local(caller.call());
        }
        tokio::time::sleep(plan.warm_up).await;
        let own = [std::process::id()];
        let (server_before, load_before) = (procfs::cpu_time(servers)?, procfs::cpu_time(&own)?);
        let began = Instant::now();
        tally.phase.set(Phase::Measured);
        tokio::time::sleep(plan.measured).await;
        tally.phase.set(Phase::Over);
        let elapsed = began.elapsed();
        let (server_after, load_after) = (procfs::cpu_time(servers)?, procfs::cpu_time(&own)?);

        let all_answered = async { while callers.join_next().await.is_some() {} };
        if tokio::time::timeout(ANSWER_LIMIT, all_answered)
            .await
            .is_err()
        {
            tally.count_unanswered(callers.len());
        }
        callers.shutdown().await;
        let tally = Rc::into_inner(tally).context("a caller still runs")?;
        Ok(Outcome {
            elapsed,
            latency: tally.latency.into_inner(),
            conflicts: tally.conflicts.get(),
            errors: tally.errors.get(),
            first_error: tally.first_error.into_inner(),
            terms: tally.terms.get(),
            server_cpu: server_after.saturating_sub(server_before),
            load_cpu: load_after.saturating_sub(load_before),
        })
    }

    /// Every connection has the same number of callers; if there are fewer callers than
    /// connections, each goes round all from a place of its own, so that every member is asked.
    fn connections_of(&self, caller: usize, callers: usize) -> Vec<Connection> {
        let all = self.connections.len();
        let taken = if callers < all { all } else { 1 };
        let mine = self.connections.iter().cycle().skip(caller % all);
        mine.take(taken).cloned().collect()
    }

    /// The mod_revision of every key.
    async fn revisions(&self) -> Result<Vec<i64>> {
        let mut connection = self.connections[0].clone();
        let mut known = HashMap::new();
        let mut from = PREFIX.to_vec();
        loop {
            let page = connection
                .range(&RangeRequest {
                    key: from.into(),
                    range_end: BEHIND.into(),
                    limit: PAGE_KEYS,
                    keys_only: true,
                    ..Default::default()
                })
                .await
                .context("learning the keys' revisions")?;
            for pair in &page.kvs {
                if let Some(number) = self.keys.number(&pair.key) {
                    known.insert(number, pair.mod_revision);
                }
            }
            match page.kvs.last() {
                Some(last) if page.more => from = [&last.key[..], b"\0"].concat(),
                _ => break,
            }
        }
        ensure!(
            known.len() == self.keys.count(),
            "{} of {} keys are there: fill them first",
            known.len(),
            self.keys.count()
        );
        Ok((0..self.keys.count())
            .map(|number| known[&number])
            .collect())
    }
}

async fn fill_one(
    connection: &mut Connection,
    keys: &Keys,
    number: usize,
    random: &mut Rng,
) -> Result<()> {
    let mut attempts = 0;
    loop {
        let request = PutRequest {
            key: keys.key(number),
            value: keys.value(random),
            ..Default::default()
        };
        match connection.put(&request).await {
            Ok(_) => return Ok(()),
            Err(error) if attempts == LOAD_ATTEMPTS => {
                bail!("key {number} can't be written: {error}");
            }
            Err(_) => {
                attempts += 1;
                tokio::time::sleep(PAUSE_AFTER_ERROR * attempts).await;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measured,
    Over,
}

/// What all callers of a run count together. One thread owns it.
struct Tally {
    phase: Cell<Phase>,
    latency: RefCell<Histogram<u64>>,
    conflicts: Cell<u64>,
    errors: Cell<u64>,
    first_error: RefCell<Option<String>>,
    terms: Cell<(u64, u64)>,
    revisions: RefCell<Vec<i64>>,
}

impl Tally {
    fn new(revisions: Vec<i64>) -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_MICROS, 3)
            .expect("the bounds are in order and three digits are allowed");
        Self {
            phase: Cell::new(Phase::WarmUp),
            latency: RefCell::new(latency),
            conflicts: Cell::new(0),
            errors: Cell::new(0),
            first_error: RefCell::new(None),
            terms: Cell::new((u64::MAX, 0)),
            revisions: RefCell::new(revisions),
        }
    }

    fn count(&self, took: Duration, answer: &Answer) {
        let (lowest, highest) = self.terms.get();
        let term = answer.term;
        self.terms.set((lowest.min(term), highest.max(term)));
        if self.phase.get() == Phase::Measured {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.latency.borrow_mut().saturating_record(micros);
            let conflicts = self.conflicts.get() + u64::from(answer.is_conflict);
            self.conflicts.set(conflicts);
        }
    }

    fn count_error(&self, error: &CallError) {
        self.errors.set(self.errors.get() + 1);
        self.first_error
            .borrow_mut()
            .get_or_insert_with(|| error.to_string());
    }

    fn count_unanswered(&self, calls: usize) {
        self.errors.set(self.errors.get() + calls as u64);
        self.first_error
            .borrow_mut()
            .get_or_insert_with(|| format!("no answer {} s after the end", ANSWER_LIMIT.as_secs()));
    }
}

struct Caller {
    connections: Vec<Connection>,
    workload: Workload,
    keys: Rc<Keys>,
    tally: Rc<Tally>,
    random: Rng,
}

impl Caller {
    async fn call(mut self) {
        let mut turn = 0;
        while self.tally.phase.get() != Phase::Over {
            let place = turn % self.connections.len();
            turn += 1;
            let began = Instant::now();
            let answer = operate(
                self.workload,
                &mut self.connections[place],
                &self.keys,
                &self.tally.revisions,
                &mut self.random,
            )
            .await;
            match answer {
                Ok(answer) => self.tally.count(began.elapsed(), &answer),
                Err(error) => {
                    self.tally.count_error(&error);
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}
