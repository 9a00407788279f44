//! The task that exports while this node leads.

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::batch::LedgerRow;
use crate::exporter::Exporter;

/// Batches in one round: with three members some 1,000 documents.
const ROUND_BATCHES_MAX: usize = 256;
/// The pause after the first failure; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often it is looked whether MongoDB still holds what was exported. Also done on connecting.
const LOSS_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Where the batches come from and the cursor goes to.
pub trait Source: Send + Sync + 'static {
    /// The first batches behind the replicated cursor, at most `max`. Waits until there is one.
    /// Must be safe to drop while it waits.
    ///
    /// # Errors
    /// When they can't be read from the disk.
    fn next_batches(&self, max: usize) -> impl Future<Output = Result<Batches, ReadError>> + Send;

    /// Replicates the cursor; returns when the entry is applied here, so that the next call of
    /// [`Source::next_batches`] begins behind it.
    ///
    /// # Errors
    /// When that failed, or is uncertain: the batches are then simply exported again.
    fn mark_exported(&self, index: u64) -> impl Future<Output = Result<(), MarkError>> + Send;

    /// Exported batches by which a loss shows: [`crate::Ledger::exported_samples`].
    ///
    /// # Errors
    /// When they can't be read from the disk.
    fn exported_samples(
        &self,
        since_unix_ms: u64,
    ) -> impl Future<Output = Result<Vec<LedgerRow>, ReadError>> + Send;

    /// The first retained batches behind `index` up to the cursor, at most `max`.
    ///
    /// # Errors
    /// When they can't be read from the disk.
    fn exported_after(
        &self,
        index: u64,
        max: usize,
    ) -> impl Future<Output = Result<Vec<LedgerRow>, ReadError>> + Send;
}

/// Where to, and what becomes of it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSettings {
    /// File with the connection string.
    pub uri_file: PathBuf,
    /// The history that the batches belong to, hexadecimal.
    pub lineage: String,
    /// After what time verdicts and intervals expire in MongoDB; `None`: never.
    pub retention: Option<Duration>,
}

/// What a [`Source`] hands out.
#[derive(Debug, Clone)]
pub struct Batches {
    /// The batches to export, in order of their index.
    pub rows: Vec<LedgerRow>,
    /// How many wait in all, these included.
    pub pending: u64,
}

/// Why batches can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("batches of the ledger can't be read: {0}")]
pub struct ReadError(pub String);

/// Why a round failed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Why the cursor wasn't replicated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the export cursor was not replicated: {0}")]
pub struct MarkError(pub String);

/// How the export stands on this node. Blank while it doesn't lead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportStatus {
    /// Why the last attempt failed; `None` after a success and before the first attempt.
    pub last_error: Option<String>,
    /// Up to which Raft index everything is exported and the cursor replicated, as far as this
    /// loop did it; 0: nothing yet.
    pub exported_index: u64,
    /// How many batches waited at the last look.
    pub pending: u64,
    /// The wall clock of the last success, in milliseconds since 1970.
    pub last_success_unix_ms: Option<u64>,
}

/// Exports while this node leads. Without failures it runs once for each new batch; after one it
/// pauses, 100 ms doubling up to 5 s, with jitter, and connects anew, reading the URI file again.
/// Each failure halves the next round and each success doubles it: over a connection that often
/// breaks, or to a server that is slow, what waits arrives in small parts instead of never.
#[derive(Debug)]
pub struct ExportLoop<S> {
    settings: ExportSettings,
    source: S,
    is_leading: watch::Receiver<bool>,
    status: watch::Sender<ExportStatus>,
}

impl<S: Source> ExportLoop<S> {
    /// A loop that works while `is_leading` says so. The receiver shows its status.
    #[must_use]
    pub fn new(
        settings: ExportSettings,
        source: S,
        is_leading: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<ExportStatus>) {
        let (status, seen) = watch::channel(ExportStatus::default());
        (
            Self {
                settings,
                source,
                is_leading,
                status,
            },
            seen,
        )
    }

    /// Runs until the sender of `is_leading` is gone. Losing leadership drops what is under way;
    /// the next leader finds out what arrived.
    pub async fn run(mut self) {
        while self
            .is_leading
            .wait_for(|is_leading| *is_leading)
            .await
            .is_ok()
        {
            let mut is_leading = self.is_leading.clone();
            let is_deposed = tokio::select! {
                biased;
                deposed = is_leading.wait_for(|is_leading| !is_leading) => deposed.is_ok(),
                () = self.export_for_ever() => true,
            };
            self.status.send_replace(ExportStatus::default());
            if !is_deposed {
                return;
            }
        }
    }

    async fn export_for_ever(&self) {
        let mut exporter = None;
        let mut failures: u32 = 0;
        let mut round_max = ROUND_BATCHES_MAX;
        loop {
            let Err(error) = self.export_once(&mut exporter, round_max).await else {
                failures = 0;
                round_max = round_max.saturating_mul(2).min(ROUND_BATCHES_MAX);
                continue;
            };
            round_max = (round_max / 2).max(1);
            // Not each one: an outage of a day has 17,000.
            let tries = failures.saturating_add(1);
            if tries.is_power_of_two() {
                tracing::warn!(%error, tries, "the ledger export failed, trying again");
            }
            self.status
                .send_modify(|status| status.last_error = Some(error.to_string()));
            tokio::time::sleep(pause(failures)).await;
            failures = tries;
        }
    }

    /// One round. The connection comes first, so that a wrong address shows before there is
    /// anything to export; after a failure of MongoDB it isn't kept.
    async fn export_once(
        &self,
        kept: &mut Option<Connection>,
        round_max: usize,
    ) -> Result<(), Failure> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.connect(round_max).await?,
        };
        if connection.checked.elapsed() >= LOSS_CHECK_INTERVAL {
            connection.exporter.prepare().await?;
            self.mend_losses(&connection.exporter, round_max).await?;
            connection.checked = Instant::now();
        }
        let Batches { rows, pending } = self.source.next_batches(round_max).await?;
        self.status.send_modify(|status| status.pending = pending);
        connection.exporter.export(&rows).await?;
        *kept = Some(connection);
        let Some(last) = rows.last() else {
            return Ok(());
        };
        self.source.mark_exported(last.index).await?;
        tracing::debug!(index = last.index, batches = rows.len(), "ledger exported");
        self.status.send_modify(|status| {
            if let Some(error) = status.last_error.take() {
                tracing::info!(last_error = error, "the ledger export works again");
            }
            status.exported_index = last.index;
            status.pending = pending.saturating_sub(rows.len() as u64);
            status.last_success_unix_ms = unix_ms();
        });
        Ok(())
    }

    async fn connect(&self, round_max: usize) -> Result<Connection, Failure> {
        let ExportSettings {
            uri_file,
            lineage,
            retention,
        } = &self.settings;
        let exporter = Exporter::connect_from_file(uri_file, lineage, *retention).await?;
        self.mend_losses(&exporter, round_max).await?;
        Ok(Connection {
            exporter,
            checked: Instant::now(),
        })
    }

    /// Exports again what MongoDB has lost of what is retained: its collections were dropped, or an
    /// older state was restored. Such losses take the beginning, or the end, or a collection as a
    /// whole, so that a few samples show them; single documents that somebody deleted are found by
    /// `raftery ledger verify`. The replicated cursor stays where it is.
    async fn mend_losses(&self, exporter: &Exporter, round_max: usize) -> Result<(), Failure> {
        let mut has_losses = false;
        let since = exporter.lasting_since_unix_ms();
        for row in self.source.exported_samples(since).await? {
            has_losses = has_losses || exporter.lacks(&[row]).await?;
        }
        if !has_losses {
            return Ok(());
        }
        let (mut after, mut mended) = (0, 0);
        loop {
            let rows = self.source.exported_after(after, round_max).await?;
            let Some(last) = rows.last() else {
                break;
            };
            after = last.index;
            if exporter.lacks(&rows).await? {
                exporter.export(&rows).await?;
                mended += rows.len();
            }
        }
        tracing::warn!(
            batches = mended,
            up_to_index = after,
            "MongoDB had lost what was exported; what is retained is there again"
        );
        Ok(())
    }
}

/// A connection, with the last look at what it holds.
#[derive(Debug)]
struct Connection {
    exporter: Exporter,
    checked: Instant,
}

/// Between half and all of the doubled pause, so that exporters don't knock in step.
fn pause(failures: u32) -> Duration {
    let full = PAUSE_MIN
        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
        .min(PAUSE_MAX);
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

fn unix_ms() -> Option<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds_and_never_fall_below_half() {
        for _ in 0..100 {
            for (failures, full_ms) in [(0, 100), (1, 200), (3, 800), (6, 5_000), (u32::MAX, 5_000)]
            {
                let pause = pause(failures);
                let full = Duration::from_millis(full_ms);
                assert!(pause >= full / 2 && pause <= full, "{failures}: {pause:?}");
            }
        }
    }
}
