//! A log's first segment.

use std::path::Path;

use raftery_fs::Fs;
use raftery_raft::{Entry, HardState, LogId, LogIndex};

use super::{Spare, Wal};
use crate::entry::encoded_len;
use crate::kept::Kept;
use crate::prepare::{Plan, Preparation};
use crate::segment::{DATA_START, file_name};
use crate::{WalError, WalIdentity, WalOptions};

impl<F: Fs> Wal<F> {
    /// An empty log in the empty directory `dir`.
    pub(super) fn found(
        fs: F,
        dir: &Path,
        identity: WalIdentity,
        options: WalOptions,
        base: LogId,
        hard_state: HardState,
        repair_until: Option<LogId>,
    ) -> Result<Self, WalError> {
        let plan = Plan {
            identity,
            number: 1,
            bytes: options.segment_bytes,
        };
        let segment = Preparation::start(&fs, dir, plan)?.finish(&fs, dir)?;
        Ok(Self {
            fs,
            dir: dir.to_path_buf(),
            options,
            segment,
            offset: DATA_START,
            buffer: Vec::new(),
            page: DATA_START,
            flushed: DATA_START,
            is_dirty: false,
            spare: Spare::None,
            recycled: Vec::new(),
            kept: Kept::default(),
            cut_to: LogIndex(0),
            base,
            hard_state,
            last: base,
            repair_until,
            next_sequence: 1,
            last_sequence: 0,
            last_batch: 0,
            durable: 0,
            vouched: 0,
            covered: 0,
            appended: None,
            acknowledged: None,
            has_failed: false,
        })
    }

    /// Writes the first entries and seals them. The log has no name yet, so they need not be one
    /// batch; they don't count towards a repair.
    pub(super) fn fill(&mut self, mut entries: &[Entry]) -> Result<(), WalError> {
        loop {
            let mut bytes = 0;
            let fit = entries.iter().take_while(|entry| {
                bytes += encoded_len(entry) as u64;
                bytes <= self.options.segment_bytes / 4
            });
            let count = fit.count().max(1).min(entries.len());
            let (batch, rest) = entries.split_at(count);
            self.write_unit(self.hard_state, None, batch)?;
            self.flush_if_large()?;
            entries = rest;
            if entries.is_empty() {
                return self.seal();
            }
        }
    }

    /// The directory was renamed.
    pub(super) fn moved_to(&mut self, dir: &Path) {
        self.segment.path = dir.join(file_name(self.segment.number));
        self.dir = dir.to_path_buf();
    }
}
