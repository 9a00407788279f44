//! Did the cluster behave like one register per key? Judged from what clients saw, and nothing
//! else.
//!
//! - [`History`]: what was asked and answered, with times. An operation without an answer may
//!   take effect at any later time, or never.
//! - [`check`]: every key's operations have an order, in agreement with time, in which each
//!   answer is right ([linearizability][hw]). And revisions, which cover all keys, never go
//!   back in time.
//!
//! The search is that of [Wing and Gong][wg] with [Lowe's][lowe] memory of the configurations
//! that led nowhere, one key at a time: linearizability is a local property.
//!
//! [hw]: https://doi.org/10.1145/78969.78972
//! [wg]: https://doi.org/10.1006/jpdc.1993.1015
//! [lowe]: https://doi.org/10.1002/cpe.3928

mod error;
mod history;
mod register;
mod revisions;
mod search;
#[cfg(test)]
mod simulated;

use std::time::Duration;

pub use error::Violation;
pub use history::{Action, Answer, Expected, History, Operation, Seen};

/// Checks a whole history. Gives up with [`Violation::Undecided`] when the search for one key
/// takes longer than `limit`.
pub fn check(history: &History, limit: Duration) -> Result<(), Violation> {
    revisions::check(history)?;
    for key in history.keys() {
        let steps = register::steps(history, &key)?;
        search::check(&key, &steps, limit)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "linear_test.rs"]
mod tests;
