//! What a repair must come to.

use std::path::Path;

use raftery_fs::MemFs;
use raftery_raft::LogIndex;
use raftery_wal::{Damage, Recovered, Wal};

use super::{IDENTITY, Model, OPTIONS, batch, dir, files, files_in, reopen};

/// Repairs a damaged log that once held `expected`: nothing that was promised is forgotten, and
/// the leader's entries complete it.
pub(crate) fn check_repair(fs: &MemFs, expected: &Model, damage: &Damage) {
    let fs = fs.fork();
    let before = files(&fs);
    let (wal, recovered) = Wal::begin_repair(fs.clone(), dir(), OPTIONS).unwrap();
    drop(wal);
    check_promises(&recovered, expected);
    assert_eq!(damage.identity, IDENTITY);
    assert_eq!(damage.hard_state, recovered.hard_state);
    assert_eq!(damage.repair_until, expected.last());
    assert_eq!(
        (damage.base, damage.last),
        (recovered.base, Model::from(&recovered).last())
    );
    // The old files are kept as they were.
    let aside = Path::new("/data/wal.damaged-1");
    let kept = files_in(&fs, aside);
    assert!(
        kept.values().eq(before.values()),
        "the damaged files were changed"
    );
    // A restart in the middle still knows.
    fs.crash_losing_all();
    let (mut wal, again) = reopen(&fs);
    assert_eq!(again, recovered);
    assert_eq!(wal.repair_until(), recovered.repair_until);
    complete(&mut wal, expected, &recovered);
    assert_eq!(wal.repair_until(), None);
    drop(wal);
    fs.crash_losing_all();
    let (_, whole) = reopen(&fs);
    assert_eq!(whole.repair_until, None);
    let base = whole.base.max(expected.base);
    assert_eq!(Model::from(&whole).behind(base), expected.behind(base));
}

/// What may never be forgotten.
pub(crate) fn check_promises(recovered: &Recovered, expected: &Model) {
    assert_eq!(recovered.hard_state.term, expected.hard_state.term);
    assert_eq!(recovered.hard_state.vote, expected.hard_state.vote);
    let model = Model::from(recovered);
    assert!(recovered.hard_state.commit <= model.last().index);
    if model.last() == expected.last() {
        assert_eq!(recovered.repair_until, None);
    } else {
        assert_eq!(recovered.repair_until, Some(expected.last()));
    }
}

/// The leader sends what is missing.
fn complete(wal: &mut Wal<MemFs>, expected: &Model, recovered: &Recovered) {
    let known = expected.behind(recovered.base);
    let entries = known.as_ref().unwrap_or(expected).entries.clone();
    let mut batch = batch(1, expected.hard_state, entries);
    if known.is_none() {
        assert!(recovered.base.index == LogIndex(0) || recovered.base < expected.base);
        batch.base = Some(expected.base);
    }
    wal.append(&batch).unwrap();
    wal.seal().unwrap();
}
