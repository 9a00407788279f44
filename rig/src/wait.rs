//! Waiting for something to become true in the world outside.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks until `look` finds something, and gives it back with the time that took. An error of
/// `look` is a "not yet"; the last one is told when `limit` is over.
///
/// `look` says in its error why it isn't so yet: that is what a failed test shows.
pub async fn until<T, F>(what: &str, limit: Duration, mut look: F) -> Result<(T, Duration)>
where
    F: AsyncFnMut() -> Result<T>,
{
    let began = Instant::now();
    let mut last = anyhow!("never looked");
    loop {
        let left = limit.saturating_sub(began.elapsed());
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(found)) => return Ok((found, began.elapsed())),
            Ok(Err(why)) => last = why,
            Err(_) if left.is_zero() => {}
            Err(_) => last = last.context("the last look didn't come back"),
        }
        if began.elapsed() + LOOK_EVERY > limit {
            return Err(last.context(format!("waited {limit:?} for this: {what}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
