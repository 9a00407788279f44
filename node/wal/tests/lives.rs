//! Many short lives of one log, each ended by a crash somewhere: what an earlier life left behind
//! the end, or in a recycled file, never comes back.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Model, Run, batch, create, data, hard_state, open};
use fastrand::Rng;
use raftery_fs::MemFs;
use raftery_raft::{LogId, LogIndex, PersistBatch, PersistSeq, Term};
use raftery_wal::{Wal, WalError};

const LIVES: usize = 25;

#[test]
fn no_life_brings_back_what_an_earlier_one_lost() {
    let (mut lives, mut torn, mut cut) = (0, 0, 0);
    for seed in 0..250 {
        let mut rng = Rng::with_seed(seed);
        let fs = MemFs::new(seed);
        drop(create(&fs).unwrap());
        let mut known = Run {
            models: vec![Model::founded()],
            acknowledged: 1,
            ..Run::default()
        };
        for life in 0..LIVES {
            let what = format!("seed {seed}, life {life}");
            let opened = open(&fs).unwrap_or_else(|error| panic!("{what}: {error}"));
            let (wal, recovered) = opened.expect("the log is there");
            let model = Model::from(&recovered);
            let found = known.find(&model);
            let found = found.unwrap_or_else(|| panic!("{what}: a log that never was"));
            assert!(found + 1 >= known.acknowledged, "{what}: a promise is lost");
            torn += usize::from(recovered.torn_tail.is_some());
            cut += usize::from(recovered.base.index > LogIndex(0));
            // What was recovered is promised.
            known.models = vec![model];
            known.acknowledged = 1;
            fs.stop_at(Some(fs.operations() + rng.u64(..40)));
            // The death of the disk is the death of the process.
            let _ = live(wal, &mut known, &mut rng);
            fs.stop_at(None);
            match rng.u8(..4) {
                0 => {}
                1 => fs.crash_losing_all(),
                _ => fs.crash_at_random(&mut rng),
            }
            lives += 1;
        }
    }
    assert!(torn > lives / 20, "only {torn} of {lives} were torn");
    assert!(cut > lives / 4, "only {cut} of {lives} were cut");
}

/// Does this and that until the disk dies.
fn live(mut wal: Wal<MemFs>, known: &mut Run, rng: &mut Rng) -> Result<(), WalError> {
    let mut seq = 0;
    loop {
        match rng.u8(..10) {
            0..5 => {
                seq += 1;
                let batch = next_batch(known.models.last().unwrap(), seq, rng);
                known.models.push(known.models.last().unwrap().with(&batch));
                wal.append(&batch)?;
            }
            5..7 => {
                if let Some(PersistSeq(seq)) = wal.sync()? {
                    known.acknowledged = usize::try_from(seq).unwrap() + 1;
                }
            }
            7 => {
                wal.seal()?;
                known.acknowledged = known.models.len();
            }
            8 => drop(wal.housekeep()?),
            _ => {
                let up_to = known.models.last().unwrap().hard_state.commit;
                known.cut_to = known.cut_to.max(up_to);
                wal.cut(up_to)?;
            }
        }
    }
}

/// Follows the log, replaces its uncommitted end, or makes it empty behind a snapshot.
fn next_batch(model: &Model, seq: u64, rng: &mut Rng) -> PersistBatch {
    let (last, commit) = (model.last().index.0, model.hard_state.commit.0);
    let commit = commit.max(model.base.index.0);
    let term = (model.hard_state.term.0 + u64::from(rng.u8(..3) == 0)).max(1);
    if rng.u8(..30) == 0 {
        let base = LogId {
            term: Term(term),
            index: LogIndex(last + 10),
        };
        return PersistBatch {
            base: Some(base),
            ..batch(seq, hard_state(term, base.index.0), Vec::new())
        };
    }
    let first = match term == model.hard_state.term.0 {
        true => last + 1,
        false => rng.u64(commit + 1..=last + 1),
    };
    let count = rng.u64(..4);
    let end = if count == 0 { last } else { first + count - 1 };
    let commit = commit + rng.u64(..=end.saturating_sub(commit).min(3));
    let entries = (first..first + count).map(|index| data(term, index, rng.usize(..1_500)));
    batch(seq, hard_state(term, commit), entries.collect())
}
