//! Wires the ledger's exporter to this node: batches come from the applied state, the cursor
//! goes through the log, and it works while this node leads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock, Weak};

use raftery_ledger::{
    Batches, ExportLoop, ExportSettings, ExportStatus, Ledger, LedgerRow, MarkError, ReadError,
    Rows, Source,
};
use raftery_raft::{LogIndex, RoleKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::command::Command;
use crate::driver::DriverHandle;
use crate::handle::replicate;
use crate::node::Running;
use crate::state::{LocatedRows, State};

/// How the export goes.
#[derive(Clone, Debug)]
pub struct ExportHandle {
    status: watch::Receiver<ExportStatus>,
    running: Arc<OnceLock<Weak<Running>>>,
}

impl ExportHandle {
    /// Why it fails at the moment, in plain words.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.status.borrow().last_error.clone()
    }

    /// The cursor goes through this node.
    pub fn attach(&self, running: &Arc<Running>) {
        // Set once, right after the node is made.
        let _ = self.running.set(Arc::downgrade(running));
    }
}

#[derive(Debug)]
struct AppliedLedger {
    state: Arc<RwLock<State>>,
    applied: watch::Receiver<LogIndex>,
    /// Weak: the export must not keep a stopped node alive.
    running: Arc<OnceLock<Weak<Running>>>,
    /// Where the gap begins that was last warned of; 0: none was.
    told_of_gap: AtomicU64,
}

impl AppliedLedger {
    /// Warns once of each gap that lies ahead.
    fn tell_of_gap(&self, ledger: &Ledger) {
        if let Some(gap) = ledger.gaps().last()
            && gap.last_index > ledger.exported_index()
            && self.told_of_gap.swap(gap.first_index, Ordering::Relaxed) != gap.first_index
        {
            warn!(
                first = gap.first_index,
                last = gap.last_index,
                batches = gap.batches,
                "batches of the ledger were dropped before they could be exported: there was no \
                 MongoDB for longer than they are kept"
            );
        }
    }

    fn locate(&self, which: impl FnOnce(&Ledger) -> Rows) -> LocatedRows {
        let state = self.state.read().expect("no holder of the lock panics");
        state.locate(which(&state.meta.ledger))
    }
}

async fn read(rows: LocatedRows) -> Result<Vec<LedgerRow>, ReadError> {
    let read = rows.read().await;
    let stretch = read.map_err(|error| ReadError(error.to_string()))?;
    Ok(stretch.rows)
}

impl Source for AppliedLedger {
    async fn next_batches(&self, max: usize) -> Result<Batches, ReadError> {
        let mut applied = self.applied.clone();
        loop {
            applied.mark_unchanged();
            let next = {
                let state = self.state.read().expect("no holder of the lock panics");
                let ledger = &state.meta.ledger;
                self.tell_of_gap(ledger);
                let rows = ledger.batches_after(ledger.exported_index(), max);
                (ledger.pending() > 0).then(|| (state.locate(rows), ledger.pending()))
            };
            if let Some((rows, pending)) = next {
                let rows = read(rows).await?;
                return Ok(Batches { rows, pending });
            }
            if applied.changed().await.is_err() {
                // The node is going down; so is whoever waits here.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn mark_exported(&self, index: u64) -> Result<(), MarkError> {
        let running = self.running.get().and_then(Weak::upgrade);
        let running = running.ok_or_else(|| MarkError("server stopped".to_owned()))?;
        let marked = replicate(&running, &Command::LedgerExported { index }).await;
        marked
            .map(|_| ())
            .map_err(|error| MarkError(error.to_string()))
    }

    async fn exported_samples(&self, since_unix_ms: u64) -> Result<Vec<LedgerRow>, ReadError> {
        read(self.locate(|ledger| ledger.exported_samples(since_unix_ms))).await
    }

    async fn exported_after(&self, index: u64, max: usize) -> Result<Vec<LedgerRow>, ReadError> {
        read(self.locate(|ledger| ledger.exported_after(index, max))).await
    }
}

/// Starts the task that exports while this node leads.
#[must_use]
pub(crate) fn start(
    settings: ExportSettings,
    driver: &DriverHandle,
    state: &Arc<RwLock<State>>,
    applied: watch::Receiver<LogIndex>,
) -> (ExportHandle, JoinHandle<()>) {
    let running = Arc::new(OnceLock::new());
    let source = AppliedLedger {
        state: Arc::clone(state),
        applied,
        running: Arc::clone(&running),
        told_of_gap: AtomicU64::new(0),
    };
    let mut raft = driver.status.clone();
    let (leads, is_leading) = watch::channel(false);
    let (export, status) = ExportLoop::new(settings, source, is_leading);
    let task = tokio::spawn(async move {
        let follow_role = async {
            // Ends with the driver; then the loop ends too.
            while raft.changed().await.is_ok() {
                let leading = raft.borrow_and_update().role == RoleKind::Leader;
                leads.send_if_modified(|was| std::mem::replace(was, leading) != leading);
            }
            drop(leads);
        };
        tokio::join!(follow_role, export.run());
    });
    (ExportHandle { status, running }, task)
}
