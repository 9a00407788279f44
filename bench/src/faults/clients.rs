//! Clients that never stop to ask, and record each answer.
//!
//! They are made so that what is measured is the cluster and not a client's patience: a put has a
//! short time, and a client whose put failed goes to the next member at once, on a new connection.
//! No retries, no back-off, no list of members that are thought to be down.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use raftery_proto::etcdserverpb::{PutRequest, RangeRequest};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::record::{Put, Record};
use crate::wire::Connection;

/// Clients among which a constant rate is shared: the same number for each of three members, and
/// for each of two.
const LANES: usize = 12;
/// When all members in turn have failed, a client in a closed loop takes a breath.
const BREATH: Duration = Duration::from_millis(5);
/// Keys, written in turn. Long after a put its key is written again, so that data doesn't grow
/// without end; until then it can be read back.
const KEYS: u64 = 50_000;
const PREFIX: &str = "faults/";
const BEHIND: &str = "faults0";
/// Keys on a page when they are read back.
const PAGE_KEYS: i64 = 5_000;
/// Of the value, the put's number.
const NUMBER_BYTES: usize = 8;

/// How much is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    /// So many puts a second, whatever becomes of them.
    Constant(u32),
    /// So many callers, each with one put at a time.
    Callers(u32),
}

/// Clients at work, until dropped.
pub struct Clients {
    shared: Rc<Shared>,
    _work: JoinSet<()>,
}

struct Shared {
    began: Instant,
    endpoints: Vec<String>,
    deadline: Duration,
    value_bytes: usize,
    next: Cell<u64>,
    /// The highest revision of an acknowledged put.
    revision: Rc<Cell<i64>>,
    record: RefCell<Record>,
    lanes: Vec<Rc<Lane>>,
}

/// One client: the member that it asks, and its connection there.
struct Lane {
    home: usize,
    at: Cell<usize>,
    /// Counts moves, so that many puts that fail together move it once.
    moves: Cell<u64>,
    connection: RefCell<Option<Connection>>,
}

impl Clients {
    /// They begin, spread evenly over the members.
    #[must_use]
    pub fn start(
        endpoints: Vec<String>,
        demand: Demand,
        deadline: Duration,
        value_bytes: usize,
        began: Instant,
    ) -> Self {
        let count = match demand {
            Demand::Constant(_) => LANES,
            Demand::Callers(callers) => callers as usize,
        };
        let lane = |number| {
            Rc::new(Lane {
                home: number % endpoints.len(),
                at: Cell::new(number % endpoints.len()),
                moves: Cell::new(0),
                connection: RefCell::new(None),
            })
        };
        let shared = Rc::new(Shared {
            began,
            lanes: (0..count).map(lane).collect(),
            endpoints,
            deadline,
            value_bytes: value_bytes.max(NUMBER_BYTES),
            next: Cell::new(0),
            revision: Rc::default(),
            record: RefCell::default(),
        });
        let mut work = JoinSet::new();
        match demand {
            Demand::Constant(per_second) => {
                work.spawn_local(ask_steadily(Rc::clone(&shared), per_second));
            }
            Demand::Callers(_) => {
                for lane in &shared.lanes {
                    work.spawn_local(ask_in_turn(Rc::clone(&shared), Rc::clone(lane)));
                }
            }
        }
        Self {
            shared,
            _work: work,
        }
    }

    /// All go back to the member that they began with, on new connections.
    pub fn go_home(&self) {
        for lane in &self.shared.lanes {
            if lane.at.get() != lane.home {
                lane.move_to(lane.home);
            }
        }
    }

    /// What they recorded.
    pub fn record(&self) -> std::cell::RefMut<'_, Record> {
        self.shared.record.borrow_mut()
    }

    /// The highest revision of an acknowledged put, now and later.
    #[must_use]
    pub fn revision(&self) -> Rc<Cell<i64>> {
        Rc::clone(&self.shared.revision)
    }

    /// How many of the puts that were acknowledged in that time can't be read any more, and how
    /// many were looked for. Keys that were written again since are left out.
    pub async fn lost(&self, from: Duration, to: Duration) -> Result<(u64, u64)> {
        let overwritten = self.shared.next.get().saturating_sub(KEYS);
        let wanted: Vec<u64> = self
            .record()
            .acknowledged(from, to)
            .map(|put| put.sequence)
            .filter(|sequence| *sequence >= overwritten)
            .collect();
        let found = read_back(&self.shared.endpoints[0]).await?;
        // A later put to the same key may have been made while they were read.
        let is_lost = |sequence: &&u64| {
            let there = found[(**sequence % KEYS) as usize];
            there.is_none_or(|there| there < **sequence)
        };
        let lost = wanted.iter().filter(is_lost).count();
        Ok((lost as u64, wanted.len() as u64))
    }
}

/// The number in each key's value.
async fn read_back(endpoint: &str) -> Result<Vec<Option<u64>>> {
    let mut connection = Connection::open(endpoint).await?;
    let mut found = vec![None; KEYS as usize];
    let mut from = PREFIX.as_bytes().to_vec();
    loop {
        let request = RangeRequest {
            key: from.into(),
            range_end: BEHIND.into(),
            limit: PAGE_KEYS,
            ..Default::default()
        };
        let page = connection
            .range(&request)
            .await
            .context("reading back what was acknowledged")?;
        for pair in &page.kvs {
            let key = std::str::from_utf8(&pair.key).unwrap_or_default();
            let number = key.strip_prefix(PREFIX).and_then(|key| key.parse().ok());
            let sequence = pair.value.first_chunk().copied().map(u64::from_be_bytes);
            if let Some(place) = number.and_then(|number: usize| found.get_mut(number)) {
                *place = sequence;
            }
        }
        match page.kvs.last() {
            Some(last) if page.more => from = [&last.key[..], b"\0"].concat(),
            _ => return Ok(found),
        }
    }
}

async fn ask_steadily(shared: Rc<Shared>, per_second: u32) {
    let mut clock = tokio::time::interval(Duration::from_secs(1) / per_second);
    // What was missed is made up for: the rate is constant.
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    for lane in shared.lanes.iter().cycle() {
        clock.tick().await;
        let (shared, lane) = (Rc::clone(&shared), Rc::clone(lane));
        under_way.spawn_local(async move { shared.put(&lane).await });
        while under_way.try_join_next().is_some() {}
    }
}

async fn ask_in_turn(shared: Rc<Shared>, lane: Rc<Lane>) {
    let mut failed = 0;
    loop {
        failed = match shared.put(&lane).await {
            true => 0,
            false => failed + 1,
        };
        if failed >= shared.endpoints.len() {
            failed = 0;
            tokio::time::sleep(BREATH).await;
        }
    }
}

impl Shared {
    /// One put, recorded; whether it was acknowledged.
    async fn put(&self, lane: &Lane) -> bool {
        let sequence = self.next.get();
        self.next.set(sequence + 1);
        let moves = lane.moves.get();
        let request = self.request(sequence);
        let sent = self.began.elapsed();
        let asked = async {
            let mut connection = lane.connected(&self.endpoints).await?;
            let answer = connection.put(&request).await?;
            anyhow::Ok(answer.header.unwrap_or_default().revision)
        };
        let answer = tokio::time::timeout(self.deadline, asked).await;
        let is_acknowledged = matches!(answer, Ok(Ok(_)));
        if let Ok(Ok(revision)) = answer {
            self.revision.set(self.revision.get().max(revision));
        }
        if !is_acknowledged && lane.moves.get() == moves {
            lane.move_to((lane.at.get() + 1) % self.endpoints.len());
        }
        self.record.borrow_mut().add(Put {
            sequence,
            sent,
            done: self.began.elapsed(),
            is_acknowledged,
        });
        is_acknowledged
    }

    fn request(&self, sequence: u64) -> PutRequest {
        let mut value = BytesMut::zeroed(self.value_bytes);
        value[..NUMBER_BYTES].copy_from_slice(&sequence.to_be_bytes());
        let mut key = BytesMut::new();
        key.put_slice(format!("{PREFIX}{:08}", sequence % KEYS).as_bytes());
        PutRequest {
            key: key.freeze(),
            value: Bytes::from(value),
            ..Default::default()
        }
    }
}

impl Lane {
    async fn connected(&self, endpoints: &[String]) -> Result<Connection> {
        if let Some(connection) = &*self.connection.borrow() {
            return Ok(connection.clone());
        }
        let moves = self.moves.get();
        let opened = Connection::open(&endpoints[self.at.get()]).await?;
        if self.moves.get() == moves {
            *self.connection.borrow_mut() = Some(opened.clone());
        }
        Ok(opened)
    }

    fn move_to(&self, member: usize) {
        self.at.set(member);
        self.moves.set(self.moves.get() + 1);
        *self.connection.borrow_mut() = None;
    }
}
