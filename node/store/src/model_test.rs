//! The store against a naive model: a plain list of everything ever written, searched from the
//! front for each question. Fixed seeds, so that a failure repeats; it prints seed and step.

use bytes::Bytes;
use raftery_fs::MemFs;

use crate::testing::Tested;
use crate::*;

/// One write: at which revision, which key, and the pair unless it was deleted.
#[derive(Debug, Clone)]
struct Event {
    revision: i64,
    key: Bytes,
    kv: Option<KeyValue>,
}

#[derive(Debug, Clone)]
struct Model {
    events: Vec<Event>,
    revision: i64,
    compact_revision: i64,
}

impl Model {
    fn new() -> Self {
        Self {
            events: Vec::new(),
            revision: 1,
            compact_revision: -1,
        }
    }

    fn get(&self, key: &[u8], revision: i64) -> Option<KeyValue> {
        let event = self
            .events
            .iter()
            .rfind(|event| event.key == key && event.revision <= revision);
        event.and_then(|event| event.kv.clone())
    }

    fn scan(&self, range: &KeyRange, revision: i64) -> Vec<KeyValue> {
        let mut keys: Vec<&Bytes> = self.events.iter().map(|event| &event.key).collect();
        keys.sort();
        keys.dedup();
        let inside = keys.into_iter().filter(|key| range.contains(key));
        inside.filter_map(|key| self.get(key, revision)).collect()
    }

    fn range(&self, op: &RangeOp, now: i64) -> Result<RangeResult, StoreError> {
        if op.revision > now {
            let (requested, current_revision) = (op.revision, now);
            return Err(StoreError::FutureRevision {
                requested,
                current_revision,
            });
        }
        let revision = if op.revision > 0 { op.revision } else { now };
        if revision < self.compact_revision {
            let compact_revision = self.compact_revision;
            return Err(StoreError::Compacted {
                requested: revision,
                compact_revision,
            });
        }
        let mut kvs = self.scan(&op.range, revision);
        let count = kvs.len() as i64;
        let limit = if op.limit > 0 {
            op.limit as usize
        } else {
            usize::MAX
        };
        let is_unordered = op.sort_order == SortOrder::None
            || (op.sort_order == SortOrder::Ascend && op.sort_target == SortTarget::Key);
        let bounds = [
            (op.min_mod_revision, op.max_mod_revision),
            (op.min_create_revision, op.max_create_revision),
        ];
        if is_unordered && bounds == [(0, 0); 2] {
            kvs.truncate(limit.saturating_add(1));
        }
        kvs.retain(|kv| {
            [kv.mod_revision, kv.create_revision]
                .iter()
                .zip(bounds)
                .all(|(at, (min, max))| (min == 0 || *at >= min) && (max == 0 || *at <= max))
        });
        let rank = |kv: &KeyValue| match op.sort_target {
            SortTarget::Key => (0, kv.key.clone()),
            SortTarget::Version => (kv.version, Bytes::new()),
            SortTarget::CreateRevision => (kv.create_revision, Bytes::new()),
            SortTarget::ModRevision => (kv.mod_revision, Bytes::new()),
            SortTarget::Value => (0, kv.value.clone()),
        };
        if op.sort_order == SortOrder::Descend {
            kvs.sort_by_key(|kv| std::cmp::Reverse(rank(kv)));
        } else {
            kvs.sort_by_key(rank);
        }
        let more = kvs.len() > limit && !op.count_only;
        kvs.truncate(if op.count_only { 0 } else { limit });
        for kv in &mut kvs {
            kv.value = if op.keys_only {
                Bytes::new()
            } else {
                kv.value.clone()
            };
        }
        Ok(RangeResult {
            kvs,
            more,
            count,
            revision: now,
        })
    }

    fn put(&mut self, op: &PutOp, at: i64) -> Result<PutResult, StoreError> {
        if op.lease != 0 {
            return Err(StoreError::LeaseNotFound { lease: op.lease });
        }
        let before = self.get(&op.key, i64::MAX);
        if before.is_none() && (op.ignore_value || op.ignore_lease) {
            return Err(StoreError::KeyNotFound);
        }
        let kv = KeyValue {
            key: op.key.clone(),
            create_revision: before.as_ref().map_or(at, |kv| kv.create_revision),
            mod_revision: at,
            version: before.as_ref().map_or(0, |kv| kv.version) + 1,
            value: match &before {
                Some(before) if op.ignore_value => before.value.clone(),
                _ => op.value.clone(),
            },
            lease: 0,
        };
        self.events.push(Event {
            revision: at,
            key: op.key.clone(),
            kv: Some(kv),
        });
        Ok(PutResult {
            prev_kv: if op.prev_kv { before } else { None },
            revision: at,
        })
    }

    /// `now`: what a read would see; `at`: where the delete is written.
    fn delete(&mut self, op: &DeleteRangeOp, now: i64, at: i64) -> DeleteRangeResult {
        let gone = self.scan(&op.range, now);
        for kv in &gone {
            self.events.push(Event {
                revision: at,
                key: kv.key.clone(),
                kv: None,
            });
        }
        DeleteRangeResult {
            deleted: gone.len() as i64,
            revision: if gone.is_empty() { now } else { at },
            prev_kvs: if op.prev_kv { gone } else { Vec::new() },
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut kvs = self.scan(&compare.range, self.revision);
        if kvs.is_empty() {
            if matches!(compare.target, CompareTarget::Value(_)) {
                return false;
            }
            kvs.push(KeyValue::default());
        }
        kvs.iter().all(|kv| {
            let order = match &compare.target {
                CompareTarget::Version(given) => kv.version.cmp(given),
                CompareTarget::CreateRevision(given) => kv.create_revision.cmp(given),
                CompareTarget::ModRevision(given) => kv.mod_revision.cmp(given),
                CompareTarget::Value(given) => kv.value.cmp(given),
                CompareTarget::Lease(given) => kv.lease.cmp(given),
            };
            match compare.result {
                CompareResult::Equal => order.is_eq(),
                CompareResult::NotEqual => order.is_ne(),
                CompareResult::Greater => order.is_gt(),
                CompareResult::Less => order.is_lt(),
            }
        })
    }

    fn txn(&mut self, op: &TxnOp) -> Result<TxnResult, StoreError> {
        let before = self.clone();
        let at = self.revision + 1;
        before.check(op)?;
        let mut result = self.run(op, &before, at)?;
        if self.events.len() > before.events.len() {
            self.revision = at;
        }
        result.revision = self.revision;
        Ok(result)
    }

    fn branch<'a>(&self, op: &'a TxnOp) -> (bool, &'a [TxnRequestOp]) {
        let holds = op.compare.iter().all(|compare| self.holds(compare));
        (holds, if holds { &op.success } else { &op.failure })
    }

    fn check(&self, op: &TxnOp) -> Result<(), StoreError> {
        for op in self.branch(op).1 {
            match op {
                TxnRequestOp::Range(op) if op.revision > self.revision => {
                    let (requested, current_revision) = (op.revision, self.revision);
                    return Err(StoreError::FutureRevision {
                        requested,
                        current_revision,
                    });
                }
                TxnRequestOp::Range(op)
                    if op.revision != 0 && op.revision < self.compact_revision =>
                {
                    let (requested, compact_revision) = (op.revision, self.compact_revision);
                    return Err(StoreError::Compacted {
                        requested,
                        compact_revision,
                    });
                }
                TxnRequestOp::Range(_) | TxnRequestOp::DeleteRange(_) => {}
                TxnRequestOp::Put(op) => {
                    self.clone().put(op, self.revision + 1)?;
                }
                TxnRequestOp::Txn(op) => self.check(op)?,
            }
        }
        Ok(())
    }

    fn run(&mut self, op: &TxnOp, before: &Self, at: i64) -> Result<TxnResult, StoreError> {
        let (succeeded, ops) = before.branch(op);
        let mut responses = Vec::new();
        for op in ops {
            let has_written = self.events.len() > before.events.len();
            let now = if has_written { at } else { before.revision };
            responses.push(match op {
                TxnRequestOp::Range(op) => TxnResponseOp::Range(self.range(op, now)?),
                TxnRequestOp::Put(op) => TxnResponseOp::Put(self.put(op, at)?),
                TxnRequestOp::DeleteRange(op) => {
                    TxnResponseOp::DeleteRange(self.delete(op, now, at))
                }
                TxnRequestOp::Txn(op) => TxnResponseOp::Txn(self.run(op, before, at)?),
            });
        }
        Ok(TxnResult {
            succeeded,
            responses,
            revision: 0,
        })
    }

    fn apply(&mut self, op: &WriteOp) -> Result<WriteResult, StoreError> {
        let mut next = self.clone();
        let at = self.revision + 1;
        let result = match op {
            WriteOp::Put(op) => WriteResult::Put(next.put(op, at)?),
            WriteOp::DeleteRange(op) => {
                WriteResult::DeleteRange(next.delete(op, self.revision, at))
            }
            WriteOp::Txn(op) => WriteResult::Txn(next.txn(op)?),
            WriteOp::Compact { revision } => {
                let (requested, current_revision) = (*revision, self.revision);
                let compact_revision = self.compact_revision;
                if requested <= compact_revision {
                    return Err(StoreError::Compacted {
                        requested,
                        compact_revision,
                    });
                }
                if requested > current_revision {
                    return Err(StoreError::FutureRevision {
                        requested,
                        current_revision,
                    });
                }
                next.compact_revision = requested;
                WriteResult::Compact {
                    revision: current_revision,
                }
            }
        };
        next.revision = result.revision();
        *self = next;
        Ok(result)
    }
}

/// Draws operations over few keys and revisions around the present, so that they meet.
struct Draw {
    random: fastrand::Rng,
    revision: i64,
}

impl Draw {
    fn one_in(&mut self, n: u32) -> bool {
        self.random.u32(0..n) == 0
    }

    fn key(&mut self) -> Bytes {
        let keys = ["a", "aa", "ab", "b", "c", "d", "\0"];
        Bytes::from_static(self.random.choice(keys).unwrap().as_bytes())
    }

    fn value(&mut self) -> Bytes {
        Bytes::copy_from_slice(&[b'0' + self.random.u8(0..4)])
    }

    fn revision(&mut self) -> i64 {
        if self.one_in(2) {
            0
        } else {
            self.random.i64(-2..=self.revision + 1)
        }
    }

    fn bound(&mut self) -> i64 {
        if self.one_in(6) {
            self.random.i64(1..=self.revision + 1)
        } else {
            0
        }
    }

    fn range(&mut self) -> KeyRange {
        let end = match self.random.u32(0..4) {
            0 | 1 => Bytes::new(),
            2 => Bytes::from_static(b"\0"),
            _ => self.key(),
        };
        KeyRange::from_etcd(self.key(), end)
    }

    fn range_op(&mut self) -> RangeOp {
        RangeOp {
            range: self.range(),
            limit: self.random.i64(-1..4),
            revision: self.revision(),
            sort_order: SortOrder::try_from(self.random.i32(0..3)).unwrap(),
            sort_target: SortTarget::try_from(self.random.i32(0..5)).unwrap(),
            keys_only: self.one_in(4),
            count_only: self.one_in(6),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
        }
    }

    fn put_op(&mut self) -> PutOp {
        let ignore_value = self.one_in(6);
        PutOp {
            key: self.key(),
            value: if ignore_value {
                Bytes::new()
            } else {
                self.value()
            },
            lease: 0,
            prev_kv: self.one_in(2),
            ignore_value,
            ignore_lease: self.one_in(12),
        }
    }

    fn delete_op(&mut self) -> DeleteRangeOp {
        DeleteRangeOp {
            range: self.range(),
            prev_kv: self.one_in(2),
        }
    }

    fn compare(&mut self) -> Compare {
        let number = self.random.i64(0..=self.revision.min(6));
        let target = match self.random.u32(0..5) {
            0 => CompareTarget::Version(number),
            1 => CompareTarget::CreateRevision(number),
            2 => CompareTarget::ModRevision(number),
            3 => CompareTarget::Value(self.value()),
            _ => CompareTarget::Lease(0),
        };
        let results = [
            CompareResult::Equal,
            CompareResult::NotEqual,
            CompareResult::Greater,
            CompareResult::Less,
        ];
        let result = *self.random.choice(&results).unwrap();
        Compare {
            range: self.range(),
            result,
            target,
        }
    }

    fn txn_op(&mut self, depth: u32) -> TxnOp {
        let compare = (0..self.random.u32(0..3)).map(|_| self.compare()).collect();
        let success = self.request_ops(depth);
        let failure = self.request_ops(depth);
        TxnOp {
            compare,
            success,
            failure,
        }
    }

    fn request_ops(&mut self, depth: u32) -> Vec<TxnRequestOp> {
        let count = self.random.u32(0..4);
        (0..count)
            .map(
                |_| match self.random.u32(0..if depth == 0 { 3 } else { 4 }) {
                    0 => TxnRequestOp::Range(self.range_op()),
                    1 => TxnRequestOp::Put(self.put_op()),
                    2 => TxnRequestOp::DeleteRange(self.delete_op()),
                    _ => TxnRequestOp::Txn(self.txn_op(depth - 1)),
                },
            )
            .collect()
    }

    /// What would pass the gate.
    fn write_op(&mut self) -> WriteOp {
        loop {
            let op = match self.random.u32(0..20) {
                0..8 => WriteOp::Put(self.put_op()),
                8..11 => WriteOp::DeleteRange(self.delete_op()),
                11..19 => WriteOp::Txn(self.txn_op(2)),
                _ => WriteOp::Compact {
                    revision: self.random.i64(-1..=self.revision + 1),
                },
            };
            match &op {
                WriteOp::Txn(txn) if txn.validate(MAX_TXN_OPS_DEFAULT).is_err() => {}
                _ => return op,
            }
        }
    }
}

/// What a run must have met, or it proves little.
#[derive(Default)]
struct Met {
    accepted: u32,
    refused: u32,
    unchanged: u32,
    compacted: u32,
    crashed: u32,
    lost: u32,
    rewritten: u32,
    installed: u32,
}

/// What a disk goes through besides entries.
fn disturb(
    store: &mut Tested,
    rewrite: &mut Option<Rewrite<MemFs>>,
    random: &mut fastrand::Rng,
    met: &mut Met,
) {
    match random.u32(0..40) {
        0..4 => drop(store.store.flush().unwrap()),
        4..6 => store.sync(),
        9..12 => drop(store.store.sweep()),
        6 => store.checkpoint(),
        7 if random.bool() => {
            let before = store.applied();
            let durable = store.durable();
            store.crash(random);
            *rewrite = None;
            assert!(durable <= store.applied() && store.applied() <= before);
            met.crashed += 1;
            met.lost += u32::from(store.applied() < before);
        }
        8 if random.u32(0..3) == 0 => {
            // A rewrite that is under way finds out that its life is over.
            store.reinstall();
            met.installed += 1;
        }
        _ => {}
    }
    if store.wants_checkpoint() && random.bool() {
        store.checkpoint();
    }
    *rewrite = rewrite.take().or_else(|| store.store.next_rewrite());
    for _ in 0..random.u32(0..4) {
        let Some(running) = rewrite else { break };
        if !store.step(running) {
            *rewrite = None;
            met.rewritten += 1;
        }
    }
}

fn run(seed: u64, steps: u32, met: &mut Met) {
    let mut draw = Draw {
        random: fastrand::Rng::with_seed(seed),
        revision: 1,
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut store, mut twin, mut model) = (Tested::new(), Tested::new(), Model::new());
    // The model and the twin's answers after each entry.
    let mut past = vec![(model.clone(), twin.hash(), twin.logical_bytes())];
    let mut ops = Vec::new();
    let mut rewrite = None;
    for step in 0..steps {
        disturb(&mut store, &mut rewrite, &mut random, met);
        let applied = store.applied().index as usize;
        if applied < ops.len() {
            past.truncate(applied + 1);
            ops.truncate(applied);
            model = past[applied].0.clone();
            twin = Tested::new();
            for op in &ops {
                let _ = twin.apply(op);
            }
        }
        assert_eq!(
            (store.hash(), store.logical_bytes()),
            (past[applied].1, past[applied].2),
            "seed {seed}, step {step}"
        );
        draw.revision = store.revision();
        let op = draw.write_op();
        ops.push(op.clone());
        let (hash, revision) = (store.hash(), store.revision());
        let result = store.apply(&op);
        assert_eq!(result, model.apply(&op), "seed {seed}, step {step}: {op:?}");
        assert_eq!(twin.apply(&op), result);
        assert_eq!(
            store.revision(),
            model.revision,
            "seed {seed}, step {step}: {op:?}"
        );
        assert_eq!(store.compact_revision(), model.compact_revision);
        store.check_invariants();
        match &result {
            Ok(WriteResult::Compact { .. }) => met.compacted += 1,
            Ok(_) if store.revision() > revision => met.accepted += 1,
            Ok(_) | Err(_) => {
                assert_eq!(store.hash(), hash, "seed {seed}, step {step}: {op:?}");
                let counter = if result.is_ok() {
                    &mut met.unchanged
                } else {
                    &mut met.refused
                };
                *counter += 1;
            }
        }
        past.push((model.clone(), twin.hash(), twin.logical_bytes()));
        draw.revision = store.revision();
        for _ in 0..3 {
            let op = draw.range_op();
            let expected = model.range(&op, model.revision);
            assert_eq!(
                store.range(&op),
                expected,
                "seed {seed}, step {step}: {op:?}"
            );
        }
        let op = draw.txn_op(0);
        if op.is_read_only() {
            let expected = model.clone().txn(&op);
            assert_eq!(
                store.read_txn(&op),
                expected,
                "seed {seed}, step {step}: {op:?}"
            );
        }
    }
    assert_eq!(store.hash(), twin.hash());
}

#[test]
fn the_store_answers_like_the_naive_model() {
    let mut met = Met::default();
    for seed in 0..60 {
        run(seed, 150, &mut met);
    }
    for (what, count) in [
        ("accepted", met.accepted),
        ("refused", met.refused),
        ("unchanged", met.unchanged),
        ("compacted", met.compacted),
        ("crashes", met.crashed),
        ("lost", met.lost),
        ("rewritten", met.rewritten),
        ("installed", met.installed),
    ] {
        assert!(count > 50, "only {count} operations were {what}");
    }
}
